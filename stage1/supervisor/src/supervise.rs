//! The supervisor's loop: one poll over signals, the apps' streams and rkt's own, and the control
//! socket.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions, WaitStatus};
use sandbox::signals::SignalFd;
use sandbox::{Context, Error};

use crate::app::Report;
use crate::control::Control;
use crate::ending::Stop;
use crate::log::Log;
use crate::mutable::Additions;
use crate::output::Sink;
use crate::plan::{AppPlan, PodPlan, StreamMode};
use crate::pod::{Links, signals};
use crate::polling::Polled;
use crate::running::{App, State};
use crate::status::{FAILED_TO_START, KILLED_BY_SIGNAL, StatusDirectory, ready};
use crate::terminal::{Escape, Relay, Relayed};

/// Index of rkt's standard error among the sinks.
pub(crate) const STDERR: usize = 1;

/// A running pod.
pub(crate) struct Supervisor {
    pub(crate) apps: Vec<App>,
    pub(crate) additions: Additions,
    pub(crate) signals: SignalFd,
    pub(crate) sinks: [Sink; 2],
    pub(crate) log: Log,
    pub(crate) status: StatusDirectory,
    /// Where entrypoints ask for changes.
    pub(crate) control: Option<Control>,
    pub(crate) relay: Option<Relay>,
    /// Watches standard input when no app has it.
    pub(crate) escape: Option<Escape>,
    pub(crate) stop: Option<Stop>,
    pub(crate) stop_timeout: Duration,
    pub(crate) mutable: bool,
    pub(crate) debug: bool,
    announced: bool,
    /// Where the pod's readiness is told.
    ready: Option<OwnedFd>,
    /// Nothing happened in the last poll: the next one may take long, and holds no memory.
    pub(crate) settled: bool,
    /// Status of the first app that failed.
    code: u8,
}

