//! `bridge`: a veth pair whose host end is a port of a bridge.

use rustix::io::Errno;

use super::Driver;
use super::common::{self, Common};
use crate::attachment::Attachment;
use crate::cidr::Cidr;
use crate::cni::CniResult;
use crate::config::Fields;
use crate::error::{Error, Result};
use crate::rtnl::{Changes, IFF_PROMISC, Link, LinkKind, NewLink, Vlan};

/// The group of links by which a bridge that was made for pods is known: "rkt".
const MADE_BY_US: u32 = 0x0072_6b74;

/// The documented default of `bridge`.
const NAME: &str = "rkt0";

/// The configuration.
#[derive(Debug)]
pub(super) struct Bridge {
    common: Common,
    name: String,
    is_gateway: bool,
    default_gateway: bool,
    force_address: bool,
    hairpin: bool,
    promiscuous: bool,
    isolated: bool,
    vlan: Option<u16>,
    trunk: Vec<Vlan>,
}

impl Bridge {
    pub(super) fn parse(fields: &Fields<'_>) -> Result<Self> {
        let name = fields
            .text("bridge")?
            .filter(|name| !name.is_empty())
            .unwrap_or(NAME);
        if name.len() > 15 || name.contains(['/', ' ']) || matches!(name, "." | "..") {
            return Err(fields.error("bridge", format!("{name:?} cannot be an interface's name")));
        }
        let default_gateway = fields.flag("isDefaultGateway")?;
        let hairpin = fields.flag("hairpinMode")?;
        let promiscuous = fields.flag("promiscMode")?;
        if hairpin && promiscuous {
            return Err(fields.error("promiscMode", "cannot be combined with hairpinMode"));
        }
        let vlan = fields
            .number("vlan", 4094)?
            .and_then(|vlan| vlan.try_into().ok());
        let trunk = trunk(fields)?;
        if vlan.is_some_and(|vlan: u16| vlan > 0) && !trunk.is_empty() {
            return Err(fields.error("vlanTrunk", "cannot be combined with vlan"));
        }
        Ok(Self {
            common: Common::parse(fields)?,
            name: name.to_owned(),
            is_gateway: fields.flag("isGateway")? || default_gateway,
            default_gateway,
            force_address: fields.flag("forceAddress")?,
            hairpin,
            promiscuous,
            isolated: fields.flag("portIsolation")?,
            vlan: vlan.filter(|vlan| *vlan > 0),
            trunk,
        })
    }

    /// The bridge, made if it is not there.
    fn bridge(&self, at: &mut Attachment<'_>) -> Result<Link> {
        let vlans = self.vlan.is_some() || !self.trunk.is_empty();
        let mut link = at.host()?.link(&self.name)?;
        if link.is_none() {
            let mut changes = Changes::new();
            let kind = LinkKind::Bridge {
                vlan_filtering: vlans,
            };
            let new = NewLink {
                name: &self.name,
                kind,
                mtu: self.common.mtu,
                mac: Some(own_mac(at)?),
                master: None,
                group: MADE_BY_US,
            };
            // Another pod may have made it in between.
            changes.new_link(&new).tolerating(Errno::EXIST);
            changes.read_link(&self.name);
            link = at.host()?.apply_and_read(changes)?.pop();
        }
        let link = link.ok_or_else(|| at.error("bridge", "the bridge cannot be seen"))?;
        if link.kind != "bridge" {
            let problem = format!("the interface {} is no bridge", self.name);
            return Err(at.error("bridge", problem));
        }
        if vlans && !link.vlan_filtering {
            let problem = format!(
                "the bridge {} does not look at VLANs (vlan_filtering is off)",
                self.name
            );
            return Err(at.error("bridge", problem));
        }
        let mut changes = Changes::new();
        if link.flags & crate::rtnl::IFF_UP == 0 {
            changes.link_up(link.index);
        }
        if self.promiscuous && link.flags & IFF_PROMISC == 0 {
            changes.link_flags(link.index, IFF_PROMISC, IFF_PROMISC);
        }
        at.host()?.apply(changes)?;
        Ok(link)
    }

