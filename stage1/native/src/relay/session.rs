//! Datagrams of one client of a port, which the pod answers.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long a client and the pod may be silent until they are forgotten.
pub(super) const IDLE: Duration = Duration::from_secs(120);
/// Clients of all ports; the one that was silent the longest makes room.
pub(super) const MOST: usize = 512;

/// A client that the pod has datagrams from.
#[derive(Debug)]
pub(super) struct Session {
    /// Which port it came to.
    pub(super) port: usize,
    /// Where it is.
    pub(super) client: SocketAddr,
    /// Sends to the pod, and has its answers.
    pub(super) socket: UdpSocket,
    /// When something was last passed on.
    pub(super) last: Instant,
}

impl Session {
    /// A socket in the pod's network for a client.
    pub(super) fn new(port: usize, client: SocketAddr, to: SocketAddr) -> std::io::Result<Self> {
        let any: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            port,
            client,
            socket,
            last: Instant::now(),
        })
    }
}
