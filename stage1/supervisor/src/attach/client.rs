//! Somebody who is attached to a stream of an app.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::spool::Spool;

const BUFFER: usize = 16 * 1024;

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    socket: OwnedFd,
    /// How much of the output it has got.
    position: u64,
    /// It has said that it will send nothing more.
    silent: bool,
    gone: bool,
}

impl Client {
    pub(super) fn new(socket: OwnedFd, position: u64) -> Self {
        Self {
            socket,
            position,
            silent: false,
            gone: false,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }

    /// What to poll for. `listening`: what it sends is wanted now.
    pub(super) fn wishes(&self, spool: Option<&Spool>, listening: bool) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, listening && !self.silent);
        flags.set(PollFlags::OUT, self.is_behind(spool));
        flags
    }

    pub(super) fn is_behind(&self, spool: Option<&Spool>) -> bool {
        spool.is_some_and(|spool| self.position < spool.end())
    }

    /// Reads what it sends into `input`.
    pub(super) fn receive(&mut self, input: &mut Vec<u8>) {
        let mut buffer = [0; BUFFER];
        match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.silent = true,
            Ok((n, _)) => input.extend_from_slice(&buffer[..n]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.gone = true,
        }
    }

    /// Sends as much of the output as it takes now.
    pub(super) fn catch_up(&mut self, spool: &Spool) {
        let mut buffer = [0; BUFFER];
        while !self.gone && self.is_behind(Some(spool)) {
            let Ok(n @ 1..) = spool.read(&mut self.position, &mut buffer) else {
                self.gone = true;
                return;
            };
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match send(&self.socket, &buffer[..n], flags) {
                Ok(sent) => self.position += sent as u64,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.gone = true,
            }
        }
    }

    pub(super) fn leave(&mut self) {
        self.gone = true;
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
