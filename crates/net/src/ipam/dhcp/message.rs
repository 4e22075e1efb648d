//! DHCP messages (RFC 2131, 2132, 3396, 3397, 3442) in UDP/IPv4 packets, written and read.
//!
//! Written for this crate: a client needs eight kinds of message and a dozen options, the
//! libraries bring a DNS implementation along, and stage1 is to be small.

use std::net::Ipv4Addr;

/// `BOOTREQUEST`'s fixed part with the magic cookie.
const FIXED: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Ports of client and server.
pub(super) const CLIENT: u16 = 68;
const SERVER: u16 = 67;

/// Options.
pub(super) mod option {
    pub(crate) const MASK: u8 = 1;
    pub(crate) const ROUTERS: u8 = 3;
    pub(crate) const DNS: u8 = 6;
    pub(crate) const DOMAIN: u8 = 15;
    pub(crate) const STATIC_ROUTES: u8 = 33;
    pub(crate) const REQUESTED: u8 = 50;
    pub(crate) const LEASE_TIME: u8 = 51;
    pub(super) const OVERLOAD: u8 = 52;
    pub(super) const KIND: u8 = 53;
    pub(crate) const SERVER_ID: u8 = 54;
    pub(crate) const PARAMETERS: u8 = 55;
    pub(crate) const MAX_SIZE: u8 = 57;
    pub(crate) const T1: u8 = 58;
    pub(crate) const T2: u8 = 59;
    pub(crate) const CLIENT_ID: u8 = 61;
    pub(crate) const SEARCH: u8 = 119;
    pub(crate) const CLASSLESS_ROUTES: u8 = 121;
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Ack = 5,
    Nak = 6,
    Release = 7,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    /// Ties answers to questions.
    pub(super) xid: u32,
    /// Seconds since the client began.
    pub(super) seconds: u16,
    /// The client's address, once it has one.
    pub(super) own: Ipv4Addr,
    /// The address that is offered or given.
    pub(super) yours: Ipv4Addr,
    /// The client's hardware address.
    pub(super) mac: [u8; 6],
    /// In the order in which they are written.
    pub(super) options: Vec<(u8, Vec<u8>)>,
}

impl Message {
    /// A client's message without options.
    pub(super) fn new(kind: Kind, xid: u32, mac: [u8; 6]) -> Self {
        Self {
            kind,
            xid,
            seconds: 0,
            own: Ipv4Addr::UNSPECIFIED,
            yours: Ipv4Addr::UNSPECIFIED,
            mac,
            options: Vec::new(),
        }
    }

    /// Adds an option; one that is too long for the format is left out.
    pub(super) fn with(mut self, code: u8, value: impl Into<Vec<u8>>) -> Self {
        let value = value.into();
        if value.len() <= usize::from(u8::MAX) {
            self.options.push((code, value));
        }
        self
    }

    /// An option's value.
    pub(super) fn option(&self, code: u8) -> Option<&[u8]> {
        let found = self.options.iter().find(|(c, _)| *c == code);
        found.map(|(_, value)| value.as_slice())
    }

