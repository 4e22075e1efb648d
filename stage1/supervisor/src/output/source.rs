//! What an app writes to standard output or error.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use memchr::memrchr;
use rustix::io::Errno;

use super::Sink;
use crate::log::{Log, Origin};

/// Longest line; longer ones are cut in pieces (journald's own limit).
const LINE_MAX: usize = 48 * 1024;
/// So much is read at once.
const READ: usize = 16 * 1024;
/// So often it is read before others have their turn.
const READS: usize = 16;

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
        let mut buffer = [0u8; READ];
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
                    if n < READ || !sink.has_room() {
                        return true;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return true,
                Err(_) => return false,
            }
        }
        true
    }

    fn take(&mut self, bytes: &[u8], sink: &mut Sink, log: &mut Log) {
        let end = memrchr(b'\n', bytes).map_or(0, |end| end + 1);
        let (ended, begun) = bytes.split_at(end);
        if self.partial.is_empty() {
            self.pass_on(ended, sink, log);
        } else if end > 0 {
            self.partial.extend_from_slice(ended);
            self.flush(sink, log);
        }
        self.partial.extend_from_slice(begun);
        if self.partial.len() >= LINE_MAX {
            self.flush(sink, log);
        }
    }

    /// Passes on what is held, with an end or without.
    fn flush(&mut self, sink: &mut Sink, log: &mut Log) {
        let held = std::mem::take(&mut self.partial);
        self.pass_on(&held, sink, log);
    }

    fn pass_on(&self, lines: &[u8], sink: &mut Sink, log: &mut Log) {
        sink.take(&self.tag, lines);
        log.lines(&self.origin, lines);
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek};

    use rustix::pipe::{PipeFlags, pipe_with};

    fn sink() -> Sink {
        Sink::new(tempfile::tempfile().unwrap().into())
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

    /// All that the sink was given, without the times.
    fn lines(sink: &mut Sink) -> Vec<String> {
        while sink.has_pending() {
            sink.pump();
        }
        let mut file = File::from(sink.as_fd().try_clone_to_owned().unwrap());
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
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
        assert_eq!(lines(&mut sink), ["web[7]: one"]);
        rustix::io::write(&write, b"o\n\nend").unwrap();
        assert!(source.pump(&mut sink, &mut log));
        drop(write);
        assert!(!source.pump(&mut sink, &mut log));
        assert_eq!(
            lines(&mut sink),
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
        assert_eq!(lines(&mut sink).len(), 2);
    }
}
