//! Links: veth pairs, bridges, macvlan, ipvlan, ifb.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::{Changes, Rtnl, kernel};
use crate::error::Result;
use crate::netlink::{Attrs, Batch, find, find_str, flag};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_LINKINFO: u16 = 18;
const IFLA_GROUP: u16 = 27;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_PROTINFO: u16 = 12;

const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const BRIDGE_VLAN_INFO_PVID: u16 = 2;
const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 4;

const AF_BRIDGE: u8 = 7;

pub(crate) const IFF_UP: u32 = 0x1;
pub(crate) const IFF_PROMISC: u32 = 0x100;
pub(crate) const IFF_ALLMULTI: u32 = 0x200;

/// A link as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) flags: u32,
    pub(crate) name: String,
    /// `02:42:…`, where the link has such an address.
    pub(crate) mac: Option<String>,
    pub(crate) mtu: u32,
    /// The other end's, or lower link's, index (perhaps in another namespace).
    pub(crate) peer: Option<u32>,
    /// The bridge that it is a port of.
    pub(crate) master: Option<u32>,
    /// `veth`, `bridge`, `macvlan`…; empty for a device.
    pub(crate) kind: String,
    pub(crate) group: u32,
    /// On a bridge: whether it looks at VLAN tags.
    pub(crate) vlan_filtering: bool,
}

/// What kind of link to make.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinkKind<'a> {
    /// A pair of virtual Ethernet links, the other end in a namespace and still down.
    Veth {
        /// The other end's name.
        peer: &'a str,
        /// The other end's namespace.
        netns: BorrowedFd<'a>,
        /// The other end's address.
        peer_mac: Option<[u8; 6]>,
    },
    /// A bridge.
    Bridge {
        /// Whether it looks at VLAN tags.
        vlan_filtering: bool,
    },
    /// An Ethernet link with an address of its own on top of another, made in a namespace.
    Macvlan {
        master: u32,
        mode: u32,
        netns: BorrowedFd<'a>,
    },
    /// A link that shares the address of the one below, made in a namespace.
    Ipvlan {
        master: u32,
        mode: u16,
        netns: BorrowedFd<'a>,
    },
    /// A link for shaping what comes in.
    Ifb,
}

/// A link to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewLink<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: LinkKind<'a>,
    /// 0 for the default.
    pub(crate) mtu: u32,
    pub(crate) mac: Option<[u8; 6]>,
    /// The bridge to become a port of.
    pub(crate) master: Option<u32>,
    /// The group of links to be in: a mark that is there from the first moment.
    pub(crate) group: u32,
}

/// VLANs of a bridge's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vlan {
    pub(crate) first: u16,
    pub(crate) last: u16,
    /// Untagged frames belong to it, and leave untagged.
    pub(crate) native: bool,
}

impl Link {
    /// Reads the body of an `RTM_NEWLINK`.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let (header, attrs) = body.split_first_chunk::<16>()?;
        let [_, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *header;
        let mut link = Self {
            index: u32::from_ne_bytes([i0, i1, i2, i3]),
            flags: u32::from_ne_bytes([f0, f1, f2, f3]),
            name: find_str(attrs, IFLA_IFNAME)?.to_owned(),
            ..Self::default()
        };
        let number = |value: &[u8]| value.first_chunk().map(|b| u32::from_ne_bytes(*b));
        for (kind, value) in Attrs::new(attrs) {
            match kind {
                IFLA_ADDRESS => link.mac = mac_text(value),
                IFLA_MTU => link.mtu = number(value).unwrap_or_default(),
                IFLA_LINK => link.peer = number(value).filter(|index| *index != 0),
                IFLA_MASTER => link.master = number(value),
                IFLA_GROUP => link.group = number(value).unwrap_or_default(),
                IFLA_LINKINFO => {
                    link.kind = find_str(value, IFLA_INFO_KIND)
                        .unwrap_or_default()
                        .to_owned();
                    let data = find(value, IFLA_INFO_DATA).unwrap_or_default();
                    link.vlan_filtering = link.kind == "bridge"
                        && find(data, IFLA_BR_VLAN_FILTERING)
                            .is_some_and(|v| v.first() == Some(&1));
                }
                _ => {}
            }
        }
        Some(link)
    }
}

fn mac_text(value: &[u8]) -> Option<String> {
    let bytes: &[u8; 6] = value.try_into().ok()?;
    Some(crate::mac::text(*bytes))
}

