//! A netlink socket.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
};

use super::{Batch, HEADER, align, flag};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Longest answer that is read: the kernel never sends more in one piece of a dump.
const ANSWER: usize = 64 * 1024;

/// How often a dump that changed under the reader is read again.
const DUMP_TRIES: usize = 32;

/// The kernel refused a message of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    /// Which message of the batch, from 0.
    pub(crate) index: usize,
    /// The error.
    pub(crate) errno: Errno,
}

/// A netlink socket of one network namespace: that of the thread which opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    number: u32,
    buffer: Vec<u8>,
}

/// One message of an answer.
struct Answer<'a> {
    kind: u16,
    flags: u16,
    number: u32,
    body: &'a [u8],
}

impl Socket {
    /// A socket to rtnetlink.
    pub(crate) fn route() -> Result<Self, Errno> {
        Self::open(None)
    }

    /// A socket to netfilter.
    pub(crate) fn netfilter() -> Result<Self, Errno> {
        Self::open(Some(netlink::NETFILTER))
    }

    /// A socket to rtnetlink in another namespace.
    pub(crate) fn route_in(netns: BorrowedFd<'_>) -> Result<Self, Errno> {
        sandbox::netns::open_in(netns, Self::route)?
    }

    /// Without a protocol it is rtnetlink, which has number 0.
    fn open(protocol: Option<Protocol>) -> Result<Self, Errno> {
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        Ok(Self {
            fd,
            number: 1,
            buffer: Vec::new(),
        })
    }

    /// The descriptor.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Sends a batch and waits until the kernel has done it. Every message is tried, also after
    /// one that was refused; the refusals are returned. What the kernel answers besides
    /// (echoed or requested objects) goes to `each`, as type and body.
    ///
    /// `trailer`: messages at the end that get no answer (nf_tables' end of batch).
    pub(crate) fn send(
        &mut self,
        batch: &mut Batch,
        trailer: usize,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<Vec<Refusal>, Errno> {
        let (first, last) = self.transmit(batch, trailer)?;
        let mut refusals = Vec::new();
        loop {
            let mut done = false;
            for answer in self.receive()? {
                let index = answer.number.wrapping_sub(first) as usize;
                if index >= batch.len() {
                    continue; // the late answer to an older batch
                }
                if answer.kind != NLMSG_ERROR {
                    each(answer.kind, answer.body);
                    continue;
                }
                if let Some(errno) = error_of(answer.body) {
                    refusals.push(Refusal { index, errno });
                    // An nf_tables batch refused as a whole is answered at its beginning only.
                    done |= trailer > 0 && index == 0;
                }
                done |= answer.number == last;
            }
            if done {
                return Ok(refusals);
            }
        }
    }

    /// Sends one request for a dump and hands every object to `each`. A dump that changed while
    /// it was read is read again from the start.
    pub(crate) fn dump<T>(
        &mut self,
        request: impl Fn(&mut Batch),
        mut each: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Errno> {
        let mut found = Vec::new();
        for _ in 0..DUMP_TRIES {
            found.clear();
            let mut batch = Batch::new();
            request(&mut batch);
            if self.dump_once(&mut batch, |body| found.extend(each(body)))? {
                break;
            }
        }
        Ok(found)
    }

    /// Returns whether the dump was consistent.
    fn dump_once(&mut self, batch: &mut Batch, mut each: impl FnMut(&[u8])) -> Result<bool, Errno> {
        let (first, _) = self.transmit(batch, 0)?;
        let mut consistent = true;
        loop {
            for answer in self.receive()? {
                if answer.number != first {
                    continue;
                }
                consistent &= answer.flags & flag::DUMP_INTR == 0;
                match answer.kind {
                    NLMSG_DONE => return Ok(consistent),
                    NLMSG_ERROR => match error_of(answer.body) {
                        Some(errno) => return Err(errno),
                        None => return Ok(consistent),
                    },
                    _ => each(answer.body),
                }
            }
        }
    }

    fn transmit(&mut self, batch: &mut Batch, trailer: usize) -> Result<(u32, u32), Errno> {
        let first = self.number;
        let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        self.number = self.number.wrapping_add(count);
        let (bytes, last) = batch.finish(first, trailer);
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        let sent = retry(|| sendto(&self.fd, bytes, SendFlags::empty(), &kernel))?;
        if sent == bytes.len() {
            Ok((first, last))
        } else {
            Err(Errno::MSGSIZE)
        }
    }

    /// One read of the socket: the messages in it.
    fn receive(&mut self) -> Result<impl Iterator<Item = Answer<'_>>, Errno> {
        if self.buffer.is_empty() {
            self.buffer.resize(ANSWER, 0);
        }
        let fd = &self.fd;
        let buffer = &mut self.buffer[..];
        let (_, length) = retry(|| recv(fd, &mut *buffer, RecvFlags::TRUNC))?;
        let mut rest = self.buffer.get(..length).ok_or(Errno::MSGSIZE)?;
        Ok(std::iter::from_fn(move || {
            let header = rest.first_chunk::<HEADER>()?;
            let [l0, l1, l2, l3, k0, k1, f0, f1, n0, n1, n2, n3, ..] = *header;
            let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
            let body = rest.get(HEADER..length)?;
            rest = rest.get(align(length)..).unwrap_or_default();
            Some(Answer {
                kind: u16::from_ne_bytes([k0, k1]),
                flags: u16::from_ne_bytes([f0, f1]),
                number: u32::from_ne_bytes([n0, n1, n2, n3]),
                body,
            })
        }))
    }
}

/// The error in the body of an error message; `None` for an acknowledgement.
fn error_of(body: &[u8]) -> Option<Errno> {
    let code = body
        .first_chunk()
        .map_or(-Errno::BADMSG.raw_os_error(), |b| i32::from_ne_bytes(*b));
    (code != 0).then(|| Errno::from_raw_os_error(code.saturating_neg().clamp(1, 4095)))
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}
