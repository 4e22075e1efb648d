//! Sockets that send and receive whole IPv4 packets on one interface, whether it has an address
//! or not.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::clone::last_errno;

/// A packet socket of one interface, for one UDP port: everything else is left alone by a filter
/// in the kernel.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    link: i32,
}

const ETH_P_IP: u16 = 0x0800;
const UDP: u32 = 17;

impl PacketSocket {
    /// Opens a socket, not blocking, on the interface with index `link` of the calling thread's
    /// network namespace, for UDP packets that are sent to `port`.
    ///
    /// # Errors
    /// As socket(2) and bind(2).
    pub fn open(link: u32, port: u16) -> Result<Self, Errno> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers. Protocol 0 receives nothing until it is bound.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if fd < 0 {
            return Err(last_errno());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let link = i32::try_from(link).map_err(|_| Errno::NODEV)?;
        let socket = Self { fd, link };
        socket.filter(port)?;
        let address = socket.address([0; 6]);
        // SAFETY: `address` is a sockaddr_ll of the length that is given.
        let bound =
            unsafe { libc::bind(socket.fd.as_raw_fd(), (&raw const address).cast(), LENGTH) };
        if bound < 0 {
            return Err(last_errno());
        }
        Ok(socket)
    }

    /// Only unfragmented UDP to `port`. What the filter reads begins with the IP header.
    fn filter(&self, port: u16) -> Result<(), Errno> {
        const BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
        const HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
        const HALF_AT_X: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_IND) as u16;
        const HEADER: u16 = (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16;
        const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        const BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
        const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
        let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        let mut steps = [
            step(BYTE, 0, 0, 9),
            step(EQUAL, 0, 6, UDP),
            step(HALF, 0, 0, 6),
            step(BITS, 4, 0, 0x1fff),
            step(HEADER, 0, 0, 0),
            step(HALF_AT_X, 0, 0, 2),
            step(EQUAL, 0, 1, u32::from(port)),
            step(RETURN, 0, 0, 0xffff),
            step(RETURN, 0, 0, 0),
        ];
        let program = libc::sock_fprog {
            len: steps.len() as u16,
            filter: steps.as_mut_ptr(),
        };
        // SAFETY: `program` and the steps that it points to live through the call, which copies
        // them.
        let set = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        };
        if set < 0 { Err(last_errno()) } else { Ok(()) }
    }

    fn address(&self, mac: [u8; 6]) -> libc::sockaddr_ll {
        let [a, b, c, d, e, f] = mac;
        libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: ETH_P_IP.to_be(),
            sll_ifindex: self.link,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [a, b, c, d, e, f, 0, 0],
        }
    }

    /// Sends an IP packet to the neighbour with that hardware address.
    ///
    /// # Errors
    /// As sendto(2).
    pub fn send(&self, to: [u8; 6], packet: &[u8]) -> Result<(), Errno> {
        let address = self.address(to);
        // SAFETY: the packet and the address live through the call and have these lengths.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const address).cast(),
                LENGTH,
            )
        };
        if sent < 0 { Err(last_errno()) } else { Ok(()) }
    }

    /// Receives a packet into `buffer`: its length, at most the buffer's, and its sender's
    /// hardware address. `None` if there is none now.
    ///
    /// # Errors
    /// As recvfrom(2).
    pub fn receive(&self, buffer: &mut [u8]) -> Result<Option<(usize, [u8; 6])>, Errno> {
        // SAFETY: an all-zero sockaddr_ll is a valid one.
        let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut length = LENGTH;
        // SAFETY: the buffer, the address and its length are the caller's and this function's own.
        let received = unsafe {
            libc::recvfrom(
                self.fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
                (&raw mut from).cast(),
                &raw mut length,
            )
        };
        match usize::try_from(received) {
            Ok(received) => {
                let [a, b, c, d, e, f, ..] = from.sll_addr;
                Ok(Some((received, [a, b, c, d, e, f])))
            }
            Err(_) => match last_errno() {
                Errno::AGAIN | Errno::INTR => Ok(None),
                errno => Err(errno),
            },
        }
    }
}

const LENGTH: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
