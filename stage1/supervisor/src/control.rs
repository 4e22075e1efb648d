//! What entrypoints ask of a running supervisor: to add, start, stop and remove apps of a mutable
//! pod, and to give a terminal another size.
//!
//! One request a connection: a JSON text, with descriptors where needed, answered by a JSON text.
//! The socket lies in the stage1 root file system, where no app comes.

use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, accept_with, connect, sendmsg, socket_with,
};
use sandbox::cgroup::AppCgroup;
use sandbox::{Context, Error};
use serde::{Deserialize, Serialize};

use crate::attach::listener_of;
use crate::message::receive;
use crate::plan::AppPlan;

/// The socket, below the stage1 root file system.
const SOCKET: &str = "rkt/control";
/// Longest request or answer; plans travel in files.
const MESSAGE_MAX: usize = 64 * 1024;
/// Descriptors that go with one request (SCM_MAX_FD).
const FDS_MAX: usize = 253;
/// Requests that may wait for their answers at once.
const CONNECTIONS_MAX: usize = 256;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// A new app, described by an [`Addition`] in the first descriptor.
    Add,
    /// Start this app; answered when its program runs.
    Start(String),
    /// End this app; answered when it has ended.
    Stop(String),
    /// Forget this app, which must not be running.
    Remove(String),
    /// The terminal of this app has that many rows and columns.
    Resize(String, u16, u16),
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// As asked.
    Done,
    /// Why it was not done.
    Failed(String),
}

/// An app to add. The descriptors after the one of this description are those of the app's cgroup,
/// then those of its volumes' mounts.
#[derive(Debug, Serialize, Deserialize)]
pub struct Addition {
    /// The app.
    pub plan: AppPlan,
    /// Its cgroup is of version 2.
    pub unified: bool,
    /// Where its volumes are gathered.
    pub volumes: Vec<PathBuf>,
}

/// A request and where its answer goes.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) request: Request,
    pub(crate) fds: Vec<OwnedFd>,
    pub(crate) asker: Asker,
}

/// The supervisor's end of a connection.
#[derive(Debug)]
pub(crate) struct Asker(OwnedFd);

/// The listening socket and the connections that have not asked yet.
#[derive(Debug)]
pub(crate) struct Control {
    listener: OwnedFd,
    silent: Vec<OwnedFd>,
}

impl Control {
    /// Opens the socket below the process's root.
    pub(crate) fn open() -> Result<Self, Error> {
        let path = format!("/{SOCKET}");
        let listener =
            listener_of(SocketType::SEQPACKET, &path, 0o600).context("open socket", path)?;
        Ok(Self {
            listener,
            silent: Vec::new(),
        })
    }

    /// What to poll for input: the listening socket, then each connection.
    pub(crate) fn poll_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(&self.listener)
            .chain(&self.silent)
            .map(AsFd::as_fd)
    }

    /// Takes what has come: new connections, and what the others ask.
    pub(crate) fn receive(&mut self) -> Vec<Received> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(connection) = accept_with(&self.listener, flags) {
            if self.silent.len() < CONNECTIONS_MAX {
                self.silent.push(connection);
            }
        }
        let mut received = Vec::new();
        let mut silent = Vec::new();
        for connection in self.silent.drain(..) {
            match read(&connection) {
                Ok((text, fds)) => match serde_json::from_slice(&text) {
                    Ok(request) => received.push(Received {
                        request,
                        fds,
                        asker: Asker(connection),
                    }),
                    Err(error) => Asker(connection).answer(Err(error.to_string())),
                },
                Err(Errno::AGAIN | Errno::INTR) => silent.push(connection),
                Err(_) => {}
            }
        }
        self.silent = silent;
        received
    }
}

impl Asker {
    /// Answers. Who asked may be gone by now, and needs no answer then.
    pub(crate) fn answer(self, result: Result<(), String>) {
        let answer = match result {
            Ok(()) => Answer::Done,
            Err(reason) => Answer::Failed(reason),
        };
        let text = serde_json::to_vec(&answer).unwrap_or_default();
        let _ = rustix::net::send(&self.0, &text, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}

impl Addition {
    /// Sends the request to add this app to the pod whose PID 1 is `pid` on the host.
    ///
    /// # Errors
    /// As [`ask`].
    pub fn send(&self, pid: u32, volumes: &[OwnedFd]) -> Result<Answer, Error> {
        let file = memfd_create("addition", MemfdFlags::CLOEXEC).context("make", "a file")?;
        let text = serde_json::to_vec(self).unwrap_or_default();
        std::fs::File::from(file.try_clone().context("copy", "a descriptor")?)
            .write_all(&text)
            .context("write", "the app's description")?;
        let mut fds = vec![file.as_fd()];
        fds.extend(self.plan.cgroup.iter().flat_map(|c| c.descriptors().0));
        fds.extend(volumes.iter().map(AsFd::as_fd));
        ask(pid, &Request::Add, &fds)
    }

    /// Reads what [`Self::send`] sent: the app, and its volumes' mounts with their places.
    pub(crate) fn receive(
        mut fds: Vec<OwnedFd>,
    ) -> Result<(AppPlan, Vec<(PathBuf, OwnedFd)>), String> {
        if fds.is_empty() {
            return Err("the app's description is missing".into());
        }
        let file = fds.remove(0);
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).map_err(|e| e.to_string())?;
        let reader = std::io::BufReader::new(std::fs::File::from(file));
        let this: Self = serde_json::from_reader(reader).map_err(|e| e.to_string())?;
        let cgroups = fds.len().checked_sub(this.volumes.len());
        let mounts = fds.split_off(cgroups.ok_or("mounts of volumes are missing")?);
        let mut plan = this.plan;
        plan.cgroup = AppCgroup::from_descriptors(fds, this.unified);
        Ok((plan, this.volumes.into_iter().zip(mounts).collect()))
    }
}

/// Asks the supervisor of the pod whose PID 1 is `pid` on the host, and waits for its answer.
///
/// # Errors
/// A supervisor that does not listen, or ends before it answers.
pub fn ask(pid: u32, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Answer, Error> {
    let path = format!("/proc/{pid}/root/{SOCKET}");
    let exchange = || -> Result<Vec<u8>, Errno> {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        connect(&socket, &SocketAddrUnix::new(path.as_str())?)?;
        let text = serde_json::to_vec(request).map_err(|_| Errno::INVAL)?;
        write(&socket, &text, fds)?;
        loop {
            match read(&socket) {
                Err(Errno::INTR) => {}
                other => return other.map(|(text, _)| text),
            }
        }
    };
    exchange()
        .and_then(|text| serde_json::from_slice(&text).map_err(|_| Errno::PROTO))
        .context("ask the pod's supervisor at", path)
}

fn write(socket: &OwnedFd, text: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if fds.len() > FDS_MAX {
        return Err(Errno::MFILE);
    }
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    sendmsg(
        socket,
        &[IoSlice::new(text)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .map(drop)
}

/// The next message; the end of the connection is `EPIPE`.
fn read(socket: &OwnedFd) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let message = receive(socket, MESSAGE_MAX, &mut space, RecvFlags::empty())?;
    match message.0.is_empty() {
        true => Err(Errno::PIPE),
        false => Ok(message),
    }
}
