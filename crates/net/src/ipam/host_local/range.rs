//! The addresses that may be given out.

use std::net::IpAddr;

use crate::cidr::{Cidr, from_bits, to_bits};
use crate::config::Fields;
use crate::error::Result;

/// A run of addresses of one subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) subnet: Cidr,
    pub(crate) first: IpAddr,
    pub(crate) last: IpAddr,
    pub(crate) gateway: IpAddr,
}

impl Range {
    /// Reads `subnet`, `rangeStart`, `rangeEnd` and `gateway`.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self> {
        let Some(subnet) = fields.cidr("subnet")? else {
            return Err(fields.error("subnet", "is missing"));
        };
        if subnet != subnet.network() {
            let problem = format!(
                "{subnet} has host bits set; the subnet is {}",
                subnet.network()
            );
            return Err(fields.error("subnet", problem));
        }
        if subnet.prefix > subnet.width() - 2 {
            return Err(fields.error("subnet", format!("{subnet} is too small to allocate from")));
        }
        let v4 = subnet.addr.is_ipv4();
        let base = to_bits(subnet.addr);
        let gateway = fields.addr("gateway")?;
        if gateway.is_some_and(|gateway| gateway.is_ipv4() != v4) {
            return Err(fields.error("gateway", format!("is not of the family of {subnet}")));
        }
        let inside = |field: &str, default: u128| -> Result<IpAddr> {
            match fields.addr(field)? {
                None => Ok(from_bits(default, v4)),
                Some(addr) if subnet.contains(addr) => Ok(addr),
                Some(addr) => Err(fields.error(field, format!("{addr} is not in {subnet}"))),
            }
        };
        // IPv4's last address is the broadcast address.
        let end = to_bits(subnet.last()) - u128::from(v4);
        let first = inside("rangeStart", base + 1)?;
        let last = inside("rangeEnd", end)?;
        if to_bits(first) > to_bits(last) {
            return Err(fields.error("rangeStart", format!("{first} is after {last}")));
        }
        Ok(Self {
            subnet,
            first,
            last,
            gateway: gateway.unwrap_or_else(|| from_bits(base + 1, v4)),
        })
    }

    pub(crate) fn contains(&self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.first.is_ipv4()
            && (to_bits(self.first)..=to_bits(self.last)).contains(&to_bits(addr))
    }

    /// How many addresses, the gateway among them if it is in the range.
    fn len(&self) -> u128 {
        (to_bits(self.last) - to_bits(self.first)).saturating_add(1)
    }
}

/// Ranges of which a pod gets one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RangeSet(pub(crate) Vec<Range>);

impl RangeSet {
    pub(crate) fn range_of(&self, addr: IpAddr) -> Option<&Range> {
        self.0.iter().find(|range| range.contains(addr))
    }

    /// Whether two of its ranges share an address, or are of different families.
    pub(crate) fn conflict(&self) -> Option<(Range, Range)> {
        let pairs = self.0.iter().enumerate();
        let mut pairs = pairs.flat_map(|(i, a)| self.0.iter().skip(i + 1).map(move |b| (*a, *b)));
        pairs.find(|(a, b)| {
            a.first.is_ipv4() != b.first.is_ipv4()
                || to_bits(a.first) <= to_bits(b.last) && to_bits(b.first) <= to_bits(a.last)
        })
    }

    /// All addresses once, beginning after `last` (or at the start), gateways left out.
    pub(crate) fn after(&self, last: Option<IpAddr>) -> impl Iterator<Item = (IpAddr, &Range)> {
        let found = last.and_then(|last| {
            let at = self.0.iter().position(|range| range.contains(last))?;
            Some((at, last))
        });
        let (start, skipped) = match found {
            Some((at, last)) => (
                at,
                to_bits(last) - to_bits(self.0.get(at).map_or(last, |r| r.first)) + 1,
            ),
            None => (0, 0),
        };
        // The starting range's tail, the other ranges in a circle, the starting range's head.
        let count = self.0.len();
        (0..=count)
            .flat_map(move |turn| {
                let range = self.0.get((start + turn) % count.max(1));
                let (from, to) = match (turn, range) {
                    (_, None) => (0, 0),
                    (0, Some(range)) => (skipped, range.len()),
                    (turn, Some(_)) if turn == count => (0, skipped),
                    (_, Some(range)) => (0, range.len()),
                };
                range.into_iter().flat_map(move |range| {
                    (from..to).map(move |offset| {
                        let bits = to_bits(range.first).saturating_add(offset);
                        (from_bits(bits, range.first.is_ipv4()), range)
                    })
                })
            })
            .filter(|(addr, range)| *addr != range.gateway)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn range(value: serde_json::Value) -> Result<Range> {
        let map = value.as_object().unwrap().clone();
        Range::parse(&Fields::new(std::path::Path::new("t.conf"), "ipam", &map))
    }

    fn order(set: &RangeSet, last: Option<&str>) -> Vec<String> {
        let last = last.map(|text| text.parse().unwrap());
        set.after(last).map(|(addr, _)| addr.to_string()).collect()
    }

    #[test]
    fn defaults_and_the_circle() {
        let a = range(json!({"subnet": "10.0.0.0/29"})).unwrap();
        assert_eq!(
            (a.first.to_string(), a.last.to_string()),
            ("10.0.0.1".into(), "10.0.0.6".into())
        );
        let b = range(
            json!({"subnet": "10.9.0.0/24", "rangeStart": "10.9.0.7", "rangeEnd": "10.9.0.8"}),
        );
        let set = RangeSet(vec![a, b.unwrap()]);
        let all = [
            "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.9.0.7", "10.9.0.8",
        ];
        assert_eq!(order(&set, None), all);
        assert_eq!(order(&set, Some("192.168.0.1")), all);
        let mut turned = all.to_vec();
        turned.rotate_left(3);
        assert_eq!(order(&set, Some("10.0.0.4")), turned);
        turned.rotate_left(3);
        assert_eq!(order(&set, Some("10.9.0.7")), turned);
        assert_eq!(order(&set, Some("10.9.0.8")), all);
        assert_eq!(set.conflict(), None);
    }

    #[test]
    fn huge_subnets_are_walked_lazily() {
        let v6 = RangeSet(vec![range(json!({"subnet": "::/0"})).unwrap()]);
        assert_eq!(v6.after(None).next().unwrap().0.to_string(), "::2");
        let v6 = RangeSet(vec![range(json!({"subnet": "2001:db8::/64"})).unwrap()]);
        let last = "2001:db8::ffff:ffff:ffff:ffff".parse().unwrap();
        assert_eq!(
            v6.after(Some(last)).next().unwrap().0.to_string(),
            "2001:db8::2"
        );
    }

    #[test]
    fn bad_ranges_name_the_field() {
        for (value, field) in [
            (json!({}), "ipam.subnet"),
            (json!({"subnet": "10.0.0.1/24"}), "ipam.subnet"),
            (json!({"subnet": "10.0.0.0/31"}), "ipam.subnet"),
            (
                json!({"subnet": "10.0.0.0/24", "rangeStart": "10.0.1.0"}),
                "ipam.rangeStart",
            ),
            (
                json!({"subnet": "10.0.0.0/24", "gateway": "::1"}),
                "ipam.gateway",
            ),
            (
                json!({"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.9", "rangeEnd": "10.0.0.8"}),
                "rangeStart",
            ),
        ] {
            let error = range(value).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
