//! Writing netlink messages.

use super::{HEADER, align, flag};

/// Messages to be sent at once.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Where each message begins.
    starts: Vec<usize>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(1024),
            starts: Vec::with_capacity(8),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Messages in the batch.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Adds one message: its type, flags, fixed header (of the protocol) and, from `fill`, its
    /// attributes.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        header: &[u8],
        fill: impl FnOnce(&mut Self),
    ) -> &mut Self {
        let start = self.bytes.len();
        self.starts.push(start);
        self.bytes.extend_from_slice(&[0; HEADER]);
        self.bytes.extend_from_slice(header);
        self.pad();
        fill(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.put(start, &length.to_ne_bytes());
        self.put(start + 4, &kind.to_ne_bytes());
        self.put(start + 6, &(flags | flag::REQUEST).to_ne_bytes());
        self
    }

    /// One attribute.
    pub(crate) fn attr(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// An attribute with a text and its terminating zero.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// An attribute with a number in the machine's order (rtnetlink's habit).
    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// An attribute with a number in network order (nf_tables' habit).
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// An attribute that holds what `fill` writes.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.put(start, &length.to_ne_bytes());
        self.put(start + 2, &kind.to_ne_bytes());
        self
    }

    /// Raw bytes inside the message, padded: a structure within an attribute.
    pub(crate) fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// The finished bytes: messages numbered from `first`, the last (not counting `trailer`
    /// messages at the end) asking for an acknowledgement. Returns them with that one's number.
    pub(crate) fn finish(&mut self, first: u32, trailer: usize) -> (&[u8], u32) {
        let asked = self.starts.len().saturating_sub(1 + trailer);
        let mut number = first;
        let mut last = first;
        for index in 0..self.starts.len() {
            let start = self.starts.get(index).copied().unwrap_or_default();
            self.put(start + 8, &number.to_ne_bytes());
            if index == asked {
                last = number;
                self.add_flags(start, flag::ACK);
            }
            number = number.wrapping_add(1);
        }
        (&self.bytes, last)
    }

    fn add_flags(&mut self, start: usize, flags: u16) {
        if let Some([low, high]) = self.bytes.get_mut(start + 6..start + 8) {
            let new = u16::from_ne_bytes([*low, *high]) | flags;
            [*low, *high] = new.to_ne_bytes();
        }
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }

    fn pad(&mut self) {
        self.bytes.resize(align(self.bytes.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Attrs, find_str, find_u32};

    #[test]
    fn what_is_written_is_read_back() {
        let mut batch = Batch::new();
        batch.message(16, flag::CREATE, &[1, 2, 3, 4], |m| {
            m.text(3, "eth0").nest(18, |m| {
                m.u32(1, 7);
            });
        });
        batch.message(20, 0, &[0; 8], |_| {});
        let (bytes, last) = batch.finish(40, 0);
        assert_eq!(last, 41);
        assert_eq!(bytes.len() % 4, 0);
        let length = u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize;
        let body = &bytes[HEADER + 4..length];
        assert_eq!(find_str(body, 3), Some("eth0"));
        let nested = Attrs::new(body).find(|(kind, _)| *kind == 18).unwrap().1;
        assert_eq!(find_u32(nested, 1), Some(7));
        let flags = |at: usize| u16::from_ne_bytes(bytes[at + 6..at + 8].try_into().unwrap());
        assert_eq!(flags(0) & flag::ACK, 0);
        assert_eq!(flags(length) & flag::ACK, flag::ACK);
    }
}
