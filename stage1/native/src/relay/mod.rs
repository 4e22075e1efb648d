//! Ports of the host that lead to an ordinary user's pod: a process of its own takes connections
//! and datagrams in the host's network and passes them on in the pod's, where they come from the
//! pod's own address.
//!
//! `pasta` could do it, but Debian 12's (0.0~git20230309) does not complete the handshake with a
//! server that speaks before its client, and loses answers to datagrams from the host itself.

mod pair;
mod session;
mod table;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use net::{Forward, Protocol};
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use sandbox::Context;
use sandbox::clone::{Attendant, Cloned, Namespaces, clone, enter};

use crate::FAILURE;
use crate::error::Error;

/// A port of the host, and where it leads in the pod.
struct Port {
    socket: OwnedFd,
    protocol: Protocol,
    to: SocketAddr,
}

/// Passes on what arrives at the sockets, which are the ports' on the host, to the pod's address
/// `pod` in its network namespace.
pub(crate) fn start(
    namespace: &OwnedFd,
    pod: IpAddr,
    ports: Vec<(Forward, OwnedFd)>,
) -> Result<Attendant, Error> {
    let ports = ports.into_iter().map(|(forward, socket)| Port {
        socket,
        protocol: forward.from.protocol,
        to: SocketAddr::new(pod, forward.pod_port),
    });
    let ports: Vec<Port> = ports.collect();
    let parent = getpid();
    // SAFETY: this process has one thread.
    match unsafe { clone(Namespaces::empty(), None) }.context("start", "the relay of ports")? {
        Cloned::Parent(child) => Ok(child.into()),
        Cloned::Child => {
            if let Err(error) = serve(namespace, ports, parent) {
                eprintln!("rkt: ports of the pod are not passed on any more: {error}");
            }
            sandbox::exec::exit_now(FAILURE)
        }
    }
}

fn serve(namespace: &OwnedFd, ports: Vec<Port>, parent: Pid) -> Result<(), sandbox::Error> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("set", "the parent death signal")?;
    if getppid() != Some(parent) {
        return Ok(());
    }
    enter(namespace.as_fd(), Namespaces::NET).context("enter", "the pod's network")?;
    let served = table::Table::new(ports).and_then(table::Table::run);
    served
        .map(|never| match never {})
        .context("pass on", "ports")
}
