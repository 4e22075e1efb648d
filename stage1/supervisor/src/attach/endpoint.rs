//! One stream of an app that clients attach to: a pipe, or the master of its terminal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::PollFlags;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};

use sandbox::Context;

use crate::log::KubernetesLog;
use crate::output::{Output, Splitter};

use super::client::Client;
use super::spool::Spool;

/// What may wait for an app that does not read before its clients wait too.
const INPUT_MAX: usize = 64 * 1024;
/// More clients of one stream are turned away.
const CLIENTS_MAX: usize = 64;
const BUFFER: usize = 16 * 1024;
const BACKLOG: i32 = 16;

/// A stream with its sockets and clients.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// `stdin`, `stdout`, `stderr` or `tty`.
    pub(super) name: &'static str,
    live: OwnedFd,
    replay: Option<OwnedFd>,
    /// Where the app's output comes from; `None` once it ended.
    source: Option<OwnedFd>,
    /// Where it goes as well, line by line.
    file: Option<KubernetesLog>,
    splitter: Splitter,
    spool: Option<Spool>,
    /// Where its input goes.
    sink: Option<OwnedFd>,
    input: Vec<u8>,
    clients: Vec<Client>,
}

/// One of the descriptors of an endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Live,
    Replay,
    Source,
    Sink,
    Client(usize),
}

impl Endpoint {
    /// An app's standard input: the write end of its pipe.
    pub(super) fn input(name: &'static str, sink: OwnedFd) -> Result<Self, Errno> {
        Self::new(name, None, Some(sink))
    }

    /// An app's output.
    pub(super) fn output(name: &'static str, output: Output) -> Result<Self, Errno> {
        let endpoint = Self::new(name, Some(output.pipe), None)?;
        Ok(Self {
            file: output.file,
            ..endpoint
        })
    }

    /// The master of an app's terminal.
    pub(super) fn terminal(name: &'static str, master: OwnedFd) -> Result<Self, Errno> {
        let source = rustix::io::fcntl_dupfd_cloexec(&master, 3)?;
        Self::new(name, Some(source), Some(master))
    }

    /// The sockets are made in the working directory.
    fn new(
        name: &'static str,
        source: Option<OwnedFd>,
        sink: Option<OwnedFd>,
    ) -> Result<Self, Errno> {
        let has_output = source.is_some();
        Ok(Self {
            name,
            live: listener(&format!("sock-{name}"))?,
            replay: has_output
                .then(|| listener(&format!("replay-{name}")))
                .transpose()?,
            spool: has_output
                .then(|| Spool::create(&format!("spool-{name}")))
                .transpose()?,
            source,
            file: None,
            splitter: Splitter::default(),
            sink,
            input: Vec::new(),
            clients: Vec::new(),
        })
    }

    /// The terminal's master.
    pub(super) fn master(&self) -> Option<&OwnedFd> {
        self.sink.as_ref().filter(|_| self.name == super::TTY)
    }

    /// Calls `add` with everything to poll.
    pub(crate) fn poll<'a>(&'a self, mut add: impl FnMut(BorrowedFd<'a>, PollFlags, Part)) {
        add(self.live.as_fd(), PollFlags::IN, Part::Live);
        if let Some(replay) = &self.replay {
            add(replay.as_fd(), PollFlags::IN, Part::Replay);
        }
        if let Some(source) = &self.source {
            add(source.as_fd(), PollFlags::IN, Part::Source);
        }
        if let Some(sink) = self.sink.as_ref().filter(|_| !self.input.is_empty()) {
            add(sink.as_fd(), PollFlags::OUT, Part::Sink);
        }
        let listening = self.sink.is_some() && self.input.len() < INPUT_MAX;
        for (n, client) in self.clients.iter().enumerate() {
            let flags = client.wishes(self.spool.as_ref(), listening);
            add(client.as_fd(), flags, Part::Client(n));
        }
    }

    /// Does what a poll found possible.
    pub(crate) fn pump(&mut self, part: Part, ready: PollFlags) {
        match part {
            Part::Live => {
                let end = self.spool.as_ref().map_or(0, Spool::end);
                welcome(&mut self.clients, &self.live, end);
            }
            Part::Replay => {
                let start = self.spool.as_ref().map_or(0, Spool::start);
                if let Some(replay) = &self.replay {
                    welcome(&mut self.clients, replay, start);
                }
            }
            Part::Source => drop(self.read_source()),
            Part::Sink => self.write_sink(),
            Part::Client(n) => self.serve(n, ready),
        }
    }

