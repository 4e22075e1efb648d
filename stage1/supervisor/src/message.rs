//! Messages of local sockets, with the descriptors that come with them.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recv, recvmsg};

/// The next message, as far as it is no longer than `limit`. The kernel is asked first how long it
/// is: mostly there is none, and memory for the longest would be cleared in vain each time. Of the
/// descriptors those come that `space` has room for.
///
/// # Errors
/// As recvmsg(2).
pub(crate) fn receive(
    socket: impl AsFd,
    limit: usize,
    space: &mut [MaybeUninit<u8>],
    flags: RecvFlags,
) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
    let ask = flags | RecvFlags::PEEK | RecvFlags::TRUNC;
    let (_, length) = recv(&socket, &mut [0; 0], ask)?;
    let mut bytes = vec![0; length.min(limit)];
    let mut control = RecvAncillaryBuffer::new(space);
    let iov = &mut [IoSliceMut::new(&mut bytes)];
    let message = recvmsg(&socket, iov, &mut control, flags | RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = part {
            fds.extend(more);
        }
    }
    bytes.truncate(message.bytes);
    Ok((bytes, fds))
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

    use super::*;

    fn pair(kind: SocketType) -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn messages_come_whole_and_one_by_one() {
        for kind in [SocketType::DGRAM, SocketType::SEQPACKET] {
            let (here, there) = pair(kind);
            let none = receive(&here, 8, &mut [], RecvFlags::DONTWAIT).map(|(text, _)| text);
            assert_eq!(none, Err(Errno::AGAIN));
            for text in [&b"first"[..], b"longer than eight", b"last"] {
                assert_eq!(send(&there, text, SendFlags::NOSIGNAL), Ok(text.len()));
            }
            for text in [&b"first"[..], b"longer t", b"last"] {
                let (received, fds) = receive(&here, 8, &mut [], RecvFlags::empty()).unwrap();
                assert_eq!((received.as_slice(), fds.len()), (text, 0));
            }
        }
    }

    #[test]
    fn the_end_is_an_empty_message() {
        let (here, there) = pair(SocketType::SEQPACKET);
        drop(there);
        let (text, _) = receive(&here, 8, &mut [], RecvFlags::empty()).unwrap();
        assert!(text.is_empty());
    }
}
