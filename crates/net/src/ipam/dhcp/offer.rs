//! What a server gives: address, routes, name servers, and for how long.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::message::{Message, option};
use crate::cidr::Cidr;
use crate::cni::{CniResult, Dns, IpConfig, Route};

/// Routes and name servers that are taken from a server.
const MOST: usize = 64;

/// Where a server says nothing.
const USUAL_LEASE: u32 = 3600;

/// A lease's times, from when it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// When the server is asked to renew it.
    pub(super) renew: Duration,
    /// When any server is.
    pub(super) rebind: Duration,
    /// When it ends; `None` for never.
    pub(super) end: Option<Duration>,
}

impl Times {
    /// Of a lease that nothing is known about: the server is asked at once.
    pub(super) const UNKNOWN: Self = Self {
        renew: Duration::ZERO,
        rebind: Duration::from_secs(30),
        end: Some(Duration::from_secs(60)),
    };

    /// The times in an acknowledgement, put into an order that makes sense.
    pub(super) fn of(message: &Message) -> Self {
        const FOREVER: u32 = u32::MAX;
        let lease = message
            .seconds(option::LEASE_TIME)
            .unwrap_or(USUAL_LEASE)
            .max(2);
        if lease == FOREVER {
            return Self {
                renew: Duration::MAX,
                rebind: Duration::MAX,
                end: None,
            };
        }
        let rebind = message
            .seconds(option::T2)
            .filter(|t2| (2..=lease).contains(t2));
        let rebind = rebind.unwrap_or(lease - lease / 8);
        let renew = message
            .seconds(option::T1)
            .filter(|t1| (1..=rebind).contains(t1));
        let renew = renew.unwrap_or((lease / 2).min(rebind));
        let seconds = |n: u32| Duration::from_secs(u64::from(n));
        Self {
            renew: seconds(renew),
            rebind: seconds(rebind),
            end: Some(seconds(lease)),
        }
    }
}

/// The address that is offered or given, with its network; `None` when it cannot be anybody's.
pub(super) fn address(message: &Message) -> Option<Cidr> {
    let addr = message.yours;
    if addr.is_unspecified() || addr.is_loopback() || addr.is_multicast() || addr.is_broadcast() {
        return None;
    }
    let mask = message.address(option::MASK).map(u32::from);
    let prefix = match mask {
        // A mask with holes is none.
        Some(mask) if mask.leading_ones() + mask.trailing_zeros() == 32 => mask.leading_ones(),
        Some(_) => return None,
        // What the first bits of an address meant before there were masks.
        None => match addr.octets()[0] {
            ..128 => 8,
            128..192 => 16,
            _ => 24,
        },
    };
    Some(Cidr {
        addr: addr.into(),
        prefix: u8::try_from(prefix).ok()?,
    })
}

/// What the pod gets.
pub(super) fn result(message: &Message, address: Cidr) -> CniResult {
    let routers = || {
        message
            .addresses(option::ROUTERS)
            .filter(|r| !r.is_unspecified())
    };
    let gateway = routers().next().map(IpAddr::from);
    CniResult {
        ips: vec![IpConfig {
            interface: None,
            address,
            gateway,
        }],
        routes: routes(message, gateway),
        dns: dns(message),
        ..CniResult::default()
    }
}

/// Classless routes go before all others (RFC 3442), else static ones and the router's.
fn routes(message: &Message, gateway: Option<IpAddr>) -> Vec<Route> {
    if let Some(value) = message.option(option::CLASSLESS_ROUTES)
        && let Some(routes) = classless(value)
    {
        return routes;
    }
    let pairs: Vec<Ipv4Addr> = message.addresses(option::STATIC_ROUTES).collect();
    let (pairs, _) = pairs.as_chunks::<2>();
    let hosts = pairs.iter().filter(|[to, _]| !to.is_unspecified());
    let mut routes: Vec<Route> = hosts
        .take(MOST)
        .map(|[to, via]| Route::new(Cidr::host((*to).into()), Some((*via).into())))
        .collect();
    let everything = Cidr {
        addr: Ipv4Addr::UNSPECIFIED.into(),
        prefix: 0,
    };
    routes.extend(gateway.map(|gateway| Route::new(everything, Some(gateway))));
    routes
}

/// Option 121; `None` if it is malformed.
fn classless(mut bytes: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let Some((&prefix, rest)) = bytes.split_first() {
        let (destination, rest) = rest.split_at_checked(usize::from(prefix).div_ceil(8))?;
        let mut addr = [0; 4];
        addr.get_mut(..destination.len())?
            .copy_from_slice(destination);
        let (via, rest) = rest.split_first_chunk::<4>()?;
        let dst = Cidr {
            addr: Ipv4Addr::from(addr).into(),
            prefix,
        };
        if prefix > 32 || routes.len() == MOST {
            return None;
        }
        let via = Ipv4Addr::from(*via);
        routes.push(match via.is_unspecified() {
            true => Route {
                scope: Some(crate::rtnl::SCOPE_LINK),
                ..Route::new(dst.network(), None)
            },
            false => Route::new(dst.network(), Some(via.into())),
        });
        bytes = rest;
    }
    Some(routes)
}

