//! What the table knows about a pod: elements of its maps.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::expr::{JUMP, value, verdict};
use super::skeleton::{ISOLATED, Map, Role, maps};
use super::wire::{Transaction, Wire};
use super::{TABLE, version};
use crate::cidr::{Cidr, octets};
use crate::error::Result;
use crate::netlink::{Attrs, Batch, find, flag};
use crate::rtnl::kernel;

pub(super) const NEWSETELEM: u16 = 12;
const GETSETELEM: u16 = 13;
pub(super) const DELSETELEM: u16 = 14;

/// Elements in one message: an attribute holds 64 KiB.
const CHUNK: usize = 200;

/// A transport protocol whose ports can be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// Reads a name, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(text))
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// A port of the host, at one of its addresses or at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The address; `None` for all.
    pub addr: Option<IpAddr>,
    /// The number.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            Some(IpAddr::V6(addr)) => write!(f, "{} [{addr}]:{}", self.protocol.name(), self.port),
            Some(addr) => write!(f, "{} {addr}:{}", self.protocol.name(), self.port),
            None => write!(f, "{} {}", self.protocol.name(), self.port),
        }
    }
}

/// The name of a network interface, as the kernel compares it: filled up with zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ifname(pub(super) [u8; 16]);

impl Ifname {
    /// `None` for a name that no interface can have.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let all = bytes.len() - 1;
        bytes
            .get_mut(..all)?
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        Some(Self(bytes))
    }
}

impl fmt::Display for Ifname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = String::from_utf8_lossy(&self.0);
        f.write_str(name.trim_end_matches('\0'))
    }
}

/// One thing that the table does for a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Outside its subnet the pod speaks with the host's address.
    Masquerade { pod: Cidr },
    /// Forwarded connections to the pod come back through the host.
    Back { pod: Cidr },
    /// Pods on other bridges whose pods are isolated do not reach the pod.
    Isolated { pod: IpAddr, bridge: Ifname },
    /// A port of the host leads to a port of the pod.
    Forward {
        from: HostPort,
        to: IpAddr,
        port: u16,
    },
}

impl Entry {
    fn map(&self) -> Map {
        match self {
            Self::Masquerade { pod } => Map {
                version: version(pod.addr),
                role: Role::Masquerade,
            },
            Self::Back { pod } => Map {
                version: version(pod.addr),
                role: Role::Back,
            },
            Self::Isolated { pod, .. } => Map {
                version: version(*pod),
                role: Role::Isolated,
            },
            Self::Forward { from, to, .. } => {
                let role = if from.addr.is_some() {
                    Role::PortAt
                } else {
                    Role::Port
                };
                Map {
                    version: version(*to),
                    role,
                }
            }
        }
    }

    /// 4 or 6.
    pub(super) fn version(&self) -> u8 {
        self.map().version
    }

    /// The chain that the entry jumps to.
    pub(super) fn chain(&self) -> Option<String> {
        let (role, pod) = match self {
            Self::Masquerade { pod } => ("masq", pod),
            Self::Back { pod } => ("back", pod),
            Self::Isolated { bridge, .. } => return Some(format!("{ISOLATED}{bridge}")),
            Self::Forward { .. } => return None,
        };
        // Without colons, which nft's grammar does not allow in names.
        Some(format!("{role}-{}", pod.network()).replace(':', "_"))
    }

    fn key(&self) -> Vec<u8> {
        match self {
            Self::Masquerade { pod } | Self::Back { pod } => octets(pod.addr),
            Self::Isolated { pod, .. } => octets(*pod),
            Self::Forward { from, .. } => {
                let mut key = vec![from.protocol.number(), 0, 0, 0];
                if let Some(addr) = from.addr {
                    key.extend(octets(addr));
                }
                let [a, b] = from.port.to_be_bytes();
                key.extend([a, b, 0, 0]);
                key
            }
        }
    }

    fn data(&self, m: &mut Batch) {
        const NFTA_SET_ELEM_DATA: u16 = 2;
        match self {
            Self::Masquerade { .. } | Self::Back { .. } | Self::Isolated { .. } => {
                verdict(m, NFTA_SET_ELEM_DATA, JUMP, self.chain().as_deref());
            }
            Self::Forward { to, port, .. } => {
                let mut data = octets(*to);
                let [a, b] = port.to_be_bytes();
                data.extend([a, b, 0, 0]);
                value(m, NFTA_SET_ELEM_DATA, &data);
            }
        }
    }
}

