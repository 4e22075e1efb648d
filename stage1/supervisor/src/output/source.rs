//! What an app writes to standard output or error.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::pipe::fcntl_setpipe_size;

use super::{Output, Sink, Splitter};
use crate::log::{KubernetesLog, Log, Origin};

/// What a pipe holds; no more is read at once if it goes to somebody who may be slow.
const PIPE: usize = 64 * 1024;
/// So much is read before others have their turn, and so much a busy app's pipe is made to hold: each
/// time that it is emptied, the app is woken, and what comes at once is published at once.
const TURN: usize = 256 * 1024;

/// The read end of an app's stdout or stderr.
#[derive(Debug)]
pub(crate) struct Source {
    pipe: OwnedFd,
    label: Label,
    /// Whether the pipe holds more than pipes do at first.
    wide: bool,
    splitter: Splitter,
}

/// Whose lines they are.
#[derive(Debug)]
struct Label {
    /// `name[pid]: `, for whoever reads the pod's own output.
    tag: String,
    /// For the pod's log.
    origin: Origin,
    /// Where they go as well.
    file: Option<KubernetesLog>,
}

impl Label {
    fn pass_on(&self, lines: &[u8], sink: &mut Sink, log: &mut Log) {
        sink.take(&self.tag, lines);
        log.lines(&self.origin, lines);
        if let Some(file) = &self.file {
            file.lines(lines);
        }
    }
}

impl Source {
    /// `stream` is `stdout` or `stderr`.
    pub(crate) fn new(output: Output, app: &str, stream: &str, pid: i32) -> Self {
        let Output { pipe, file } = output;
        Self {
            pipe,
            label: Label {
                tag: format!("{app}[{pid}]: "),
                origin: Origin::stream(app, stream, pid),
                file,
            },
            wide: false,
            splitter: Splitter::default(),
        }
    }

    /// Moves what is there to the sink and the log. `false` once the last writer is gone.
    pub(crate) fn pump(&mut self, sink: &mut Sink, log: &mut Log) -> bool {
        log.tick();
        sink.tick();
        let mut buffer = std::mem::take(&mut sink.buffer);
        let goes_on = self.read(&mut buffer, sink, log);
        sink.buffer = buffer;
        goes_on
    }

    /// Takes what is there, whoever may still write, and ends.
    pub(crate) fn finish(mut self, sink: &mut Sink, log: &mut Log) {
        // So often all that a pipe holds is read, also if the sink is full.
        for _ in 0..TURN / PIPE {
            if !self.pump(sink, log) {
                return;
            }
        }
        self.flush(sink, log);
    }

    fn read(&mut self, buffer: &mut Vec<u8>, sink: &mut Sink, log: &mut Log) -> bool {
        let mut left = TURN;
        while left > 0 {
            let most = if sink.is_heard() { PIPE } else { TURN };
            buffer.clear();
            buffer.reserve_exact(most);
            match rustix::io::read(&self.pipe, spare_capacity(buffer)) {
                Ok(0) => {
                    self.flush(sink, log);
                    return false;
                }
                Ok(length) => {
                    self.take(buffer, sink, log);
                    if length > PIPE / 2 {
                        self.widen();
                    }
                    if length < most || !sink.has_room() {
                        return true;
                    }
                    left = left.saturating_sub(length);
                }
                Err(Errno::AGAIN | Errno::INTR) => return true,
                Err(_) => return false,
            }
        }
        true
    }

    /// Lets a busy app write more before it has to wait.
    fn widen(&mut self) {
        if !self.wide {
            self.wide = true;
            // As it was, it works too.
            let _ = fcntl_setpipe_size(&self.pipe, TURN);
        }
    }

    fn take(&mut self, bytes: &[u8], sink: &mut Sink, log: &mut Log) {
        let label = &self.label;
        self.splitter
            .take(bytes, |lines| label.pass_on(lines, sink, log));
    }

    /// Passes on what is held, with an end or without.
    fn flush(&mut self, sink: &mut Sink, log: &mut Log) {
        let label = &self.label;
        self.splitter.flush(|lines| label.pass_on(lines, sink, log));
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::LINE_MAX;
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek};

    use rustix::pipe::{PipeFlags, pipe_with};

    fn sink() -> Sink {
        Sink::new(tempfile::tempfile().unwrap().into())
    }

    fn source() -> (Source, OwnedFd) {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let output = Output {
            pipe: read,
            file: None,
        };
        (Source::new(output, "web", "stdout", 7), write)
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
    fn a_long_line_is_cut() {
        let (mut source, _write) = source();
        let (mut sink, mut log) = (sink(), log());
        let long = [&vec![b'x'; LINE_MAX + 5], &b"y\n"[..]].concat();
        let full = [&vec![b'x'; LINE_MAX], &b"\n"[..]].concat();
        let parts = long.chunks(LINE_MAX - 7).chain([&long[..]]);
        for part in parts.chain(full.chunks(LINE_MAX)) {
            source.take(part, &mut sink, &mut log);
        }
        assert_eq!(log.lost(), 5);
        let lines = lines(&mut sink);
        let lengths: Vec<_> = lines
            .iter()
            .map(|line| line.len() - "web[7]: ".len())
            .collect();
        assert_eq!(lengths, [LINE_MAX, 6, LINE_MAX, 6, LINE_MAX]);
    }
}