fn header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

fn netns_attr(m: &mut Batch, netns: BorrowedFd<'_>) {
    m.attr(IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes());
}

impl Changes {
    /// Makes a link and brings it up, but not a port of a bridge: at each change of a port's state
    /// a bridge looks at all its ports, so that is brought up when its other end is.
    pub(crate) fn new_link(&mut self, new: &NewLink<'_>) -> &mut Self {
        let what = || format!("make network interface {:?}", new.name);
        let flags = flag::CREATE | flag::EXCL;
        let up = new.master.map_or(IFF_UP, |_| 0);
        self.add(what, RTM_NEWLINK, flags, &header(0, up, up), |m| {
            m.text(IFLA_IFNAME, new.name);
            if new.mtu != 0 {
                m.u32(IFLA_MTU, new.mtu);
            }
            if let Some(mac) = new.mac {
                m.attr(IFLA_ADDRESS, &mac);
            }
            if let Some(master) = new.master {
                m.u32(IFLA_MASTER, master);
            }
            if new.group != 0 {
                m.u32(IFLA_GROUP, new.group);
            }
            link_kind(m, new);
        })
    }

    /// Asks for a link; its description is among what [`Rtnl::apply_and_read`] returns.
    pub(crate) fn read_link(&mut self, name: &str) -> &mut Self {
        let what = || format!("look at network interface {name:?}");
        self.add(what, RTM_GETLINK, 0, &header(0, 0, 0), |m| {
            m.text(IFLA_IFNAME, name);
        })
    }

    /// Sets (`flags`) those of the flags in `mask`.
    pub(crate) fn link_flags(&mut self, index: u32, flags: u32, mask: u32) -> &mut Self {
        let what = || format!("set the flags of network interface {index}");
        self.add(what, RTM_SETLINK, 0, &header(index, flags, mask), |_| {})
    }

    /// No IPv6 address of its own accord: no multicast to every port of a bridge for it.
    pub(crate) fn no_link_local(&mut self, index: u32) -> &mut Self {
        const AF_INET6: u16 = 10;
        const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
        const NONE: u8 = 1;
        let what = || format!("keep network interface {index} without a link-local address");
        self.add(what, RTM_SETLINK, 0, &header(index, 0, 0), |m| {
            m.nest(IFLA_AF_SPEC, |m| {
                m.nest(AF_INET6, |m| {
                    m.attr(IFLA_INET6_ADDR_GEN_MODE, &[NONE]);
                });
            });
        })
    }

    pub(crate) fn link_up(&mut self, index: u32) -> &mut Self {
        self.link_flags(index, IFF_UP, IFF_UP)
    }

    pub(crate) fn link_mtu(&mut self, index: u32, mtu: u32) -> &mut Self {
        let what = || format!("set the MTU of network interface {index} to {mtu}");
        self.add(what, RTM_SETLINK, 0, &header(index, 0, 0), |m| {
            m.u32(IFLA_MTU, mtu);
        })
    }

    pub(crate) fn link_mac(&mut self, index: u32, mac: [u8; 6]) -> &mut Self {
        let what = || format!("set the hardware address of network interface {index}");
        self.add(what, RTM_SETLINK, 0, &header(index, 0, 0), |m| {
            m.attr(IFLA_ADDRESS, &mac);
        })
    }

    pub(crate) fn link_tx_queue(&mut self, index: u32, length: u32) -> &mut Self {
        let what = || format!("set the transmit queue of network interface {index}");
        self.add(what, RTM_SETLINK, 0, &header(index, 0, 0), |m| {
            m.u32(IFLA_TXQLEN, length);
        })
    }

    /// Hairpin mode and isolation of a bridge's port.
    pub(crate) fn bridge_port(&mut self, index: u32, hairpin: bool, isolated: bool) -> &mut Self {
        let what = || format!("set up bridge port {index}");
        let mut head = header(index, 0, 0);
        head[0] = AF_BRIDGE;
        self.add(what, RTM_SETLINK, 0, &head, |m| {
            m.nest(IFLA_PROTINFO | 0x8000, |m| {
                m.attr(IFLA_BRPORT_MODE, &[u8::from(hairpin)]);
                if isolated {
                    m.attr(IFLA_BRPORT_ISOLATED, &[1]);
                }
            });
        })
    }