fn dns(message: &Message) -> Dns {
    let servers = message
        .addresses(option::DNS)
        .filter(|s| !s.is_unspecified());
    let domain = message.option(option::DOMAIN).unwrap_or_default();
    let domain = String::from_utf8_lossy(domain);
    Dns {
        nameservers: servers
            .take(MOST)
            .map(|server| server.to_string())
            .collect(),
        domain: domain.trim_end_matches('\0').to_owned(),
        search: names(message.option(option::SEARCH).unwrap_or_default()),
        options: Vec::new(),
    }
}

/// Domain names as DNS packs them, with references to earlier ones (RFC 3397).
fn names(bytes: &[u8]) -> Vec<String> {
    let (mut names, mut at) = (Vec::new(), 0);
    while at < bytes.len() && names.len() < MOST {
        let Some((name, next)) = name(bytes, at) else {
            break;
        };
        names.extend(Some(name).filter(|name| !name.is_empty()));
        at = next;
    }
    names
}

/// The name at `start`, and where the next one begins.
fn name(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    const LONGEST: usize = 253;
    let (mut text, mut at, mut next) = (String::new(), start, None);
    loop {
        let length = usize::from(*bytes.get(at)?);
        match length {
            0 => return Some((text, next.unwrap_or(at + 1))),
            1..64 => {
                let label = std::str::from_utf8(bytes.get(at + 1..at + 1 + length)?).ok()?;
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(label);
                at += 1 + length;
            }
            192.. => {
                next = next.or(Some(at + 2));
                let to = (length & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?);
                // Only backwards, so that it ends.
                if to >= at.min(start) {
                    return None;
                }
                at = to;
            }
            _ => return None,
        }
        if text.len() > LONGEST {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Kind;
    use super::*;

    fn ack() -> Message {
        let mut message = Message::new(Kind::Ack, 1, [2; 6]);
        message.yours = [10, 0, 0, 9].into();
        message
    }

    #[test]
    fn times_make_sense_whatever_the_server_says() {
        let seconds = |message: &Message| {
            let times = Times::of(message);
            (
                times.renew.as_secs(),
                times.rebind.as_secs(),
                times.end.map(|e| e.as_secs()),
            )
        };
        let lease = |n: u32| ack().with(option::LEASE_TIME, n.to_be_bytes());
        assert_eq!(seconds(&lease(800)), (400, 700, Some(800)));
        assert_eq!(seconds(&lease(0)), (1, 2, Some(2)));
        assert_eq!(seconds(&ack()), (1800, 3150, Some(3600)));
        let odd = lease(100)
            .with(option::T1, 99_u32.to_be_bytes())
            .with(option::T2, 50_u32.to_be_bytes());
        assert_eq!(seconds(&odd), (50, 50, Some(100)));
        let wild = lease(100).with(option::T2, 5000_u32.to_be_bytes());
        assert_eq!(seconds(&wild), (50, 88, Some(100)));
        assert_eq!(Times::of(&lease(u32::MAX)).end, None);
    }

    #[test]
    fn addresses_need_a_mask_that_is_one() {
        let masked = |mask: [u8; 4]| address(&ack().with(option::MASK, mask)).map(|a| a.prefix);
        assert_eq!(masked([255, 255, 252, 0]), Some(22));
        assert_eq!(masked([255, 0, 255, 0]), None);
        assert_eq!(address(&ack()).unwrap().prefix, 8);
        for bad in [[0; 4], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
            let mut message = ack();
            message.yours = bad.into();
            assert_eq!(address(&message), None);
        }
    }

    #[test]
    fn routes_and_names() {
        let address = "10.0.0.9/24".parse().unwrap();
        let plain = ack().with(option::ROUTERS, [10, 0, 0, 1]);
        let shown = |message: &Message| -> Vec<String> {
            let routes = result(message, address).routes.into_iter();
            routes
                .map(|r| format!("{} {:?}", r.dst, r.gw.map(|g| g.to_string())))
                .collect()
        };
        assert_eq!(shown(&plain), ["0.0.0.0/0 Some(\"10.0.0.1\")"]);
        let classless = [
            24, 192, 168, 7, 10, 0, 0, 2, 0, 10, 0, 0, 3, 32, 1, 2, 3, 4, 0, 0, 0, 0,
        ];
        let both = plain.clone().with(option::CLASSLESS_ROUTES, classless);
        assert_eq!(
            shown(&both),
            [
                "192.168.7.0/24 Some(\"10.0.0.2\")",
                "0.0.0.0/0 Some(\"10.0.0.3\")",
                "1.2.3.4/32 None"
            ]
        );
        let cut = plain.with(option::CLASSLESS_ROUTES, &classless[..5]);
        assert_eq!(shown(&cut), ["0.0.0.0/0 Some(\"10.0.0.1\")"]);
        let packed = b"\x03eng\x05apple\x03com\0\x09marketing\xc0\x04";
        assert_eq!(names(packed), ["eng.apple.com", "marketing.apple.com"]);
        assert_eq!(names(b"\xc0\x00"), Vec::<String>::new());
        assert_eq!(names(b"\x01a\xc0\x00\x01"), Vec::<String>::new());
        assert_eq!(names(b"\x05ab"), Vec::<String>::new());
    }
}
