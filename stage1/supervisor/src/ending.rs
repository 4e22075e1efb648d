//! How a pod ends: asked by signals, by the escape, or by the failure of an app.

use std::time::{Duration, Instant};

use rustix::process::{Signal, WaitOptions};
use sandbox::signals::Received;

use crate::output::Sink;
use crate::running::State;
use crate::supervise::{STDERR, Supervisor};

/// A second interrupt this long after the first means: now.
const IMPATIENCE: Duration = Duration::from_millis(500);
/// How long clients may take for the last output once everything has ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// An orderly end under way.
pub(crate) struct Stop {
    /// Somebody outside wants it; otherwise an app failed.
    pub(crate) asked: bool,
    since: Instant,
    /// When patience ends; `None` once everything was killed.
    pub(crate) deadline: Option<Instant>,
}

/// Signals that ask the pod to end.
const ENDING: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];

/// What `machinectl` sends a container's PID 1: halt, power off, reboot (systemd(1), "Signals"), as
/// numbers from SIGRTMIN, of which the C library keeps two.
const SHUTDOWN: std::ops::RangeInclusive<i32> = 34 + 3..=34 + 5;

impl Supervisor {
    /// Ends the pod when somebody outside asks. Senders inside it have a pid here and no say.
    pub(crate) fn signalled(&mut self, received: Received) {
        let signal = Signal::from_named_raw(received.signal);
        let ends = match signal {
            Some(signal) => ENDING.contains(&signal),
            None => SHUTDOWN.contains(&received.signal),
        };
        if !ends || received.sender != 0 {
            return;
        }
        match &self.stop {
            Some(stop) if signal == Some(Signal::INT) && stop.since.elapsed() >= IMPATIENCE => {
                self.kill_all()
            }
            Some(_) => {}
            None => self.begin_stop(true),
        }
    }

    /// Asks all processes of the pod to end.
    pub(crate) fn begin_stop(&mut self, asked: bool) {
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

    /// Ends patience with the pod, and with single apps.
    pub(crate) fn check_deadlines(&mut self) {
        let now = Instant::now();
        let due = |deadline: Option<Instant>| deadline.is_some_and(|d| d <= now);
        if due(self.stop.as_ref().and_then(|s| s.deadline)) {
            self.kill_all();
        }
        for app in self.apps.iter_mut().filter(|app| due(app.deadline)) {
            app.deadline = None;
            if app.state != State::Exited {
                // An app that is gone meanwhile is what was wanted.
                let _ = rustix::process::kill_process(app.pid, Signal::KILL);
            }
        }
    }

    /// Ends all processes of the pod, and the patience with readers that do not read.
    pub(crate) fn kill_all(&mut self) {
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

    /// All apps have ended: nothing else of the pod goes on, and all that was written is passed on.
    pub(crate) fn finish(&mut self) {
        signal_all(Signal::KILL);
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::empty()) {}
        if let Some(relay) = self.relay.take() {
            relay.finish();
        }
        for app in &mut self.apps {
            for (source, sink) in app.sources.iter_mut().zip(&mut self.sinks) {
                // All writers are dead, so this ends at what they left in the pipe.
                while let Some(source) = source.as_mut().filter(|_| !sink.is_full())
                    && source.pump(sink, &mut self.log)
                {}
            }
            app.sockets.finish(&mut self.log);
            app.attachable.close();
        }
        self.log.settle();
        if self.log.lost() > 0 {
            let text = format!("{} entries of the log were lost", self.log.lost());
            self.sinks[STDERR].message(&text);
        }
        self.drain();
        self.see_clients_off();
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
                        source.pump(&mut self.sinks[stream], &mut self.log);
                    }
                }
            }
            self.log.commit();
            let asked = self
                .stop
                .as_ref()
                .is_some_and(|s| s.since > started || s.deadline.is_none());
            if asked {
                return;
            }
        }
    }

    /// Gives clients that still have output to come a little time for it.
    fn see_clients_off(&mut self) {
        let until = Instant::now() + FAREWELL;
        while self.apps.iter().any(|app| app.attachable.is_read()) && Instant::now() < until {
            self.turn();
        }
    }
}

/// Signals every process of the pod but this one.
fn signal_all(signal: Signal) {
    // Fails only when there is nobody left to signal.
    let _ = sandbox::signals::send_all(signal);
}
