//! Ports of the host that lead into a pod.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with};
use serde_json::{Value, json};

use crate::attachment::Attachment;
use crate::cni::CniResult;
use crate::error::{Error, Result};
use crate::nft::{self, Entry, HostPort, Protocol};

/// A forwarded port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where connections arrive.
    pub from: HostPort,
    /// The port in the pod.
    pub pod_port: u16,
}

impl Forward {
    /// CNI's object for the `portMappings` capability.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "hostPort": self.from.port,
            "containerPort": self.pod_port,
            "protocol": self.from.protocol.name(),
        });
        if let (Some(addr), Some(map)) = (self.from.addr, value.as_object_mut()) {
            map.insert("hostIP".to_owned(), json!(addr.to_string()));
        }
        value
    }

    /// Reads CNI's object.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let port = |field: &str| u16::try_from(value.get(field)?.as_u64()?).ok();
        let protocol = value
            .get("protocol")
            .and_then(Value::as_str)
            .unwrap_or("tcp");
        let addr = match value.get("hostIP").and_then(Value::as_str) {
            None | Some("") => None,
            Some(text) => Some(text.parse::<IpAddr>().ok()?).filter(|addr| !addr.is_unspecified()),
        };
        Some(Self {
            from: HostPort {
                protocol: Protocol::parse(protocol)?,
                addr,
                port: port("hostPort").filter(|port| *port != 0)?,
            },
            pod_port: port("containerPort").filter(|port| *port != 0)?,
        })
    }
}

/// Entries of the firewall for the forwards: to each, the pod's first address of its family.
fn entries(forwards: &[Forward], result: &CniResult) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut families: Vec<bool> = Vec::new();
    for ip in &result.ips {
        let addr = ip.address.addr;
        if families.contains(&addr.is_ipv4()) {
            continue;
        }
        families.push(addr.is_ipv4());
        let mut any = false;
        for forward in forwards {
            if forward
                .from
                .addr
                .is_none_or(|host| host.is_ipv4() == addr.is_ipv4())
            {
                any = true;
                entries.push(Entry::Forward {
                    from: forward.from,
                    to: addr,
                    port: forward.pod_port,
                });
            }
        }
        if any {
            entries.push(Entry::Back { pod: ip.address });
        }
    }
    entries
}

/// Forwards the ports to the addresses in `result`.
pub(crate) fn set_up(
    at: &mut Attachment<'_>,
    forwards: &[Forward],
    result: &CniResult,
) -> Result<()> {
    let entries = entries(forwards, result);
    if entries.is_empty() {
        return Ok(());
    }
    crate::kind::forward(result)?;
    // From this host's loopback into the pod: the way out must not refuse such sources.
    let outward = result
        .interfaces
        .iter()
        .find(|interface| interface.sandbox.is_empty());
    let v4 = result.ips.iter().any(|ip| ip.address.addr.is_ipv4());
    if let (Some(interface), true) = (outward, v4) {
        crate::sysctl::set(&route_localnet(&interface.name), "1")?;
    }
    let owner = at.owner();
    let ports: Vec<HostPort> = forwards.iter().map(|forward| forward.from).collect();
    at.firewall()?
        .add(&entries, &owner)
        .map_err(|error| nft::explain(error, &ports))
}

/// Takes the forwarding away.
pub(crate) fn tear_down(
    at: &mut Attachment<'_>,
    forwards: &[Forward],
    result: Option<&CniResult>,
) -> Result<()> {
    let entries = match result {
        Some(result) if !forwards.is_empty() => entries(forwards, result),
        _ => {
            let owner = at.owner();
            let mut owned = at.firewall()?.owned(|other| other == owner)?;
            owned.retain(|entry| !matches!(entry, Entry::Masquerade { .. }));
            owned
        }
    };
    if entries.is_empty() {
        return Ok(());
    }
    at.firewall()?.remove(&entries)?;
    // An interface that other pods share (a bridge) keeps the parameter while they need it.
    let outward = result.and_then(|r| r.interfaces.iter().find(|i| i.sandbox.is_empty()));
    if let Some(interface) = outward
        && at
            .firewall()?
            .owned(|_| true)?
            .iter()
            .all(|e| !matches!(e, Entry::Back { .. }))
        && std::path::Path::new(&route_localnet(&interface.name)).exists()
    {
        crate::sysctl::set(&route_localnet(&interface.name), "0")?;
    }
    Ok(())
}

