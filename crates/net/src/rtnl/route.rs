//! Addresses and routes.

use std::net::IpAddr;

use super::{Changes, Rtnl, kernel};
use crate::cidr::{Cidr, from_bits, octets};
use crate::error::Result;
use crate::netlink::{find, find_u32, flag};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_TABLE: u16 = 15;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

const RT_TABLE_MAIN: u32 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
pub(crate) const SCOPE_UNIVERSE: u8 = 0;
pub(crate) const SCOPE_LINK: u8 = 253;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// A route to add.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouteSpec {
    pub(crate) dst: Cidr,
    pub(crate) via: Option<IpAddr>,
    pub(crate) source: Option<IpAddr>,
    /// The link's index.
    pub(crate) link: u32,
    pub(crate) mtu: Option<u32>,
    pub(crate) advmss: Option<u32>,
    pub(crate) priority: Option<u32>,
    pub(crate) table: Option<u32>,
    pub(crate) scope: Option<u8>,
}

impl RouteSpec {
    /// A plain route to `dst` over a link.
    pub(crate) fn new(dst: Cidr, link: u32) -> Self {
        Self {
            dst,
            link,
            via: None,
            source: None,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        }
    }

    pub(crate) fn via(self, gateway: IpAddr) -> Self {
        Self {
            via: Some(gateway),
            ..self
        }
    }

    pub(crate) fn from(self, source: IpAddr) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }
}

