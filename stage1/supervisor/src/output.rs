//! From the apps' pipes to rkt's own standard output and error: whole lines, each marked with the
//! time and the app, as the original's pods showed them on their console.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::log::{Log, Origin};

/// Longest line; longer ones are cut in pieces (journald's own limit).
const LINE_MAX: usize = 48 * 1024;
/// What may wait for a slow reader before its apps wait too.
const PENDING_MAX: usize = 64 * 1024;
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
    pending: Vec<u8>,
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
        match rustix::io::read(&self.pipe, &mut buffer) {
            Ok(0) => {
                self.flush(sink, log);
                false
            }
            Ok(n) => {
                log.tick();
                sink.tick();
                self.take(&buffer[..n], sink, log);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }

    fn take(&mut self, mut bytes: &[u8], sink: &mut Sink, log: &mut Log) {
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
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
        let mut sink = Self {
            fd,
            pending: Vec::new(),
            stamp: String::new(),
            broken: false,
        };
        sink.tick();
        sink
    }

    /// Whether the apps behind it have to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= PENDING_MAX
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

    /// Writes one chunk. Called when the descriptor is writable; it may be shared with other
    /// processes, so it is never made non-blocking.
    pub(crate) fn pump(&mut self) {
        let chunk = self.pending.len().min(CHUNK);
        match rustix::io::write(&self.fd, &self.pending[..chunk]) {
            Ok(n) => {
                self.pending.drain(..n);
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.give_up(),
        }
    }

    /// Throws away what nobody will read.
    pub(crate) fn give_up(&mut self) {
        self.broken = true;
        self.pending = Vec::new();
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