impl Supervisor {
    /// Starts the apps' processes, waits for the pod's cgroups and networks, and lets the apps go.
    /// `None` if those will not come.
    pub(crate) fn start(plan: PodPlan, links: Links) -> Result<Option<Self>, Error> {
        let own = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3);
        let mut supervisor = Self {
            apps: Vec::with_capacity(plan.apps.len()),
            additions: Additions::default(),
            signals: signals()?,
            sinks: [
                Sink::new(own(rustix::stdio::stdout()).context("open", "standard output")?),
                Sink::new(own(rustix::stdio::stderr()).context("open", "standard error")?),
            ],
            log: Log::new(&plan.log, &plan.hostname),
            status: StatusDirectory::open()?,
            control: None,
            relay: None,
            escape: links.watch_input.then(Escape::default),
            stop: None,
            stop_timeout: plan.stop_timeout,
            mutable: plan.mutable,
            debug: plan.debug,
            announced: false,
            ready: links.ready,
            settled: false,
            code: 0,
        };
        let resizable = |app: &AppPlan| app.streams.has(StreamMode::Terminal);
        if plan.mutable || plan.apps.iter().any(resizable) {
            supervisor.control = Some(Control::open()?);
        }
        for app in plan.apps {
            let app =
                App::start(app, plan.debug, &mut supervisor.log).map_err(|failed| failed.error)?;
            supervisor.apps.push(app);
        }
        if !wait_for(&links.go) {
            return Ok(None);
        }
        for app in &supervisor.apps {
            app.release(&supervisor.status)?;
        }
        Ok(Some(supervisor))
    }

    /// Runs until all apps have ended, a mutable pod until it is told to; returns the pod's exit
    /// status.
    pub(crate) fn supervise(mut self) -> u8 {
        self.announce();
        while (self.mutable && self.stop.is_none())
            || self.apps.iter().any(|app| app.state != State::Exited)
        {
            self.turn();
        }
        self.finish();
        self.code
    }

    /// One poll and what it brings.
    pub(crate) fn turn(&mut self) {
        let ready = self.poll();
        self.settled = ready.is_empty();
        self.check_deadlines();
        let mut relay = [PollFlags::empty(); 3];
        let mut asked = false;
        for (polled, flags) in ready {
            match polled {
                Polled::Signals => self.read_signals(),
                Polled::Sink(n) => self.sinks[n].pump(),
                Polled::Source(app, stream) => {
                    self.apps[app].pump(stream, &mut self.sinks[stream], &mut self.log);
                }
                Polled::Logged(app, part) => self.apps[app].sockets.pump(part, &mut self.log),
                Polled::Notified(app) => self.notified(app),
                Polled::Channel(app) => self.listen(app),
                Polled::Attached(app, endpoint, part) => {
                    self.apps[app].attachable.endpoints[endpoint].pump(part, flags);
                }
                Polled::Control => asked = true,
                Polled::Input => self.read_input(),
                Polled::Relay(n) => relay[n] = flags,
            }
        }
        match self.sinks.iter().any(Sink::has_pending) {
            // What is shown is in the log, whatever happens next.
            true => self.log.settle(),
            false => self.log.commit(),
        }
        self.pump_relay(relay);
        for app in &mut self.apps {
            app.attachable.sweep();
            app.sockets.sweep();
        }
        // Last, since it changes the list of apps.
        if asked {
            self.obey();
        }
    }

    fn read_signals(&mut self) {
        while let Ok(Some(received)) = self.signals.read() {
            match Signal::from_named_raw(received.signal) {
                Some(Signal::CHILD) => self.reap(),
                Some(Signal::WINCH) => {
                    if let Some(relay) = &self.relay {
                        relay.resize();
                    }
                }
                _ => self.signalled(received),
            }
        }
    }

    /// Collects every child that ended: apps, handlers, and the orphans that came to PID 1.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let Some(n) = self
                .apps
                .iter()
                .position(|a| a.pid == pid || a.state == State::Stopping(pid))
            else {
                continue;
            };
            match self.apps[n].state {
                State::Running => self.app_ended(n, status),
                State::Stopping(_) => self.handler_ended(n, status),
                State::Exited => {}
            }
        }
    }

    fn app_ended(&mut self, n: usize, status: WaitStatus) {
        // What it had to say comes before its end.
        while self.apps[n].channel.is_some() {
            self.listen(n);
        }
        let app = &mut self.apps[n];
        let code = match (
            app.failure.is_some(),
            status.exit_status(),
            status.terminating_signal(),
        ) {
            (true, _, _) => FAILED_TO_START,
            (_, Some(code), _) => code as u8,
            (_, _, Some(signal)) => KILLED_BY_SIGNAL.wrapping_add(signal as u8),
            _ => FAILED_TO_START,
        };
        app.deadline = None;
        app.attachable.close();
        let recorded = self.status.exited(&app.plan.name, code);
        let ended_as_asked =
            self.stop.is_some() && status.terminating_signal() == Some(Signal::TERM.as_raw());
        // First the others are asked to end: the handler is not among those.
        if code != 0 && !ended_as_asked && !self.mutable {
            self.fail(code);
        }
        let handler = self.apps[n].start_post_stop(&mut self.log);
        self.apps[n].readiness = None;
        self.apps[n].state = handler.map_or(State::Exited, State::Stopping);
        if handler.is_none() {
            self.tell_stoppers(n);
        }
        if let Err(error) = recorded {
            self.complain(&error);
        }
    }

    fn tell_stoppers(&mut self, n: usize) {
        for asker in std::mem::take(&mut self.apps[n].stoppers) {
            asker.answer(Ok(()));
        }
    }

    /// Tells what went wrong beside the apps.
    pub(crate) fn complain(&mut self, error: &Error) {
        self.sinks[STDERR].message(&error.to_string());
    }

    fn handler_ended(&mut self, n: usize, status: WaitStatus) {
        self.apps[n].state = State::Exited;
        self.tell_stoppers(n);
        if status.exit_status() != Some(0) {
            let name = &self.apps[n].plan.name;
            self.sinks[STDERR].message(&format!("app {name:?}: the post-stop handler failed"));
        }
    }

    /// One app failed: the pod's status is that app's, and the others end too.
    fn fail(&mut self, code: u8) {
        if self.code == 0 {
            self.code = code;
        }
        self.begin_stop(false);
    }

    /// Hears what a starting app reports.
    fn listen(&mut self, n: usize) {
        let app = &mut self.apps[n];
        let Some(channel) = &app.channel else { return };
        match channel.receive() {
            Ok(Report::Failed(reason)) => {
                let line = format!("app {:?}: {reason}", app.plan.name);
                app.failure = Some(reason);
                self.sinks[STDERR].message(&line);
            }
            Ok(Report::Terminal(master)) if app.plan.streams.has(StreamMode::Interactive) => {
                self.relay = Some(Relay::new(master));
            }
            Ok(Report::Terminal(master)) => {
                if let Err(error) = app.open_terminal(master) {
                    self.complain(&error);
                }
            }
            Ok(Report::Mounts(namespace)) => app.mounts = Some(namespace),
            Ok(Report::Closed) | Err(_) => {
                app.channel = None;
                let failure = app.failure.clone();
                if let Some(asker) = app.starter.take() {
                    asker.answer(failure.map_or(Ok(()), Err));
                }
                self.announce();
            }
        }
    }

    /// Tells the host that the pod is ready, once every app's program runs.
    fn announce(&mut self) {
        let all = self
            .apps
            .iter()
            .all(|a| a.is_ready() && (a.failure.is_none() || self.mutable));
        if all && !self.announced {
            self.announced = true;
            if let Some(ready) = self.ready.take() {
                // Who went away needs no word.
                let _ = rustix::io::write(&ready, b"R");
            }
            if let Err(error) = ready() {
                self.complain(&error);
            }
        }
    }

    fn notified(&mut self, n: usize) {
        if let Some(readiness) = &mut self.apps[n].readiness {
            readiness.pump();
        }
        self.announce();
    }

    fn read_input(&mut self) {
        let mut buffer = [0; 64];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(n @ 1..) => {
                let typed = self
                    .escape
                    .as_mut()
                    .is_some_and(|e| e.typed(&buffer[..n], Instant::now()));
                if typed {
                    self.begin_stop(true);
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(_) | Err(_) => self.escape = None,
        }
    }

    fn pump_relay(&mut self, ready: [PollFlags; 3]) {
        let Some(relay) = &mut self.relay else { return };
        match relay.pump(ready) {
            Relayed::Open => {}
            Relayed::HungUp => self.relay = None,
            // What the user sits before may ignore TERM, as shells do.
            Relayed::Escaped => self.kill_all(),
        }
    }
}

/// Waits for the byte on `go`; `false` if it was closed instead.
fn wait_for(go: &OwnedFd) -> bool {
    let mut byte = [0; 1];
    loop {
        match rustix::io::read(go, &mut byte) {
            Err(Errno::INTR) => {}
            result => return result == Ok(1),
        }
    }
}