    fn serve(&mut self, n: usize, ready: PollFlags) {
        let Some(client) = self.clients.get_mut(n) else {
            return;
        };
        if ready.contains(PollFlags::IN) {
            client.receive(&mut self.input);
        }
        if let (true, Some(spool)) = (ready.contains(PollFlags::OUT), &self.spool) {
            client.catch_up(spool);
        }
        if ready.intersects(PollFlags::HUP | PollFlags::ERR) {
            client.leave();
        }
        self.write_sink();
    }

    /// Whether something came, or the end.
    fn read_source(&mut self) -> bool {
        let (Some(source), Some(spool)) = (&self.source, &mut self.spool) else {
            return false;
        };
        let mut buffer = [0; BUFFER];
        match rustix::io::read(source, &mut buffer) {
            Ok(n @ 1..) => {
                // A full disk loses output, but never stops an app.
                let _ = spool.append(&buffer[..n]);
                if let Some(file) = &self.file {
                    self.splitter.take(&buffer[..n], |lines| file.lines(lines));
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => return false,
            // EIO is how a master says that its last slave was closed.
            Ok(_) | Err(_) => self.end_source(),
        }
        if let Some(spool) = &self.spool {
            for client in &mut self.clients {
                client.catch_up(spool);
            }
        }
        true
    }

    fn end_source(&mut self) {
        self.source = None;
        if let Some(file) = self.file.take() {
            self.splitter.flush(|lines| file.lines(lines));
        }
    }

    fn write_sink(&mut self) {
        let Some(sink) = self.sink.as_ref().filter(|_| !self.input.is_empty()) else {
            return;
        };
        match rustix::io::write(sink, &self.input) {
            Ok(n) => drop(self.input.drain(..n)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                self.input = Vec::new();
                self.sink = None;
            }
        }
    }

    /// Forgets clients that are gone, and those that have got all there will ever be. Indices of
    /// [`Part::Client`] are void afterwards.
    pub(crate) fn sweep(&mut self) {
        let over = self.spool.is_some() && self.source.is_none();
        let spool = self.spool.as_ref();
        let input_only = spool.is_none();
        self.clients.retain(|client| {
            let done = (over && !client.is_behind(spool)) || (input_only && client.is_silent());
            !client.is_gone() && !done
        });
    }

    /// After the app's end: reads what it left, and lets go of its input.
    pub(crate) fn close(&mut self) {
        while self.source.is_some() && self.read_source() {}
        self.end_source();
        self.sink = None;
        if self.spool.is_none() {
            self.clients.clear();
        }
        self.sweep();
    }

    /// Whether a client still has output to come.
    pub(crate) fn is_read(&self) -> bool {
        self.clients
            .iter()
            .any(|client| client.is_behind(self.spool.as_ref()))
    }
}

fn welcome(clients: &mut Vec<Client>, listener: &OwnedFd, position: u64) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    while let Ok(socket) = accept_with(listener, flags) {
        if clients.len() < CLIENTS_MAX {
            clients.push(Client::new(socket, position));
        }
    }
}

/// Opens a directory of the supervisor's; it and the two above it are made if need be.
pub(super) fn directory(dir: &Path) -> Result<OwnedFd, sandbox::Error> {
    let made = dir.ancestors().take(3).collect::<Vec<_>>();
    for part in made.into_iter().rev() {
        match mkdirat(CWD, part, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).context("make directory", part.display()),
        }
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, dir, flags, Mode::empty()).context("open directory", dir.display())
}

/// Makes sockets in a directory, which is made if need be. They are bound by their names in the
/// working directory, since those of other paths may be too long.
pub(crate) fn bind_in<T>(
    dir: &Path,
    bind: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, sandbox::Error> {
    rustix::process::fchdir(directory(dir)?).context("enter", dir.display())?;
    let bound = bind().context("make sockets in", dir.display());
    rustix::process::chdir("/").context("enter", "/")?;
    bound
}

/// A socket of that name, which those can connect to whom its mode lets write.
pub(crate) fn listener_of(kind: SocketType, name: &str, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, kind, flags, None)?;
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(mode))?;
    bind(&socket, &SocketAddrUnix::new(name)?)?;
    if kind != SocketType::DGRAM {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

fn listener(name: &str) -> Result<OwnedFd, Errno> {
    listener_of(SocketType::STREAM, name, 0o600)
}
