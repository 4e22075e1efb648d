//! The few rtnetlink requests that a veth pair with addresses and routes needs.

use std::io;
use std::os::fd::RawFd;

use crate::sys::check;

/// A route socket of the current network namespace.
pub(crate) struct Netlink(RawFd);

impl Drop for Netlink {
    fn drop(&mut self) {
        // SAFETY: opened by `open` and closed only here.
        unsafe { libc::close(self.0) };
    }
}

impl Netlink {
    /// Opens it.
    pub(crate) fn open() -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let fd = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                libc::NETLINK_ROUTE,
            )
        };
        Ok(Self(check(fd.into())? as RawFd))
    }

    /// Sends one batch of requests, each with its acknowledgement asked for, and reads all answers.
    pub(crate) fn send(&self, messages: &[Message]) -> io::Result<()> {
        let batch: Vec<u8> = messages.iter().flat_map(Message::finish).collect();
        // SAFETY: the buffer is as long as said.
        check(unsafe { libc::send(self.0, batch.as_ptr().cast(), batch.len(), 0) } as i64)?;
        let mut acknowledged = 0;
        let mut buffer = [0u8; 8192];
        while acknowledged < messages.len() {
            // SAFETY: the buffer is as long as said.
            let size =
                check(
                    unsafe { libc::recv(self.0, buffer.as_mut_ptr().cast(), buffer.len(), 0) }
                        as i64,
                )? as usize;
            let mut rest = &buffer[..size];
            while rest.len() >= 20 {
                let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                let errno = i32::from_ne_bytes([rest[16], rest[17], rest[18], rest[19]]);
                if errno != 0 {
                    return Err(io::Error::from_raw_os_error(-errno));
                }
                acknowledged += 1;
                rest = &rest[length.next_multiple_of(4).min(rest.len())..];
            }
        }
        Ok(())
    }
}

/// One request.
pub(crate) struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: i32, body: &[u8]) -> Self {
        Self {
            kind,
            flags: flags as u16,
            body: body.to_vec(),
        }
    }

    /// `ifinfomsg` with flags to set and to change.
    pub(crate) fn link(kind: u16, flags: i32, index: u32, up: bool) -> Self {
        let mut body = vec![0u8; 4];
        body.extend(index.to_ne_bytes());
        body.extend(u32::from(up).to_ne_bytes());
        body.extend(u32::from(up).to_ne_bytes());
        Self::new(kind, flags, &body)
    }

    /// A new IPv4 address on an interface.
    pub(crate) fn address(index: u32, address: [u8; 4], prefix: u8) -> Self {
        let mut body = vec![libc::AF_INET as u8, prefix, 0, 0];
        body.extend(index.to_ne_bytes());
        let mut message = Self::new(
            libc::RTM_NEWADDR,
            libc::NLM_F_CREATE | libc::NLM_F_EXCL,
            &body,
        );
        message.attribute(libc::IFA_LOCAL, &address);
        message.attribute(libc::IFA_ADDRESS, &address);
        message
    }

    /// A new IPv4 route.
    pub(crate) fn route(index: u32, to: ([u8; 4], u8), gateway: Option<[u8; 4]>) -> Self {
        let scope = if gateway.is_some() {
            libc::RT_SCOPE_UNIVERSE
        } else {
            libc::RT_SCOPE_LINK
        };
        let body = [
            libc::AF_INET as u8,
            to.1,
            0,
            0,
            libc::RT_TABLE_MAIN,
            libc::RTPROT_BOOT,
            scope,
            libc::RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let mut message = Self::new(
            libc::RTM_NEWROUTE,
            libc::NLM_F_CREATE | libc::NLM_F_EXCL,
            &body,
        );
        if to.1 > 0 {
            message.attribute(libc::RTA_DST, &to.0);
        }
        message.attribute(libc::RTA_OIF, &index.to_ne_bytes());
        if let Some(gateway) = gateway {
            message.attribute(libc::RTA_GATEWAY, &gateway);
        }
        message
    }

    /// A veth pair: one end here, the other called `eth0` in the namespace of a process.
    pub(crate) fn veth(name: &str, pid: i32) -> Self {
        let mut message = Self::link(
            libc::RTM_NEWLINK,
            libc::NLM_F_CREATE | libc::NLM_F_EXCL,
            0,
            true,
        );
        message.attribute(libc::IFLA_IFNAME, &terminated(name));
        let info = message.open(libc::IFLA_LINKINFO);
        message.attribute(libc::IFLA_INFO_KIND, b"veth");
        let data = message.open(libc::IFLA_INFO_DATA);
        const VETH_INFO_PEER: u16 = 1;
        let peer = message.open(VETH_INFO_PEER);
        message.body.extend([0u8; 16]);
        message.attribute(libc::IFLA_IFNAME, &terminated("eth0"));
        message.attribute(libc::IFLA_NET_NS_PID, &pid.to_ne_bytes());
        message.close(peer);
        message.close(data);
        message.close(info);
        message
    }

    /// Appends an attribute.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.body.extend(value);
        self.close(start);
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.body.len();
        self.body.extend([0, 0]);
        self.body.extend(kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = (self.body.len() - start) as u16;
        self.body[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.body.resize(self.body.len().next_multiple_of(4), 0);
    }

    fn finish(&self) -> Vec<u8> {
        let flags = self.flags | (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        let mut bytes = ((16 + self.body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0u8; 8]);
        bytes.extend(&self.body);
        bytes
    }
}

/// The index of an interface of this namespace.
pub(crate) fn index_of(name: &str) -> io::Result<u32> {
    // SAFETY: a terminated string.
    let index = unsafe { libc::if_nametoindex(terminated(name).as_ptr().cast()) };
    if index == 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(index)
    }
}

fn terminated(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}
