//! An IP address with the length of its network's prefix.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// `172.16.28.2/24`: an address and its prefix length. The host part may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The address, host part included.
    pub addr: IpAddr,
    /// The prefix length in bits, at most 32 or 128.
    pub prefix: u8,
}

impl Cidr {
    /// An address alone: prefix 32 or 128.
    #[must_use]
    pub fn host(addr: IpAddr) -> Self {
        Self {
            addr,
            prefix: if addr.is_ipv4() { 32 } else { 128 },
        }
    }

    /// Bits in an address of this family.
    #[must_use]
    pub fn width(self) -> u8 {
        if self.addr.is_ipv4() { 32 } else { 128 }
    }

    /// The network: the same prefix with a zero host part.
    #[must_use]
    pub fn network(self) -> Self {
        let bits = to_bits(self.addr) & self.mask_bits();
        Self {
            addr: from_bits(bits, self.addr.is_ipv4()),
            prefix: self.prefix,
        }
    }

    /// The last address of the network (IPv4's broadcast address).
    #[must_use]
    pub fn last(self) -> IpAddr {
        let host = !self.mask_bits() & width_mask(self.width());
        from_bits(to_bits(self.addr) | host, self.addr.is_ipv4())
    }

    /// Whether `addr` is of the same family and inside the network.
    #[must_use]
    pub fn contains(self, addr: IpAddr) -> bool {
        self.addr.is_ipv4() == addr.is_ipv4()
            && to_bits(addr) & self.mask_bits() == to_bits(self.addr) & self.mask_bits()
    }

    /// Whether the two networks share an address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network().addr) || other.contains(self.network().addr)
    }

    /// The netmask as an address, `255.255.255.0`.
    #[must_use]
    pub fn mask(self) -> IpAddr {
        from_bits(self.mask_bits(), self.addr.is_ipv4())
    }

    fn mask_bits(self) -> u128 {
        let width = self.width();
        let host = u32::from(width.saturating_sub(self.prefix));
        width_mask(width) & !(1_u128.checked_shl(host).map_or(u128::MAX, |bit| bit - 1))
    }
}

fn width_mask(width: u8) -> u128 {
    if width == 32 {
        u128::from(u32::MAX)
    } else {
        u128::MAX
    }
}

/// The address as a number.
pub(crate) fn to_bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address of a number; an IPv4 number is cut to 32 bits.
pub(crate) fn from_bits(bits: u128, v4: bool) -> IpAddr {
    if v4 {
        let low = u32::try_from(bits & u128::from(u32::MAX)).unwrap_or(u32::MAX);
        IpAddr::V4(Ipv4Addr::from(low))
    } else {
        IpAddr::V6(Ipv6Addr::from(bits))
    }
}

/// The bytes of an address in network order.
pub(crate) fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (addr, prefix) = text
            .split_once('/')
            .ok_or("no prefix length; write it as 10.1.0.0/16")?;
        // The documents themselves write the IPv6 default route as `::0/0`; std reads that.
        let addr: IpAddr = addr
            .parse()
            .map_err(|_| "not an IP address before the slash")?;
        let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix: u8 = match prefix.parse() {
            Ok(prefix) if digits => prefix,
            _ => return Err("the prefix length is not a number"),
        };
        let cidr = Self { addr, prefix };
        if prefix > cidr.width() {
            return Err("the prefix is longer than the address");
        }
        Ok(cidr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_masks_and_limits() {
        assert_eq!(cidr("172.16.28.9/24").network(), cidr("172.16.28.0/24"));
        assert_eq!(cidr("172.16.28.9/24").mask().to_string(), "255.255.255.0");
        assert_eq!(cidr("172.16.28.9/24").last().to_string(), "172.16.28.255");
        assert_eq!(cidr("0.0.0.0/0").mask().to_string(), "0.0.0.0");
        assert_eq!(
            cidr("::0/0").last().to_string(),
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        );
        assert_eq!(
            cidr("2001:db8::5/64").network().to_string(),
            "2001:db8::/64"
        );
        assert!(cidr("10.0.0.0/8").contains("10.255.0.1".parse().unwrap()));
        assert!(!cidr("10.0.0.0/8").contains("::a00:1".parse().unwrap()));
        assert!(cidr("10.0.0.0/8").overlaps(cidr("10.9.0.0/16")));
        assert!(!cidr("10.0.0.0/16").overlaps(cidr("10.9.0.0/16")));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "10.0.0.1",
            "10.0.0.1/33",
            "10.0.0.1/+8",
            "10.0.0/8",
            "::1/129",
            "/",
            "1.2.3.4/",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}
