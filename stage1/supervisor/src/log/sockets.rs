//! The sockets by which an app reaches the journal: `/run/systemd/journal/{dev-log,socket,stdout}`.
//! Every app has its own three, so that whose message it is needs no asking.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use journal::Field;
use memchr::memchr;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags, SocketType, accept_with};
use sandbox::Error;

use super::{Log, Origin, native, syslog};
use crate::attach::{bind_in, listener_of};
use crate::message::receive;
use crate::output::Splitter;

/// Longest message; journald's senders put longer ones into files.
const MESSAGE_MAX: usize = 256 * 1024;
/// Longest message in a file.
const FILE_MAX: u64 = 64 << 20;
/// More streams of one app are turned away.
const STREAMS_MAX: usize = 64;
/// Lines before the first one of a stream's text.
const HEAD_LINES: usize = 7;

/// An app's sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    app: String,
    native: (OwnedFd, Origin),
    syslog: (OwnedFd, Origin),
    stdout: OwnedFd,
    streams: Vec<Stream>,
}

/// Somebody who connected to `stdout`.
#[derive(Debug)]
struct Stream {
    socket: OwnedFd,
    /// What it said of itself, as far as it did.
    head: Vec<Vec<u8>>,
    origin: Origin,
    splitter: Splitter,
    gone: bool,
}

/// One of the descriptors.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Native,
    Syslog,
    Stdout,
    Stream(usize),
}

impl Sockets {
    /// Makes the sockets of an app, in the directory that it will see.
    pub(crate) fn open(app: &str) -> Result<Self, Error> {
        let dir = Path::new("/").join(stage1_abi::path::journal(app));
        bind_in(&dir, || Self::bind(app))
    }

    fn bind(app: &str) -> Result<Self, Errno> {
        let socket = |kind, name| match listener_of(kind, name, 0o666) {
            // One of an earlier start is in the way.
            Err(Errno::ADDRINUSE) => {
                rustix::fs::unlink(name)?;
                listener_of(kind, name, 0o666)
            }
            other => other,
        };
        Ok(Self {
            app: app.to_owned(),
            native: (
                socket(SocketType::DGRAM, "socket")?,
                Origin::app(app, "journal"),
            ),
            syslog: (
                socket(SocketType::DGRAM, "dev-log")?,
                Origin::app(app, "syslog"),
            ),
            stdout: socket(SocketType::STREAM, "stdout")?,
            streams: Vec::new(),
        })
    }

    /// Calls `add` with everything to poll for input.
    pub(crate) fn poll<'a>(&'a self, mut add: impl FnMut(BorrowedFd<'a>, Part)) {
        add(self.native.0.as_fd(), Part::Native);
        add(self.syslog.0.as_fd(), Part::Syslog);
        add(self.stdout.as_fd(), Part::Stdout);
        for (n, stream) in self.streams.iter().enumerate() {
            add(stream.socket.as_fd(), Part::Stream(n));
        }
    }

    /// Reads what has come.
    pub(crate) fn pump(&mut self, part: Part, log: &mut Log) {
        log.tick();
        match part {
            Part::Native => self.read_native(log),
            Part::Syslog => self.read_syslog(log),
            Part::Stdout => self.accept(),
            Part::Stream(n) => {
                if let Some(stream) = self.streams.get_mut(n) {
                    stream.read(&self.app, log);
                }
            }
        }
    }

    /// Reads what is left once everybody who could write is dead.
    pub(crate) fn finish(&mut self, log: &mut Log) {
        log.tick();
        self.read_native(log);
        self.read_syslog(log);
        self.accept();
        for stream in &mut self.streams {
            while !stream.gone && stream.read(&self.app, log) {}
        }
    }

    /// Forgets streams that ended. Indices of [`Part::Stream`] are void afterwards.
    pub(crate) fn sweep(&mut self) {
        self.streams.retain(|stream| !stream.gone);
    }

    fn read_native(&mut self, log: &mut Log) {
        let (socket, origin) = &self.native;
        while let Ok((message, file)) = next(socket) {
            let message = match file {
                Some(file) => match read_file(file) {
                    Some(text) => text,
                    None => continue,
                },
                None => message,
            };
            entry(log, origin, &native::fields(&message));
        }
    }

    fn read_syslog(&mut self, log: &mut Log) {
        let (socket, origin) = &self.syslog;
        while let Ok((message, _)) = next(socket) {
            entry(log, origin, &syslog::fields(&message));
        }
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(socket) = accept_with(&self.stdout, flags) {
            if self.streams.len() < STREAMS_MAX {
                self.streams.push(Stream {
                    socket,
                    head: Vec::new(),
                    origin: Origin::app(&self.app, "stdout"),
                    splitter: Splitter::default(),
                    gone: false,
                });
            }
        }
    }
}

impl Stream {
    /// Whether something came, or the end.
    fn read(&mut self, app: &str, log: &mut Log) -> bool {
        let mut buffer = [0; 16 * 1024];
        let length = match rustix::io::read(&self.socket, &mut buffer) {
            Err(Errno::AGAIN | Errno::INTR) => return false,
            other => other.unwrap_or(0),
        };
        let mut splitter = std::mem::take(&mut self.splitter);
        match length {
            0 => {
                self.gone = true;
                splitter.flush(|lines| self.lines(lines, app, log));
            }
            _ => splitter.take(&buffer[..length], |lines| self.lines(lines, app, log)),
        }
        self.splitter = splitter;
        true
    }

    /// Lines of the head: identifier, unit, priority, and switches; and of the text behind it.
    fn lines(&mut self, bytes: &[u8], app: &str, log: &mut Log) {
        let mut rest = bytes;
        while self.head.len() < HEAD_LINES && !rest.is_empty() {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            self.head.push(rest[..end].to_vec());
            rest = rest.get(end + 1..).unwrap_or_default();
            if self.head.len() == HEAD_LINES {
                let name = match self.head[0].as_slice() {
                    b"" => app.as_bytes(),
                    name => name,
                };
                self.origin = Origin::named(app, "stdout", name);
            }
        }
        log.lines(&self.origin, rest);
    }
}

/// An entry is one that has a message.
fn entry(log: &mut Log, origin: &Origin, fields: &[Vec<u8>]) {
    if fields.iter().any(|field| field.starts_with(b"MESSAGE=")) {
        let fields: Vec<Field<'_>> = fields.iter().map(|field| [field, &b""[..]]).collect();
        log.entry(origin, &fields);
    }
}

/// The next message, and the file that came with it.
fn next(socket: &OwnedFd) -> Result<(Vec<u8>, Option<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let (text, files) = receive(socket, MESSAGE_MAX, &mut space, RecvFlags::DONTWAIT)?;
    Ok((text, files.into_iter().next()))
}

/// The text of a file that an app sent: only what cannot change or block while it is read, that is
/// a sealed memfd.
fn read_file(file: OwnedFd) -> Option<Vec<u8>> {
    use rustix::fs::SealFlags;
    use std::os::unix::fs::FileExt;
    let wanted = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    let sealed = rustix::fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(wanted));
    let size = rustix::fs::fstat(&file).ok()?.st_size as u64;
    if !sealed || size > FILE_MAX {
        return None;
    }
    let mut text = vec![0; size as usize];
    std::fs::File::from(file).read_exact_at(&mut text, 0).ok()?;
    Some(text)
}
