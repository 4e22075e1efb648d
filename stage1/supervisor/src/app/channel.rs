//! What a starting app tells its supervisor, until its program takes over: then the channel
//! closes by itself.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use sandbox::exec::FIRST_PASSED;

/// Longest message that is passed on.
const MESSAGE_MAX: usize = 4096;

/// One end of the channel.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// What an app reported.
#[derive(Debug)]
pub(crate) enum Report {
    /// It cannot start, for this reason.
    Failed(String),
    /// The master of its terminal.
    Terminal(OwnedFd),
    /// Its mount namespace, kept for the post-stop handler.
    Mounts(OwnedFd),
    /// The app's program runs (or its process ended).
    Closed,
}

const FAILED: u8 = b'E';
const TERMINAL: u8 = b'T';
const MOUNTS: u8 = b'M';
/// From the supervisor: go on.
const GO: u8 = b'G';

impl Channel {
    /// The supervisor's and the app's end, which is out of the way of that many passed sockets.
    pub(crate) fn pair(sockets: usize) -> Result<(Self, Self), Errno> {
        let (a, b) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        if sockets == 0 {
            return Ok((Self(a), Self(b)));
        }
        let above = FIRST_PASSED + i32::try_from(sockets).map_err(|_| Errno::MFILE)?;
        Ok((Self(a), Self(rustix::io::fcntl_dupfd_cloexec(b, above)?)))
    }

    /// App's end: why it cannot start. A supervisor that is gone needs no reason.
    pub(crate) fn failed(&self, reason: &str) {
        let mut message = vec![FAILED];
        message.extend_from_slice(reason.as_bytes());
        message.truncate(MESSAGE_MAX);
        let _ = rustix::net::send(&self.0, &message, SendFlags::NOSIGNAL);
    }

    /// App's end: hands the master of its terminal over.
    pub(crate) fn terminal(&self, master: BorrowedFd<'_>) -> Result<(), Errno> {
        self.hand_over(TERMINAL, master)
    }

    /// App's end: hands its mount namespace over.
    pub(crate) fn mounts(&self, namespace: BorrowedFd<'_>) -> Result<(), Errno> {
        self.hand_over(MOUNTS, namespace)
    }

    fn hand_over(&self, tag: u8, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [fd];
        control.push(SendAncillaryMessage::ScmRights(&fds));
        sendmsg(
            &self.0,
            &[IoSlice::new(&[tag])],
            &mut control,
            SendFlags::NOSIGNAL,
        )
        .map(drop)
    }

    /// Supervisor's end: lets the app go on to its program.
    pub(crate) fn go(&self) -> Result<(), Errno> {
        rustix::net::send(&self.0, &[GO], SendFlags::NOSIGNAL).map(drop)
    }

    /// App's end: waits for [`Self::go`]. `false` if the supervisor gave up.
    pub(crate) fn wait(&self) -> bool {
        let mut byte = [0; 1];
        loop {
            match rustix::io::read(&self.0, &mut byte) {
                Err(Errno::INTR) => {}
                Ok(1) => return byte[0] == GO,
                _ => return false,
            }
        }
    }

    /// Supervisor's end: the next report.
    pub(crate) fn receive(&self) -> Result<Report, Errno> {
        let mut bytes = [0; MESSAGE_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let iov = &mut [IoSliceMut::new(&mut bytes)];
        let mut receive = || recvmsg(&self.0, iov, &mut control, RecvFlags::CMSG_CLOEXEC);
        let message = match receive() {
            // Told once where the app closed its end before it read the go. What it said before
            // that is still to come.
            Err(Errno::CONNRESET) => receive(),
            other => other,
        }?;
        let fd = control.drain().find_map(|m| match m {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let text = &bytes[..message.bytes];
        match (text.first(), fd) {
            (None, _) => Ok(Report::Closed),
            (Some(&FAILED), _) => Ok(Report::Failed(
                String::from_utf8_lossy(&text[1..]).into_owned(),
            )),
            (Some(&TERMINAL), Some(fd)) => Ok(Report::Terminal(fd)),
            (Some(&MOUNTS), Some(fd)) => Ok(Report::Mounts(fd)),
            _ => Err(Errno::PROTO),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_that_fails_before_it_reads_the_go_is_heard() {
        let (supervisor, app) = Channel::pair(0).unwrap();
        supervisor.go().unwrap();
        app.failed("no such directory");
        drop(app);
        let heard = supervisor.receive().unwrap();
        assert!(matches!(heard, Report::Failed(reason) if reason == "no such directory"));
        assert!(matches!(supervisor.receive().unwrap(), Report::Closed));
    }

    #[test]
    fn reports_arrive_in_order() {
        let (supervisor, app) = Channel::pair(0).unwrap();
        app.terminal(std::io::stdin().as_fd()).unwrap();
        app.failed("no such file");
        assert!(matches!(supervisor.receive().unwrap(), Report::Terminal(_)));
        assert!(matches!(supervisor.receive().unwrap(), Report::Failed(r) if r == "no such file"));
        supervisor.go().unwrap();
        assert!(app.wait());
        drop(app);
        assert!(matches!(supervisor.receive().unwrap(), Report::Closed));
    }
}