    /// An option with an address.
    pub(super) fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.addresses(code).next()
    }

    /// An option with addresses.
    pub(super) fn addresses(&self, code: u8) -> impl Iterator<Item = Ipv4Addr> {
        let value = self.option(code).unwrap_or_default();
        let (chunks, _) = value.as_chunks::<4>();
        chunks.iter().map(|bytes| Ipv4Addr::from(*bytes))
    }

    /// An option with a number of seconds.
    pub(super) fn seconds(&self, code: u8) -> Option<u32> {
        let bytes = self.option(code)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    }

    /// The UDP payload of a client's message.
    fn payload(&self) -> Vec<u8> {
        const REQUEST: u8 = 1;
        const ETHERNET: u8 = 1;
        /// Old relays drop what is shorter.
        const LEAST: usize = 300;
        let mut bytes = vec![0; FIXED];
        bytes[0] = REQUEST;
        bytes[1] = ETHERNET;
        bytes[2] = 6;
        bytes[4..8].copy_from_slice(&self.xid.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.seconds.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.own.octets());
        bytes[28..34].copy_from_slice(&self.mac);
        bytes[236..240].copy_from_slice(&COOKIE);
        bytes.extend([option::KIND, 1, self.kind as u8]);
        for (code, value) in &self.options {
            let length = u8::try_from(value.len()).unwrap_or_default();
            bytes.extend([*code, length]);
            bytes.extend_from_slice(value);
        }
        bytes.push(255);
        bytes.resize(bytes.len().max(LEAST), 0);
        bytes
    }

    /// The message as an IPv4 packet from `from` to `to`.
    pub(super) fn packet(&self, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
        let payload = self.payload();
        let udp_length = u16::try_from(payload.len() + 8).unwrap_or(u16::MAX);
        let mut udp = Vec::with_capacity(payload.len() + 8);
        udp.extend(CLIENT.to_be_bytes());
        udp.extend(SERVER.to_be_bytes());
        udp.extend(udp_length.to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(payload);
        let mut pseudo = Vec::new();
        pseudo.extend(from.octets());
        pseudo.extend(to.octets());
        pseudo.extend([0, 17]);
        pseudo.extend(udp_length.to_be_bytes());
        let sum = checksum(&[&pseudo, &udp]);
        // Zero would mean that there is none.
        let sum = if sum == 0 { 0xffff } else { sum };
        udp[6..8].copy_from_slice(&sum.to_be_bytes());
        let length = udp_length.saturating_add(20);
        let mut ip = vec![0x45, 0x10];
        ip.extend(length.to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
        ip.extend(from.octets());
        ip.extend(to.octets());
        let sum = checksum(&[&ip]);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        ip.extend(udp);
        ip
    }

    /// Reads a server's message to the client `mac` with number `xid` out of an IPv4 packet.
    pub(super) fn parse(packet: &[u8], xid: u32, mac: [u8; 6]) -> Option<Self> {
        let header = usize::from(packet.first()? & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes(*packet.get(2..4)?.first_chunk()?));
        let udp = packet.get(header.max(20)..total.min(packet.len()))?;
        let source = u16::from_be_bytes(*udp.first_chunk()?);
        let length = usize::from(u16::from_be_bytes(*udp.get(4..6)?.first_chunk()?));
        let bytes = udp.get(8..length.min(udp.len()))?;
        let is_ours = source == SERVER
            && bytes.first() == Some(&2)
            && bytes.get(4..8)? == xid.to_be_bytes()
            && bytes.get(28..34)? == mac
            && bytes.get(236..FIXED)? == COOKIE;
        if !is_ours {
            return None;
        }
        let mut options = Vec::new();
        read_options(bytes.get(FIXED..)?, &mut options);
        let overload = options
            .iter()
            .find(|(code, _)| *code == option::OVERLOAD)
            .and_then(|(_, value)| value.first().copied())
            .unwrap_or_default();
        if overload & 1 != 0 {
            read_options(bytes.get(108..236)?, &mut options);
        }
        if overload & 2 != 0 {
            read_options(bytes.get(44..108)?, &mut options);
        }
        let kind = options.iter().find(|(code, _)| *code == option::KIND)?;
        let kind = match kind.1[..] {
            [2] => Kind::Offer,
            [5] => Kind::Ack,
            [6] => Kind::Nak,
            _ => return None,
        };
        let yours = Ipv4Addr::from(*bytes.get(16..20)?.first_chunk::<4>()?);
        Some(Self {
            options,
            yours,
            ..Self::new(kind, xid, mac)
        })
    }
}

/// Reads options; the parts of one that comes several times belong together (RFC 3396). It ends
/// at the first that does not fit.
fn read_options(mut bytes: &[u8], options: &mut Vec<(u8, Vec<u8>)>) {
    while let Some((&code, rest)) = bytes.split_first() {
        if code == 0 {
            bytes = rest;
            continue;
        }
        let Some((&length, rest)) = rest.split_first().filter(|_| code != 255) else {
            return;
        };
        let Some((value, rest)) = rest.split_at_checked(usize::from(length)) else {
            return;
        };
        match options.iter_mut().find(|(c, _)| *c == code) {
            Some((_, whole)) => whole.extend_from_slice(value),
            None => options.push((code, value.to_vec())),
        }
        bytes = rest;
    }
}

/// The internet checksum of parts that are one after the other; all but the last of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let [a, b] = [pair[0], pair.get(1).copied().unwrap_or_default()];
            sum += u32::from(u16::from_be_bytes([a, b]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    /// A server's answer, made out of a client's message.
    fn answer(options: &[u8], file: &[u8]) -> Vec<u8> {
        let message = Message::new(Kind::Offer, 7, MAC);
        let mut packet = message.packet([10, 0, 0, 1].into(), [255; 4].into());
        packet.truncate(28 + FIXED);
        packet[20..22].copy_from_slice(&SERVER.to_be_bytes());
        packet[28] = 2;
        packet[28 + 16..28 + 20].copy_from_slice(&[10, 0, 0, 9]);
        packet[28 + 108..28 + 108 + file.len()].copy_from_slice(file);
        packet.extend_from_slice(options);
        let length = u16::try_from(packet.len()).unwrap();
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet[24..26].copy_from_slice(&(length - 20).to_be_bytes());
        packet
    }

    #[test]
    fn a_packet_has_valid_sums_and_the_options() {
        let message =
            Message::new(Kind::Request, 0x0102_0304, MAC).with(option::REQUESTED, [10, 0, 0, 9]);
        let packet = message.packet([0; 4].into(), [255; 4].into());
        assert_eq!(checksum(&[&packet[..20]]), 0);
        let mut pseudo = packet[12..20].to_vec();
        pseudo.extend([0, 17]);
        pseudo.extend_from_slice(&packet[24..26]);
        assert_eq!(checksum(&[&pseudo, &packet[20..]]), 0);
        assert_eq!(packet.len(), 328);
        assert_eq!(packet[268..277], [53, 1, 3, 50, 4, 10, 0, 0, 9]);
    }

    #[test]
    fn answers_are_read_with_split_and_overloaded_options() {
        let options = [
            53, 1, 5, 6, 4, 1, 1, 1, 1, 0, 6, 4, 2, 2, 2, 2, 52, 1, 1, 255,
        ];
        let file = [51, 4, 0, 0, 1, 0, 255];
        let message = Message::parse(&answer(&options, &file), 7, MAC).unwrap();
        assert_eq!(
            (message.kind, message.yours),
            (Kind::Ack, [10, 0, 0, 9].into())
        );
        let servers: Vec<_> = message.addresses(option::DNS).collect();
        assert_eq!(servers, [Ipv4Addr::from([1; 4]), [2; 4].into()]);
        assert_eq!(message.seconds(option::LEASE_TIME), Some(256));
    }

    #[test]
    fn what_is_not_for_us_and_every_cut_are_refused_or_survived() {
        let whole = answer(&[53, 1, 2, 3, 4, 10, 0, 0, 1, 255], &[]);
        assert!(Message::parse(&whole, 7, MAC).is_some());
        assert!(Message::parse(&whole, 8, MAC).is_none());
        assert!(Message::parse(&whole, 7, [2; 6]).is_none());
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            let _ = Message::parse(&cut, 7, MAC);
            // Also with lengths that lie, and every byte turned.
            if let Some(last) = cut.last_mut() {
                *last ^= 0xff;
            }
            let _ = Message::parse(&cut, 7, MAC);
        }
    }
}
