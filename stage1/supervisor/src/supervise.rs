//! The supervisor's loop: one poll over signals, the apps' pipes and rkt's own streams.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions, WaitStatus};
use sandbox::signals::{Received, SignalFd};
use sandbox::{Context, Error};

use crate::app::Report;
use crate::output::Sink;
use crate::plan::PodPlan;
use crate::pod::{Links, signals};
use crate::running::{App, State};
use crate::status::{FAILED_TO_START, KILLED_BY_SIGNAL, StatusDirectory, ready};
use crate::terminal::{Escape, Relay, Relayed};

/// A second interrupt this long after the first means: now.
const IMPATIENCE: Duration = Duration::from_millis(500);

/// Index of rkt's standard error among the sinks.
const STDERR: usize = 1;

/// A running pod.
pub(crate) struct Supervisor {
    apps: Vec<App>,
    signals: SignalFd,
    sinks: [Sink; 2],
    status: StatusDirectory,
    relay: Option<Relay>,
    /// Watches standard input when no app has it.
    escape: Option<Escape>,
    stop: Option<Stop>,
    stop_timeout: Duration,
    announced: bool,
    /// Status of the first app that failed.
    code: u8,
}

/// An orderly end under way.
struct Stop {
    /// Somebody outside wants it; otherwise an app failed.
    asked: bool,
    since: Instant,
    /// When patience ends; `None` once everything was killed.
    deadline: Option<Instant>,
}

/// What a polled descriptor belongs to.
#[derive(Clone, Copy)]
enum Polled {
    Signals,
    Sink(usize),
    Source(usize, usize),
    Channel(usize),
    Input,
    Relay(usize),
}

