//! What the supervisor's poll watches, and which thing each descriptor belongs to.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sandbox::memory::poll_at_rest;

use crate::attach::Part;
use crate::log;
use crate::output::Sink;
use crate::supervise::Supervisor;

/// A pod in which nothing happens for this long lets go of memory.
const SETTLING: Duration = Duration::from_secs(1);

/// What a polled descriptor belongs to.
#[derive(Clone, Copy)]
pub(crate) enum Polled {
    Signals,
    Sink(usize),
    Source(usize, usize),
    Channel(usize),
    Attached(usize, usize, Part),
    Logged(usize, log::Part),
    Notified(usize),
    Control,
    Input,
    Relay(usize),
}

/// Descriptors to poll, each with what it belongs to.
#[derive(Default)]
struct PollSet<'a> {
    fds: Vec<PollFd<'a>>,
    what: Vec<Polled>,
}

impl<'a> PollSet<'a> {
    fn add(&mut self, fd: BorrowedFd<'a>, flags: PollFlags, polled: Polled) {
        self.fds.push(PollFd::from_borrowed_fd(fd, flags));
        self.what.push(polled);
    }
}

impl Supervisor {
    /// Waits for something to do; returns what is ready.
    pub(crate) fn poll(&mut self) -> Vec<(Polled, PollFlags)> {
        if self.settled {
            self.log.rest();
            self.sinks.iter_mut().for_each(Sink::rest);
        }
        let mut set = self.poll_set();
        let left = self
            .next_deadline()
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let settling = (!self.settled).then_some(SETTLING);
        let timeout = left.into_iter().chain(settling).min().map(|time| Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        // An interrupted poll found nothing, as did one without memory; the loop polls again.
        let _ = match self.settled {
            true => poll_at_rest(&mut set.fds, timeout.as_ref()),
            false => poll(&mut set.fds, timeout.as_ref()),
        };
        let ready = set
            .what
            .into_iter()
            .zip(set.fds.iter().map(PollFd::revents));
        ready.filter(|(_, flags)| !flags.is_empty()).collect()
    }

    /// When something is to be done even if nothing happens.
    fn next_deadline(&self) -> Option<Instant> {
        let pod = self.stop.as_ref().and_then(|stop| stop.deadline);
        let apps = self.apps.iter().filter_map(|app| app.deadline);
        apps.chain(pod).min()
    }

    fn poll_set(&self) -> PollSet<'_> {
        let mut set = PollSet::default();
        set.add(self.signals.as_fd(), PollFlags::IN, Polled::Signals);
        for (n, sink) in self.sinks.iter().enumerate() {
            if sink.has_pending() {
                set.add(sink.as_fd(), PollFlags::OUT, Polled::Sink(n));
            }
        }
        for n in 0..self.apps.len() {
            self.poll_app(&mut set, n);
        }
        for fd in self.control.iter().flat_map(|c| c.poll_fds()) {
            set.add(fd, PollFlags::IN, Polled::Control);
        }
        if self.escape.is_some() {
            set.add(rustix::stdio::stdin(), PollFlags::IN, Polled::Input);
        }
        if let Some(relay) = &self.relay {
            set.fds.extend(relay.poll_fds());
            set.what.extend([0, 1, 2].map(Polled::Relay));
        }
        set
    }

    fn poll_app<'a>(&'a self, set: &mut PollSet<'a>, n: usize) {
        let app = &self.apps[n];
        if let Some(channel) = &app.channel {
            set.add(channel.as_fd(), PollFlags::IN, Polled::Channel(n));
        }
        if let Some(readiness) = app.readiness.as_ref().filter(|r| !r.reached) {
            set.add(readiness.as_fd(), PollFlags::IN, Polled::Notified(n));
        }
        for (stream, source) in app.sources.iter().enumerate() {
            if let Some(source) = source.as_ref().filter(|_| !self.sinks[stream].is_full()) {
                set.add(source.as_fd(), PollFlags::IN, Polled::Source(n, stream));
            }
        }
        app.sockets
            .poll(|fd, part| set.add(fd, PollFlags::IN, Polled::Logged(n, part)));
        for (e, endpoint) in app.attachable.endpoints.iter().enumerate() {
            endpoint.poll(|fd, flags, part| set.add(fd, flags, Polled::Attached(n, e, part)));
        }
    }
}