    /// Makes the pair, the host's end a port of the bridge that is still down.
    fn pair(&self, at: &mut Attachment<'_>, bridge: &Link) -> Result<(Link, u32)> {
        let name = at.host_ifname();
        let peer_mac = at.wanted_mac()?;
        let (netns, ifname) = (at.need_netns()?, at.ifname);
        let mut changes = Changes::new();
        changes.new_link(&NewLink {
            name: &name,
            kind: LinkKind::Veth {
                peer: ifname,
                netns,
                peer_mac,
            },
            mtu: self.common.mtu,
            mac: None,
            master: Some(bridge.index),
            group: 0,
        });
        changes.read_link(&name);
        let found = at.host()?.apply_and_read(changes)?;
        let [host] = common::links(at, found)?;
        let peer = host
            .peer
            .ok_or_else(|| at.error("bridge", "the interface has no other end"))?;
        let mut changes = Changes::new();
        if self.hairpin || self.isolated {
            changes.bridge_port(host.index, self.hairpin, self.isolated);
        }
        if let Some(vlan) = self.vlan {
            // Port 1's default VLAN would let the untagged traffic of others in.
            changes.bridge_vlan(
                host.index,
                Vlan {
                    first: 1,
                    last: 1,
                    native: false,
                },
                false,
            );
            changes.bridge_vlan(
                host.index,
                Vlan {
                    first: vlan,
                    last: vlan,
                    native: true,
                },
                true,
            );
        }
        for vlan in &self.trunk {
            changes.bridge_vlan(host.index, *vlan, true);
        }
        at.host()?.apply(changes)?;
        Ok((host, peer))
    }