/// Adds the elements; `EEXIST` if one is there, unless it is to be replaced.
pub(super) fn add(change: &mut Transaction, entries: &[Entry], owner: &str, replace: bool) {
    if replace {
        delete(change, entries);
    }
    by_map(entries, |map, chunk| {
        message(change, NEWSETELEM, flag::CREATE | flag::EXCL, map, |m| {
            for entry in chunk {
                m.nest(1, |m| {
                    value(m, 1, &entry.key());
                    entry.data(m);
                    m.attr(6, &comment(owner));
                });
            }
        });
    });
}

/// Removes the elements; `ENOENT` if one is not there.
pub(super) fn delete(change: &mut Transaction, entries: &[Entry]) {
    by_map(entries, |map, chunk| {
        message(change, DELSETELEM, 0, map, |m| {
            for entry in chunk {
                m.nest(1, |m| value(m, 1, &entry.key()));
            }
        });
    });
}

/// The elements of a map whose owner `is_owner` accepts.
pub(super) fn list(
    wire: &mut Wire,
    map: Map,
    is_owner: &impl Fn(&str) -> bool,
) -> Result<Vec<Entry>> {
    let request = |m: &mut Batch| {
        m.text(1, TABLE).text(2, map.name());
    };
    let messages = wire.dump(map.version, GETSETELEM, request, |attrs| {
        let elements = Attrs::new(find(attrs, 3)?);
        Some(
            elements
                .filter_map(|(_, e)| parse(map, e, is_owner))
                .collect::<Vec<_>>(),
        )
    });
    match messages {
        Ok(messages) => Ok(messages.into_iter().flatten().collect()),
        Err(rustix::io::Errno::NOENT) => Ok(Vec::new()),
        Err(errno) => Err(kernel("list netfilter rules of pods")(errno)),
    }
}

fn parse(map: Map, element: &[u8], is_owner: &impl Fn(&str) -> bool) -> Option<Entry> {
    let comment = find(element, 6)?;
    let length = usize::from(*comment.get(1)?);
    let owner = std::str::from_utf8(comment.get(2..2 + length)?)
        .ok()?
        .trim_end_matches('\0');
    if !is_owner(owner) {
        return None;
    }
    let key = find(find(element, 1)?, 1)?;
    let data = find(element, 2)?;
    let ip = |bytes: &[u8]| -> Option<IpAddr> {
        Some(match map.version {
            4 => Ipv4Addr::from(*bytes.first_chunk::<4>()?).into(),
            _ => Ipv6Addr::from(*bytes.first_chunk::<16>()?).into(),
        })
    };
    let ip_length = if map.version == 4 { 4 } else { 16 };
    if matches!(map.role, Role::Masquerade | Role::Back | Role::Isolated) {
        let chain = crate::netlink::find_str(find(data, 2)?, 2)?;
        if let Some(bridge) = chain.strip_prefix(ISOLATED) {
            return Some(Entry::Isolated {
                pod: ip(key)?,
                bridge: Ifname::new(bridge)?,
            });
        }
        let prefix = chain.rsplit_once('/')?.1.parse().ok()?;
        let pod = Cidr {
            addr: ip(key)?,
            prefix,
        };
        return Some(match map.role {
            Role::Masquerade => Entry::Masquerade { pod },
            _ => Entry::Back { pod },
        });
    }
    let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
        .into_iter()
        .find(|p| Some(&p.number()) == key.first())?;
    let at = map.role == Role::PortAt;
    let addr = if at { Some(ip(key.get(4..)?)?) } else { None };
    let port = u16::from_be_bytes(
        *key.get(if at { 4 + ip_length } else { 4 }..)?
            .first_chunk()?,
    );
    let to = find(data, 1)?;
    let to_port = u16::from_be_bytes(*to.get(ip_length..)?.first_chunk()?);
    Some(Entry::Forward {
        from: HostPort {
            protocol,
            addr,
            port,
        },
        to: ip(to)?,
        port: to_port,
    })
}

fn by_map(entries: &[Entry], mut each: impl FnMut(Map, &[&Entry])) {
    for map in maps() {
        let of_map: Vec<&Entry> = entries.iter().filter(|e| e.map() == map).collect();
        for chunk in of_map.chunks(CHUNK) {
            each(map, chunk);
        }
    }
}

fn message(
    change: &mut Transaction,
    kind: u16,
    flags: u16,
    map: Map,
    elements: impl FnOnce(&mut Batch),
) {
    change.turn_to(map.version);
    change.change(kind, flags, |m| {
        m.text(1, TABLE).text(2, map.name());
        m.nest(3, elements);
    });
}

/// User data in nft's format: a comment, which `nft list` shows.
fn comment(owner: &str) -> Vec<u8> {
    let mut end = owner.len().min(127);
    while !owner.is_char_boundary(end) {
        end -= 1;
    }
    let text = owner.get(..end).unwrap_or_default();
    let mut bytes = vec![0, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}
