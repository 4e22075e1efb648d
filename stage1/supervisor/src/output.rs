//! From the apps' pipes to rkt's own standard output and error: whole lines, each marked with the
//! time and the app, as the original's pods showed them on their console.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use memchr::memchr;
use rustix::fs::{FileType, fstat, makedev};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use rustix::time::{ClockId, clock_gettime};

use crate::log::{Log, Origin};

/// Longest line; longer ones are cut in pieces (journald's own limit).
const LINE_MAX: usize = 48 * 1024;
/// What may wait for a slow reader before its apps wait too.
const PENDING_MAX: usize = 64 * 1024;
/// So often a source is read before others have their turn.
const READS: usize = 8;
/// A writable pipe takes this much without blocking (POSIX PIPE_BUF).
const CHUNK: usize = 4096;

/// The read end of an app's stdout or stderr.
#[derive(Debug)]
pub(crate) struct Source {
    pipe: OwnedFd,
    /// `name[pid]: `
    tag: String,
    /// For the pod's log.
    origin: Origin,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

/// One of rkt's own streams.
#[derive(Debug)]
pub(crate) struct Sink {
    fd: OwnedFd,
    /// A file, or nothing at all: it takes what it is given.
    takes_all: bool,
    /// It takes what it has room for, without waiting for more room, if it is asked so.
    can_refuse: bool,
    pending: Vec<u8>,
    /// Bytes of it that were written.
    written: usize,
    /// The time that lines are marked with.
    stamp: String,
    /// The reader went away: what comes is thrown away, as it would be on a closed terminal.
    broken: bool,
}

impl Source {
    /// `stream` is `stdout` or `stderr`.
    pub(crate) fn new(pipe: OwnedFd, app: &str, stream: &str, pid: i32) -> Self {
        Self {
            pipe,
            tag: format!("{app}[{pid}]: "),
            origin: Origin::stream(app, stream, pid),
            partial: Vec::new(),
        }
    }

    /// Moves what is there to the sink and the log. `false` once the last writer is gone.
    pub(crate) fn pump(&mut self, sink: &mut Sink, log: &mut Log) -> bool {
        let mut buffer = [0u8; 16 * 1024];
        log.tick();
        sink.tick();
        for _ in 0..READS {
            match rustix::io::read(&self.pipe, &mut buffer) {
                Ok(0) => {
                    self.flush(sink, log);
                    return false;
                }
                Ok(n) => {
                    self.take(&buffer[..n], sink, log);
                    if n < buffer.len() || sink.is_full() {
                        return true;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return true,
                Err(_) => return false,
            }
        }
        true
    }

    fn take(&mut self, mut bytes: &[u8], sink: &mut Sink, log: &mut Log) {
        while let Some(end) = memchr(b'\n', bytes) {
            if self.partial.is_empty() {
                self.line(&bytes[..end], sink, log);
            } else {
                self.partial.extend_from_slice(&bytes[..end]);
                let line = std::mem::take(&mut self.partial);
                self.line(&line, sink, log);
            }
            bytes = &bytes[end + 1..];
        }
        self.partial.extend_from_slice(bytes);
        if self.partial.len() >= LINE_MAX {
            self.flush(sink, log);
        }
    }

    fn line(&self, line: &[u8], sink: &mut Sink, log: &mut Log) {
        sink.line(&self.tag, line);
        log.line(&self.origin, line);
    }

    /// Ends a line that its app did not end.
    fn flush(&mut self, sink: &mut Sink, log: &mut Log) {
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.line(&line, sink, log);
        }
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Sink {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let takes_all = fstat(&fd).is_ok_and(|stat| {
            let null = stat.st_rdev == makedev(1, 3);
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => true,
                FileType::CharacterDevice => null,
                _ => false,
            }
        });
        let mut sink = Self {
            fd,
            takes_all,
            can_refuse: true,
            pending: Vec::new(),
            written: 0,
            stamp: String::new(),
            broken: false,
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

    fn line(&mut self, tag: &str, text: &[u8]) {
        if self.broken {
            return;
        }
        self.pending.extend_from_slice(self.stamp.as_bytes());
        self.pending.extend_from_slice(tag.as_bytes());
        self.pending.extend_from_slice(text);
        self.pending.push(b'\n');
    }

    /// Looks at the clock: the lines that follow have just come.
    fn tick(&mut self) {
        let now = clock_gettime(ClockId::Monotonic);
        self.stamp = format!("[{:>5}.{:06}] ", now.tv_sec, now.tv_nsec / 1000);
    }

    /// A line of the supervisor's own.
    pub(crate) fn message(&mut self, text: &str) {
        if !self.broken {
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
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
    }

    /// Throws away what nobody will read.
    pub(crate) fn give_up(&mut self) {
        self.broken = true;
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

    fn sink() -> Sink {
        Sink::new(std::fs::File::create("/dev/null").unwrap().into())
    }

    fn source() -> (Source, OwnedFd) {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        (Source::new(read, "web", "stdout", 7), write)
    }

    /// Nobody can write there: the log counts what it loses.
    fn log() -> Log {
        let plan = crate::plan::LogPlan {
            machine_id: [0; 16],
            boot_id: [0; 16],
            expected: false,
        };
        Log::at("/dev/null/journal", &plan, "host")
    }

    fn lines(sink: &Sink) -> Vec<String> {
        let text = String::from_utf8(sink.pending.clone()).unwrap();
        text.lines()
            .map(|l| l.split_once("] ").unwrap().1.to_owned())
            .collect()
    }

    #[test]
    fn lines_are_marked_and_kept_whole() {
        let (mut source, write) = source();
        let (mut sink, mut log) = (sink(), log());
        rustix::io::write(&write, b"one\ntw").unwrap();
        assert!(source.pump(&mut sink, &mut log));
        assert_eq!(lines(&sink), ["web[7]: one"]);
        rustix::io::write(&write, b"o\n\nend").unwrap();
        assert!(source.pump(&mut sink, &mut log));
        drop(write);
        assert!(!source.pump(&mut sink, &mut log));
        assert_eq!(
            lines(&sink),
            ["web[7]: one", "web[7]: two", "web[7]: ", "web[7]: end"]
        );
    }

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
    fn a_line_without_end_is_cut() {
        let (mut source, _write) = source();
        let (mut sink, mut log) = (sink(), log());
        source.take(&vec![b'x'; LINE_MAX + 5], &mut sink, &mut log);
        source.take(b"y\n", &mut sink, &mut log);
        assert_eq!(log.lost(), 2);
        assert_eq!(lines(&sink).len(), 2);
        assert!(sink.is_full() || sink.has_pending());
    }
}