impl Supervisor {
    /// Starts the apps' processes, waits for the pod's cgroups and networks, and lets the apps go.
    /// `None` if those will not come.
    pub(crate) fn start(plan: PodPlan, links: &Links) -> Result<Option<Self>, Error> {
        let own = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3);
        let mut supervisor = Self {
            apps: Vec::with_capacity(plan.apps.len()),
            signals: signals()?,
            sinks: [
                Sink::new(own(rustix::stdio::stdout()).context("open", "standard output")?),
                Sink::new(own(rustix::stdio::stderr()).context("open", "standard error")?),
            ],
            status: StatusDirectory::open()?,
            relay: None,
            escape: links.watch_input.then(Escape::default),
            stop: None,
            stop_timeout: plan.stop_timeout,
            announced: false,
            code: 0,
        };
        for app in plan.apps {
            let app = App::start(app, plan.interactive, plan.debug)?;
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

    /// Runs until all apps have ended; returns the pod's exit status.
    pub(crate) fn supervise(mut self) -> u8 {
        while self.apps.iter().any(|app| app.state != State::Exited) {
            self.turn();
        }
        self.finish();
        self.code
    }

    /// One poll and what it brings.
    fn turn(&mut self) {
        let ready = self.poll();
        self.check_deadline();
        let mut relay = [PollFlags::empty(); 3];
        for (polled, flags) in ready {
            match polled {
                Polled::Signals => self.read_signals(),
                Polled::Sink(n) => self.sinks[n].pump(),
                Polled::Source(app, stream) => self.apps[app].pump(stream, &mut self.sinks[stream]),
                Polled::Channel(app) => self.listen(app),
                Polled::Input => self.read_input(),
                Polled::Relay(n) => relay[n] = flags,
            }
        }
        self.pump_relay(relay);
    }

    /// Waits for something to do; returns what is ready.
    fn poll(&self) -> Vec<(Polled, PollFlags)> {
        let (mut fds, what) = self.poll_set();
        let timeout = self.stop.as_ref().and_then(|s| s.deadline).map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        // An interrupted poll found nothing, as did one without memory; the loop polls again.
        let _ = poll(&mut fds, timeout.as_ref());
        let ready = what.into_iter().zip(fds.iter().map(PollFd::revents));
        ready.filter(|(_, flags)| !flags.is_empty()).collect()
    }

    fn poll_set(&self) -> (Vec<PollFd<'_>>, Vec<Polled>) {
        let mut set = PollSet::with_capacity(4 + 3 * self.apps.len());
        set.add(&self.signals, PollFlags::IN, Polled::Signals);
        for (n, sink) in self
            .sinks
            .iter()
            .enumerate()
            .filter(|(_, s)| s.has_pending())
        {
            set.add(sink, PollFlags::OUT, Polled::Sink(n));
        }
        for (n, app) in self.apps.iter().enumerate() {
            if let Some(channel) = &app.channel {
                set.add(channel, PollFlags::IN, Polled::Channel(n));
            }
            for (stream, source) in app.sources.iter().enumerate() {
                if let Some(source) = source.as_ref().filter(|_| !self.sinks[stream].is_full()) {
                    set.add(source, PollFlags::IN, Polled::Source(n, stream));
                }
            }
        }
        if self.escape.is_some() {
            set.fds.push(PollFd::from_borrowed_fd(
                rustix::stdio::stdin(),
                PollFlags::IN,
            ));
            set.what.push(Polled::Input);
        }
        if let Some(relay) = &self.relay {
            set.fds.extend(relay.poll_fds());
            set.what.extend([0, 1, 2].map(Polled::Relay));
        }
        (set.fds, set.what)
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
                Some(signal) => self.signalled(signal, received),
                None => {}
            }
        }
    }

    /// Ends the pod when somebody outside asks. Senders inside it have a pid here and no say.
    fn signalled(&mut self, signal: Signal, received: Received) {
        let ends = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT].contains(&signal);
        if !ends || received.sender != 0 {
            return;
        }
        match &self.stop {
            Some(stop) if signal == Signal::INT && stop.since.elapsed() >= IMPATIENCE => {
                self.kill_all()
            }
            Some(_) => {}
            None => self.begin_stop(true),
        }
    }

    /// Asks all processes of the pod to end.
    fn begin_stop(&mut self, asked: bool) {
        if self.stop.is_some() {
            return;
        }
        let now = Instant::now();
        self.stop = Some(Stop {
            asked,
            since: now,
            deadline: Some(now + self.stop_timeout),
        });
        signal_all(Signal::TERM);
        // A stopped process cannot follow.
        signal_all(Signal::CONT);
    }

    fn check_deadline(&mut self) {
        let due = self
            .stop
            .as_ref()
            .and_then(|s| s.deadline)
            .is_some_and(|d| d <= Instant::now());
        if due {
            self.kill_all();
        }
    }

    /// Ends all processes of the pod, and the patience with readers that do not read.
    fn kill_all(&mut self) {
        let since = self.stop.as_ref().map_or_else(Instant::now, |s| s.since);
        let asked = self.stop.as_ref().is_none_or(|s| s.asked);
        self.stop = Some(Stop {
            asked,
            since,
            deadline: None,
        });
        signal_all(Signal::KILL);
        for sink in self.sinks.iter_mut().filter(|s| s.is_full()) {
            sink.give_up();
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
            app.failed_to_start,
            status.exit_status(),
            status.terminating_signal(),
        ) {
            (true, _, _) => FAILED_TO_START,
            (_, Some(code), _) => code as u8,
            (_, _, Some(signal)) => KILLED_BY_SIGNAL.wrapping_add(signal as u8),
            _ => FAILED_TO_START,
        };
        if let Err(error) = self.status.exited(&app.plan.name, code) {
            self.sinks[STDERR].message(&error.to_string());
        }
        let ended_as_asked =
            self.stop.is_some() && status.terminating_signal() == Some(Signal::TERM.as_raw());
        let handler = app.start_post_stop();
        app.state = handler.map_or(State::Exited, State::Stopping);
        if code != 0 && !ended_as_asked {
            self.fail(code);
        }
    }

    fn handler_ended(&mut self, n: usize, status: WaitStatus) {
        self.apps[n].state = State::Exited;
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
                app.failed_to_start = true;
                let line = format!("app {:?}: {reason}", app.plan.name);
                self.sinks[STDERR].message(&line);
            }
            Ok(Report::Terminal(master)) => self.relay = Some(Relay::new(master)),
            Ok(Report::Mounts(namespace)) => app.mounts = Some(namespace),
            Ok(Report::Closed) | Err(_) => {
                app.channel = None;
                self.announce();
            }
        }
    }

    /// Tells the host that the pod is ready, once every app's program runs.
    fn announce(&mut self) {
        let all = self
            .apps
            .iter()
            .all(|a| a.channel.is_none() && !a.failed_to_start);
        if all && !self.announced {
            self.announced = true;
            if let Err(error) = ready() {
                self.sinks[STDERR].message(&error.to_string());
            }
            sandbox::memory::give_back();
        }
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

    /// All apps have ended: nothing else of the pod goes on, and all that was written is passed on.
    fn finish(&mut self) {
        signal_all(Signal::KILL);
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::empty()) {}
        if let Some(relay) = self.relay.take() {
            relay.finish();
        }
        for (stream, sink) in self.sinks.iter_mut().enumerate() {
            for source in self
                .apps
                .iter_mut()
                .filter_map(|app| app.sources[stream].as_mut())
            {
                // All writers are dead, so this ends at what they left in the pipe.
                while !sink.is_full() && source.pump(sink) {}
            }
        }
        self.drain();
    }

    /// Writes out what is pending. A reader that takes nothing holds the pod up until somebody
    /// asks it to end.
    fn drain(&mut self) {
        let started = Instant::now();
        if self.stop.as_ref().is_some_and(|stop| !stop.asked) {
            self.stop = None;
        }
        while self.sinks.iter().any(Sink::has_pending) {
            self.turn();
            for app in &mut self.apps {
                for (stream, source) in app.sources.iter_mut().enumerate() {
                    if let Some(source) = source.as_mut().filter(|_| !self.sinks[stream].is_full())
                    {
                        source.pump(&mut self.sinks[stream]);
                    }
                }
            }
            let asked = self
                .stop
                .as_ref()
                .is_some_and(|s| s.since > started || s.deadline.is_none());
            if asked {
                return;
            }
        }
    }
}

/// Descriptors to poll, each with what it belongs to.
struct PollSet<'a> {
    fds: Vec<PollFd<'a>>,
    what: Vec<Polled>,
}

impl<'a> PollSet<'a> {
    fn with_capacity(n: usize) -> Self {
        Self {
            fds: Vec::with_capacity(n),
            what: Vec::with_capacity(n),
        }
    }

    fn add(&mut self, fd: &'a impl AsFd, flags: PollFlags, polled: Polled) {
        self.fds.push(PollFd::new(fd, flags));
        self.what.push(polled);
    }
}

/// Signals every process of the pod but this one.
fn signal_all(signal: Signal) {
    // Fails only when there is nobody left to signal.
    let _ = sandbox::signals::send_all(signal);
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