    /// Adds VLANs to a bridge's port, or removes them.
    pub(crate) fn bridge_vlan(&mut self, index: u32, vlan: Vlan, add: bool) -> &mut Self {
        let what = || {
            format!(
                "set VLANs {}-{} on bridge port {index}",
                vlan.first, vlan.last
            )
        };
        let mut head = header(index, 0, 0);
        head[0] = AF_BRIDGE;
        let kind = if add { RTM_SETLINK } else { RTM_DELLINK };
        self.add(what, kind, 0, &head, |m| {
            m.nest(IFLA_AF_SPEC, |m| {
                for vid in vlan.first..=vlan.last {
                    let flags = if vlan.native {
                        BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED
                    } else {
                        0
                    };
                    let [a, b] = flags.to_ne_bytes();
                    let [c, d] = vid.to_ne_bytes();
                    m.attr(IFLA_BRIDGE_VLAN_INFO, &[a, b, c, d]);
                }
            });
        })
    }

    /// Removes a link by name.
    pub(crate) fn delete_link(&mut self, name: &str) -> &mut Self {
        let what = || format!("remove network interface {name:?}");
        self.add(what, RTM_DELLINK, 0, &header(0, 0, 0), |m| {
            m.text(IFLA_IFNAME, name);
        })
    }
}

fn link_kind(m: &mut Batch, new: &NewLink<'_>) {
    match new.kind {
        LinkKind::Veth {
            peer,
            netns,
            peer_mac,
        } => info(m, "veth", |m| {
            m.nest(VETH_INFO_PEER, |m| {
                // It cannot come up before its other end is there.
                m.raw(&header(0, 0, 0));
                m.text(IFLA_IFNAME, peer);
                netns_attr(m, netns);
                if new.mtu != 0 {
                    m.u32(IFLA_MTU, new.mtu);
                }
                if let Some(mac) = peer_mac {
                    m.attr(IFLA_ADDRESS, &mac);
                }
            });
        }),
        LinkKind::Bridge { vlan_filtering } => info(m, "bridge", |m| {
            if vlan_filtering {
                m.attr(IFLA_BR_VLAN_FILTERING, &[1]);
            }
        }),
        LinkKind::Macvlan {
            master,
            mode,
            netns,
        } => {
            m.u32(IFLA_LINK, master);
            netns_attr(m, netns);
            info(m, "macvlan", |m| {
                m.u32(1, mode);
            });
        }
        LinkKind::Ipvlan {
            master,
            mode,
            netns,
        } => {
            m.u32(IFLA_LINK, master);
            netns_attr(m, netns);
            info(m, "ipvlan", |m| {
                m.attr(1, &mode.to_ne_bytes());
            });
        }
        LinkKind::Ifb => info(m, "ifb", |_| {}),
    }
}

fn info(m: &mut Batch, kind: &str, data: impl FnOnce(&mut Batch)) {
    m.nest(IFLA_LINKINFO, |m| {
        m.text(IFLA_INFO_KIND, kind);
        m.nest(IFLA_INFO_DATA, data);
    });
}

impl Rtnl {
    /// The link of a name, if there is one.
    pub(crate) fn link(&mut self, name: &str) -> Result<Option<Link>> {
        let mut changes = Changes::new();
        changes.read_link(name).tolerating(Errno::NODEV);
        Ok(self.apply_and_read(changes)?.into_iter().next())
    }

    /// All links, or the ports of a bridge.
    pub(crate) fn links(&mut self, bridge: Option<u32>) -> Result<Vec<Link>> {
        let mut links = self
            .socket
            .dump(
                |batch| {
                    batch.message(RTM_GETLINK, flag::DUMP, &header(0, 0, 0), |m| {
                        if let Some(bridge) = bridge {
                            m.u32(IFLA_MASTER, bridge);
                        }
                    });
                },
                Link::parse,
            )
            .map_err(kernel("list network interfaces"))?;
        // Old kernels do not filter.
        links.retain(|link| bridge.is_none() || link.master == bridge);
        Ok(links)
    }

    /// Removes a link; one that is gone already is no error.
    pub(crate) fn delete_link(&mut self, name: &str) -> Result<()> {
        let mut changes = Changes::new();
        changes.delete_link(name).tolerating(Errno::NODEV);
        self.apply(changes)
    }

    /// The index of a link that must be there.
    pub(crate) fn need_link(&mut self, name: &str) -> Result<Link> {
        self.link(name)?
            .ok_or_else(|| kernel(format!("find network interface {name:?}"))(Errno::NODEV))
    }
}