    /// Gives the bridge the gateways' addresses.
    fn gateway(&self, at: &mut Attachment<'_>, bridge: &Link, result: &CniResult) -> Result<()> {
        for ip in &result.ips {
            let Some(gateway) = ip.gateway else { continue };
            let wanted = Cidr {
                addr: gateway,
                prefix: ip.address.prefix,
            };
            let mut changes = Changes::new();
            changes.address(bridge.index, wanted, true);
            match at.host()?.apply(changes) {
                // The bridge's first pod: look whether it fits to what is there.
                Ok(()) => self.settle(at, bridge, wanted)?,
                Err(error) if error.errno() == Some(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
        common::forward(result)
    }

    /// Deals with other addresses of the bridge that are in the network of a new one.
    fn settle(&self, at: &mut Attachment<'_>, bridge: &Link, wanted: Cidr) -> Result<()> {
        let present = at.host()?.addresses()?;
        let elsewhere = present.iter().any(|(link, other)| {
            *link != bridge.index
                && other.prefix == wanted.prefix
                && other.network() == wanted.network()
        });
        if elsewhere {
            let problem = format!(
                "the network {} is on another interface already",
                wanted.network()
            );
            let mut changes = Changes::new();
            changes.delete_address(bridge.index, wanted);
            at.host()?.apply(changes)?;
            return Err(at.error("bridge", problem));
        }
        let present = present.into_iter();
        let overlaps = |other: &Cidr| {
            *other != wanted
                && other.addr.is_ipv4() == wanted.addr.is_ipv4()
                && other.overlaps(wanted)
        };
        let of_bridge = present
            .filter(|(link, _)| *link == bridge.index)
            .map(|(_, addr)| addr);
        let others: Vec<Cidr> = of_bridge.filter(overlaps).collect();
        let Some(other) = others.first() else {
            return Ok(());
        };
        let mut changes = Changes::new();
        if self.force_address {
            for other in &others {
                changes
                    .delete_address(bridge.index, *other)
                    .tolerating(Errno::ADDRNOTAVAIL);
            }
            // An address goes with the first of its network, which was the other.
            changes
                .address(bridge.index, wanted, true)
                .tolerating(Errno::EXIST);
            return at.host()?.apply(changes);
        }
        let problem = format!("the bridge {} has the address {other} already", self.name);
        changes.delete_address(bridge.index, wanted);
        at.host()?.apply(changes)?;
        Err(at.error("bridge", problem))
    }

    /// Without an address of its own the gateway is the first of the network.
    fn fill_gateways(&self, result: &mut CniResult) {
        for ip in &mut result.ips {
            if self.is_gateway && ip.gateway.is_none() {
                let network = ip.address.network().addr;
                let bits = crate::cidr::to_bits(network) + 1;
                ip.gateway = Some(crate::cidr::from_bits(bits, network.is_ipv4()));
            }
            if let (true, Some(gateway)) = (self.default_gateway, ip.gateway) {
                let zero = crate::cidr::from_bits(0, gateway.is_ipv4());
                let dst = Cidr {
                    addr: zero,
                    prefix: 0,
                };
                if !result.routes.iter().any(|route| route.dst == dst) {
                    result
                        .routes
                        .push(crate::cni::Route::new(dst, Some(gateway)));
                }
            }
        }
    }
}

/// `vlanTrunk`: entries with `id`, or `minID` and `maxID`.
fn trunk(fields: &Fields<'_>) -> Result<Vec<Vlan>> {
    let mut trunk = Vec::new();
    for entry in fields.objects("vlanTrunk")? {
        let id = |field: &str| -> Result<Option<u16>> {
            let id = entry.number(field, 4094)?.and_then(|id| id.try_into().ok());
            if id == Some(0) {
                Err(entry.error(field, "must be 1 to 4094"))
            } else {
                Ok(id)
            }
        };
        if let Some(id) = id("id")? {
            trunk.push(Vlan {
                first: id,
                last: id,
                native: false,
            });
        }
        match (id("minID")?, id("maxID")?) {
            (None, None) => {}
            (Some(first), Some(last)) if first <= last => {
                trunk.push(Vlan {
                    first,
                    last,
                    native: false,
                });
            }
            _ => return Err(entry.error("minID", "minID and maxID must be there both, in order")),
        }
    }
    Ok(trunk)
}

/// A bridge without an address of its own has its lowest port's, and changes it under its pods, and
/// looks at all ports anew, when that goes or a lower one comes.
fn own_mac(at: &Attachment<'_>) -> Result<[u8; 6]> {
    let mut mac = [0; 6];
    rustix::rand::getrandom(&mut mac, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| at.error("bridge", format!("cannot choose its address: {errno}")))?;
    // Locally administered, of one station.
    mac[0] = mac[0] & 0xfc | 0x02;
    Ok(mac)
}

/// Brings both ends of a pair up, the bridge's port last.
fn bring_up(at: &mut Attachment<'_>, host: &Link, peer: u32) -> Result<()> {
    let (mut in_pod, mut on_host) = (Changes::new(), Changes::new());
    in_pod.link_up(peer);
    at.pod()?.apply(in_pod)?;
    on_host.link_up(host.index);
    at.host()?.apply(on_host)
}

impl Driver for Bridge {
    fn set_up(&self, at: &mut Attachment<'_>, _previous: Option<CniResult>) -> Result<CniResult> {
        let early = match self.common.ipam.needs_link() {
            true => None,
            false => Some(self.common.allocate(at)?),
        };
        let mut bridge = self.bridge(at)?;
        let mut pair = self.pair(at, &bridge);
        // A collector may have removed the bridge, empty until now, in between.
        if pair.is_err()
            && at
                .host()?
                .link(&self.name)?
                .is_none_or(|l| l.index != bridge.index)
        {
            bridge = self.bridge(at)?;
            pair = self.pair(at, &bridge);
        }
        let (host, peer) = pair?;
        let mut result = match early {
            Some(result) => result,
            None => {
                bring_up(at, &host, peer)?;
                self.common.allocate(at)?
            }
        };
        self.fill_gateways(&mut result);
        if self.is_gateway {
            self.gateway(at, &bridge, &result)?;
        }
        let mut changes = Changes::new();
        if result.ips.iter().all(|ip| ip.address.addr.is_ipv4()) {
            // A kernel without IPv6 knows nothing of it.
            changes.no_link_local(peer).tolerating(Errno::AFNOSUPPORT);
        }
        changes.link_up(peer);
        common::addresses_and_routes(&mut changes, peer, &result);
        changes.read_link(at.ifname);
        let found = at.pod()?.apply_and_read(changes)?;
        let [pod] = common::links(at, found)?;
        self.common.masquerade(at, &result)?;
        let mut changes = Changes::new();
        // A port needs no address: the bridge has them.
        changes
            .no_link_local(host.index)
            .tolerating(Errno::AFNOSUPPORT);
        changes.link_up(host.index);
        // A bridge that others made may have got another address with this port.
        changes.read_link(&self.name);
        let found = at.host()?.apply_and_read(changes)?;
        let [bridge] = common::links(at, found)?;
        result.interfaces = vec![
            common::interface(&bridge, ""),
            common::interface(&host, ""),
            common::interface(&pod, at.netns_path),
        ];
        result.ips.iter_mut().for_each(|ip| ip.interface = Some(2));
        Ok(result)
    }

    fn check(&self, at: &mut Attachment<'_>, result: &CniResult) -> Result<()> {
        let bridge = at.host()?.need_link(&self.name)?;
        let name = at.host_ifname();
        if at.host()?.need_link(&name)?.master != Some(bridge.index) {
            return Err(at.error("bridge", format!("{name} is not a port of {}", self.name)));
        }
        common::check_pod(at, "bridge", result)
    }

    fn tear_down(&self, at: &mut Attachment<'_>, result: Option<&CniResult>) -> Vec<Error> {
        let late = self.common.release_late(at, |at| {
            let bridge = self.bridge(at)?;
            let (host, peer) = self.pair(at, &bridge)?;
            bring_up(at, &host, peer)
        });
        let mut errors: Vec<Error> = late.err().into_iter().collect();
        errors.extend(self.common.release(at, result));
        errors.extend(at.remove_host_end().err());
        errors
    }

    fn sweep(&self, at: &mut Attachment<'_>) -> Result<()> {
        let name = at.host_ifname();
        if at.host()?.link(&name)?.is_some() {
            at.host()?.delete_link(&name)?;
        }
        let Some(bridge) = at.host()?.link(&self.name)? else {
            return Ok(());
        };
        if bridge.group != MADE_BY_US || !at.host()?.links(Some(bridge.index))?.is_empty() {
            return Ok(());
        }
        at.host()?.delete_link(&self.name)
    }

    fn masquerades(&self) -> bool {
        self.common.ip_masq
    }
}
