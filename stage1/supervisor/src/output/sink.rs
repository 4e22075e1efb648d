//! rkt's own standard output and error, with each line marked by the time and the app, as the
//! original's pods showed them on their console.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, fstat, makedev};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use rustix::time::{ClockId, clock_gettime};

use super::lines;

/// What may wait for a slow reader before its apps wait too.
const PENDING_MAX: usize = 64 * 1024;
/// A writable pipe takes this much without blocking (POSIX PIPE_BUF).
const CHUNK: usize = 4096;

/// One of rkt's own streams.
#[derive(Debug)]
pub(crate) struct Sink {
    fd: OwnedFd,
    /// A file: it takes what it is given.
    takes_all: bool,
    /// It takes what it has room for, without waiting for more room, if it is asked so.
    can_refuse: bool,
    pending: Vec<u8>,
    /// Bytes of it that were written.
    written: usize,
    /// The time that lines are marked with.
    stamp: String,
    /// It is /dev/null, or the reader went away: what comes is thrown away, as it would be on a
    /// closed terminal.
    unheard: bool,
    /// What is read on the way to it.
    pub(super) buffer: Vec<u8>,
}

impl Sink {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let stat = fstat(&fd).ok();
        let is = |kind| stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == kind);
        let null = makedev(1, 3);
        let is_null = is(FileType::CharacterDevice) && stat.is_some_and(|s| s.st_rdev == null);
        let mut sink = Self {
            fd,
            takes_all: is(FileType::RegularFile),
            can_refuse: true,
            pending: Vec::new(),
            written: 0,
            stamp: String::new(),
            unheard: is_null,
            buffer: Vec::new(),
        };
        sink.tick();
        sink
    }

    /// Whether the apps behind it have to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() - self.written >= PENDING_MAX
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether anybody gets what it takes.
    pub(super) fn is_heard(&self) -> bool {
        !self.unheard
    }

    /// Takes [lines] of what `tag` names.
    pub(super) fn take(&mut self, tag: &str, bytes: &[u8]) {
        if self.unheard {
            return;
        }
        for line in lines(bytes) {
            self.pending.extend_from_slice(self.stamp.as_bytes());
            self.pending.extend_from_slice(tag.as_bytes());
            self.pending.extend_from_slice(line);
            self.pending.push(b'\n');
        }
    }

    /// Looks at the clock: the lines that follow have just come.
    pub(super) fn tick(&mut self) {
        let now = clock_gettime(ClockId::Monotonic);
        self.stamp = format!("[{:>5}.{:06}] ", now.tv_sec, now.tv_nsec / 1000);
    }

    /// A line of the supervisor's own.
    pub(crate) fn message(&mut self, text: &str) {
        if !self.unheard {
            self.pending
                .extend_from_slice(format!("rkt: {text}\n").as_bytes());
        }
    }

    /// Writes what the reader takes. Called when the descriptor is writable; it may be shared with
    /// other processes, so it is never made non-blocking.
    pub(crate) fn pump(&mut self) {
        match self.write() {
            Ok(n) => self.written += n,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.give_up(),
        }
        // A reader that never takes all must not make it grow.
        if self.written == self.pending.len() || self.written >= PENDING_MAX {
            self.pending.drain(..self.written);
            self.written = 0;
        }
    }

    /// Whether there is room for more, which is made where nobody can keep this waiting.
    pub(super) fn has_room(&mut self) -> bool {
        if self.is_full() && self.takes_all {
            self.pump();
        }
        !self.is_full()
    }

    fn write(&mut self) -> Result<usize, Errno> {
        let rest = &self.pending[self.written..];
        if self.takes_all {
            return rustix::io::write(&self.fd, rest);
        }
        if self.can_refuse {
            // No offset: it goes to where the descriptor is.
            let part = [IoSlice::new(rest)];
            match pwritev2(&self.fd, &part, u64::MAX, ReadWriteFlags::NOWAIT) {
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::SPIPE) => self.can_refuse = false,
                other => return other,
            }
        }
        rustix::io::write(&self.fd, &rest[..rest.len().min(CHUNK)])
    }

    /// Lets go of memory.
    pub(crate) fn rest(&mut self) {
        self.buffer = Vec::new();
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
    }

    /// Throws away what nobody will read.
    pub(crate) fn give_up(&mut self) {
        self.unheard = true;
        self.pending = Vec::new();
        self.written = 0;
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn a_slow_reader_is_given_what_it_takes_and_no_more_is_kept() {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let mut sink = Sink::new(write);
        let (mut sent, mut taken) = (Vec::new(), Vec::new());
        for n in 0..400 {
            let text = format!("{n}\n").repeat(1000);
            sink.pending.extend_from_slice(text.as_bytes());
            sent.extend_from_slice(text.as_bytes());
            while sink.is_full() {
                sink.pump();
                let mut buffer = [0; 3000];
                let n = rustix::io::read(&read, &mut buffer).unwrap();
                taken.extend_from_slice(&buffer[..n]);
            }
            assert!(sink.pending.capacity() < 16 * PENDING_MAX);
        }
        let mut buffer = [0; 3000];
        while sink.has_pending() || taken.len() < sent.len() {
            sink.pump();
            let n = rustix::io::read(&read, &mut buffer).unwrap();
            taken.extend_from_slice(&buffer[..n]);
        }
        assert!(taken == sent);
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let mut sink = Sink::new(std::fs::File::create("/dev/null").unwrap().into());
        sink.take("web[7]: ", b"one\ntwo\n");
        sink.message("three");
        assert!(!sink.has_pending());
    }
}