/// Checks that the kernel forwards the ports.
pub(crate) fn check(
    at: &mut Attachment<'_>,
    forwards: &[Forward],
    result: &CniResult,
) -> Result<()> {
    let owner = at.owner();
    let present = at.firewall()?.owned(|other| other == owner)?;
    for entry in entries(forwards, result) {
        if let (Entry::Forward { from, .. }, false) = (entry, present.contains(&entry)) {
            return Err(at.error("portmap", format!("{from} is not forwarded any more")));
        }
    }
    Ok(())
}

fn route_localnet(interface: &str) -> String {
    format!("/proc/sys/net/ipv4/conf/{interface}/route_localnet")
}

/// Takes the host's ports by binding a socket to each, without listening: whoever has one
/// already is found out before the pod starts, and while the pod runs nobody else can take it,
/// to be then wondering why nothing arrives.
///
/// # Errors
/// [`Error::Port`] with the first port that is in use.
pub(crate) fn reserve(forwards: &[Forward]) -> Result<Vec<OwnedFd>> {
    let sockets = bound(forwards, false)?;
    Ok(sockets.into_iter().map(|(_, socket)| socket).collect())
}

/// Sockets at the host's ports for who listens at them itself; each with what it is for.
///
/// # Errors
/// As [`reserve`].
pub fn bind_ports(forwards: &[Forward]) -> Result<Vec<(Forward, OwnedFd)>> {
    bound(forwards, true)
}

fn bound(forwards: &[Forward], again: bool) -> Result<Vec<(Forward, OwnedFd)>> {
    let mut sockets = Vec::new();
    for forward in forwards {
        let from = forward.from;
        let any: [IpAddr; 2] = [[0; 4].into(), [0; 16].into()];
        let addrs = from.addr.map_or_else(|| any.to_vec(), |addr| vec![addr]);
        for addr in addrs {
            match bind_one(from, addr, again) {
                Ok(socket) => sockets.extend(socket.map(|socket| (*forward, socket))),
                Err(errno) => {
                    let problem = match errno {
                        Errno::ADDRINUSE => "in use on this host".to_owned(),
                        Errno::ADDRNOTAVAIL => "not an address of this host".to_owned(),
                        Errno::ACCESS => "it is root's: take one from 1024 on".to_owned(),
                        errno => std::io::Error::from(errno).to_string(),
                    };
                    return Err(Error::Port {
                        port: from.to_string(),
                        problem,
                    });
                }
            }
        }
    }
    Ok(sockets)
}

/// A bound socket, where ports that were listened at are to be had `again` at once; `None` where the
/// kernel has no such protocol to be in anybody's use.
fn bind_one(from: HostPort, addr: IpAddr, again: bool) -> Result<Option<OwnedFd>, Errno> {
    let family = if addr.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let (kind, protocol) = match from.protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = match socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol)) {
        Err(Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT) => return Ok(None),
        socket => socket?,
    };
    if addr.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if again && from.protocol != Protocol::Udp {
        // Connections that ended not long ago do not keep the port.
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    match bind(&socket, &std::net::SocketAddr::new(addr, from.port)) {
        Ok(()) => Ok(Some(socket)),
        // IPv6 may be switched off.
        Err(Errno::ADDRNOTAVAIL) if from.addr.is_none() => Ok(None),
        Err(errno) => Err(errno),
    }
}
