//! Apps that say themselves when they are ready (using-rkt-with-systemd, "Notifications").

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{RecvFlags, SocketType, recv};
use sandbox::Error;

use crate::attach::{bind_in, listener_of};

/// Longest message.
const MESSAGE_MAX: usize = 4096;

/// Where an app says that it is ready.
#[derive(Debug)]
pub(crate) struct Readiness {
    socket: OwnedFd,
    /// It has said so.
    pub(crate) reached: bool,
}

impl Readiness {
    /// Makes the socket of an app, which its file system shows at
    /// [`stage1_abi::path::NOTIFY_IN_APP`].
    pub(crate) fn open(app: &str) -> Result<Self, Error> {
        let path = Path::new("/").join(stage1_abi::path::notify(app));
        let dir = path.parent().unwrap_or(Path::new("/"));
        let socket = bind_in(dir, || {
            // One of an earlier start is in the way.
            let _ = rustix::fs::unlink(app);
            listener_of(SocketType::DGRAM, app, 0o666)
        })?;
        Ok(Self {
            socket,
            reached: false,
        })
    }

    /// Reads what has come.
    pub(crate) fn pump(&mut self) {
        let mut bytes = [0; MESSAGE_MAX];
        while let Ok((length, _)) = recv(&self.socket, &mut bytes, RecvFlags::DONTWAIT) {
            let text = bytes.get(..length).unwrap_or_default();
            self.reached |= text.split(|b| *b == b'\n').any(|line| line == b"READY=1");
        }
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