fn family(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn address_header(address: Cidr, link: u32) -> [u8; 8] {
    let [a, b, c, d] = link.to_ne_bytes();
    [
        family(address.addr),
        address.prefix,
        0,
        SCOPE_UNIVERSE,
        a,
        b,
        c,
        d,
    ]
}

impl Changes {
    /// Adds an address, usable at once (no duplicate address detection). `prefix_route`: with the
    /// route to its network that an address brings by default.
    pub(crate) fn address(&mut self, link: u32, address: Cidr, prefix_route: bool) -> &mut Self {
        let what = || format!("add address {address} to network interface {link}");
        let flags = flag::CREATE | flag::EXCL;
        self.add(
            what,
            RTM_NEWADDR,
            flags,
            &address_header(address, link),
            |m| {
                let bytes = octets(address.addr);
                m.attr(IFA_LOCAL, &bytes).attr(IFA_ADDRESS, &bytes);
                if address.addr.is_ipv4() && address.prefix < 31 && prefix_route {
                    m.attr(IFA_BROADCAST, &octets(address.last()));
                }
                let mut flags = if prefix_route { 0 } else { IFA_F_NOPREFIXROUTE };
                if address.addr.is_ipv6() {
                    flags |= IFA_F_NODAD;
                }
                m.u32(IFA_FLAGS, flags);
            },
        )
    }

    /// Removes an address.
    pub(crate) fn delete_address(&mut self, link: u32, address: Cidr) -> &mut Self {
        let what = || format!("remove address {address} from network interface {link}");
        self.add(what, RTM_DELADDR, 0, &address_header(address, link), |m| {
            m.attr(IFA_LOCAL, &octets(address.addr));
        })
    }

    /// Adds a route, or replaces one to the same destination.
    pub(crate) fn route(&mut self, route: &RouteSpec) -> &mut Self {
        self.add_route(route, flag::REPLACE)
    }

    /// Adds a route; `EEXIST` if there is one to the same destination.
    pub(crate) fn new_route(&mut self, route: &RouteSpec) -> &mut Self {
        self.add_route(route, flag::EXCL)
    }

    fn add_route(&mut self, route: &RouteSpec, how: u16) -> &mut Self {
        let what = || match route.via {
            Some(via) => format!("add route to {} via {via}", route.dst),
            None => format!(
                "add route to {} over network interface {}",
                route.dst, route.link
            ),
        };
        let flags = flag::CREATE | how;
        self.add(what, RTM_NEWROUTE, flags, &route_header(route), |m| {
            route_attrs(m, route)
        })
    }
}

fn route_header(route: &RouteSpec) -> [u8; 12] {
    let default = if route.via.is_none() {
        SCOPE_LINK
    } else {
        SCOPE_UNIVERSE
    };
    // IPv6 knows no scopes of routes.
    let scope = if route.dst.addr.is_ipv6() {
        0
    } else {
        route.scope.unwrap_or(default)
    };
    let table = u8::try_from(route.table.unwrap_or(RT_TABLE_MAIN)).unwrap_or_default();
    let family = family(route.dst.addr);
    [
        family,
        route.dst.prefix,
        0,
        0,
        table,
        RTPROT_BOOT,
        scope,
        RTN_UNICAST,
        0,
        0,
        0,
        0,
    ]
}

fn route_attrs(m: &mut crate::netlink::Batch, route: &RouteSpec) {
    if route.dst.prefix > 0 {
        m.attr(RTA_DST, &octets(route.dst.network().addr));
    }
    if let Some(via) = route.via {
        m.attr(RTA_GATEWAY, &octets(via));
    }
    if let Some(source) = route.source {
        m.attr(RTA_PREFSRC, &octets(source));
    }
    m.u32(RTA_OIF, route.link);
    if let Some(priority) = route.priority {
        m.u32(RTA_PRIORITY, priority);
    }
    if let Some(table) = route.table {
        m.u32(RTA_TABLE, table);
    }
    if route.mtu.is_some() || route.advmss.is_some() {
        m.nest(RTA_METRICS, |m| {
            if let Some(mtu) = route.mtu {
                m.u32(RTAX_MTU, mtu);
            }
            if let Some(advmss) = route.advmss {
                m.u32(RTAX_ADVMSS, advmss);
            }
        });
    }
}

impl Rtnl {
    /// All addresses, as (link, address).
    pub(crate) fn addresses(&mut self) -> Result<Vec<(u32, Cidr)>> {
        self.socket
            .dump(
                |batch| {
                    batch.message(RTM_GETADDR, flag::DUMP, &[0; 8], |_| {});
                },
                parse_address,
            )
            .map_err(kernel("list addresses"))
    }

    /// The links that have a default route, IPv4's first, each with the lowest metric first.
    pub(crate) fn default_route_links(&mut self) -> Result<Vec<u32>> {
        let mut routes = self
            .socket
            .dump(
                |batch| {
                    batch.message(RTM_GETROUTE, flag::DUMP, &[0; 12], |_| {});
                },
                |body| {
                    let (fixed, attrs) = body.split_first_chunk::<12>()?;
                    let [family, prefix, _, _, table, ..] = *fixed;
                    let default = prefix == 0 && u32::from(table) == RT_TABLE_MAIN;
                    let link = find_u32(attrs, RTA_OIF)?;
                    let metric = find_u32(attrs, RTA_PRIORITY).unwrap_or_default();
                    default.then_some((family, metric, link))
                },
            )
            .map_err(kernel("list routes"))?;
        routes.sort_unstable();
        Ok(routes.into_iter().map(|(_, _, link)| link).collect())
    }

    /// Whether there is a route to exactly `dst` over `link` in the main table.
    pub(crate) fn has_route(&mut self, dst: Cidr, link: u32) -> Result<bool> {
        let wanted = dst.network();
        let found = self
            .socket
            .dump(
                |batch| {
                    batch.message(
                        RTM_GETROUTE,
                        flag::DUMP,
                        &{
                            let mut head = [0; 12];
                            head[0] = family(dst.addr);
                            head
                        },
                        |_| {},
                    );
                },
                |body| {
                    let (fixed, attrs) = body.split_first_chunk::<12>()?;
                    let [family_, prefix, ..] = *fixed;
                    let same_link = find_u32(attrs, RTA_OIF) == Some(link);
                    let zero = from_bits(0, dst.addr.is_ipv4());
                    let to = find(attrs, RTA_DST).and_then(ip).unwrap_or(zero);
                    (family_ == family(dst.addr)
                        && prefix == wanted.prefix
                        && same_link
                        && to == wanted.addr)
                        .then_some(())
                },
            )
            .map_err(kernel("list routes"))?;
        Ok(!found.is_empty())
    }
}

fn parse_address(body: &[u8]) -> Option<(u32, Cidr)> {
    let (fixed, attrs) = body.split_first_chunk::<8>()?;
    let [_, prefix, _, _, a, b, c, d] = *fixed;
    let addr = ip(find(attrs, IFA_LOCAL).or_else(|| find(attrs, IFA_ADDRESS))?)?;
    Some((u32::from_ne_bytes([a, b, c, d]), Cidr { addr, prefix }))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}
