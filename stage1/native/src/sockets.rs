//! Sockets that the service manager listens on for the pod's apps (using-rkt-with-systemd,
//! "Socket-activated service"): each goes to the app whose port it is bound to.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use appc::{App, PodManifest};
use rustix::net::{SocketType, getsockname, sockopt};
use supervisor::PassedSocket;

/// A passed socket that no app has yet.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    port: u16,
    datagrams: bool,
}

/// Takes the sockets that were passed to rkt. Nothing else may have been opened before.
pub(crate) fn take() -> Vec<Socket> {
    let passed = sandbox::exec::take_passed(systemd::passed_descriptors());
    // Those that are no sockets of the internet are nobody's port.
    passed.into_iter().filter_map(socket).collect()
}

fn socket(fd: OwnedFd) -> Option<Socket> {
    let address = SocketAddr::try_from(getsockname(&fd).ok()?).ok()?;
    Some(Socket {
        port: address.port(),
        datagrams: sockopt::socket_type(&fd).ok()? == SocketType::DGRAM,
        fd,
    })
}

/// The sockets for an app's ports, in the ports' order.
pub(crate) fn of_app(pod: &PodManifest, app: &App, all: &mut Vec<Socket>) -> Vec<PassedSocket> {
    let mut own = Vec::new();
    for port in app.ports.iter().filter(|port| port.socket_activated) {
        let exposed = pod.ports.iter().find(|exposed| exposed.name == port.name);
        let number = exposed.map_or(port.port, |exposed| exposed.host_port);
        let datagrams = port.protocol == "udp";
        let fits = |s: &Socket| s.port == number && s.datagrams == datagrams;
        if let Some(found) = all.iter().position(fits) {
            own.push(PassedSocket {
                name: port.name.to_string(),
                fd: all.swap_remove(found).fd,
            });
        }
    }
    own
}
