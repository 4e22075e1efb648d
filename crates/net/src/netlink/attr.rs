//! Reading netlink attributes.

use super::align;

/// The attributes in a piece of a message, as (kind, value). It ends at the first one that does
/// not fit; the nested and byte order bits are taken off the kinds.
#[derive(Clone, Debug)]
pub(crate) struct Attrs<'a> {
    rest: &'a [u8],
}

impl<'a> Attrs<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [a, b, c, d] = *self.rest.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let kind = u16::from_ne_bytes([c, d]) & 0x3fff;
        let value = self.rest.get(4..length)?;
        self.rest = self.rest.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The first attribute of a kind.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    Attrs::new(bytes)
        .find(|(k, _)| *k == kind)
        .map(|(_, value)| value)
}

/// The first attribute of a kind as a number in the machine's order.
pub(crate) fn find_u32(bytes: &[u8], kind: u16) -> Option<u32> {
    find(bytes, kind)?
        .first_chunk()
        .map(|b| u32::from_ne_bytes(*b))
}

/// The first attribute of a kind as text without its terminating zero.
pub(crate) fn find_str(bytes: &[u8], kind: u16) -> Option<&str> {
    let value = find(bytes, kind)?;
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    std::str::from_utf8(value.get(..end)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_ends_the_walk() {
        assert_eq!(Attrs::new(&[]).count(), 0);
        assert_eq!(Attrs::new(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(Attrs::new(&[200, 0, 1, 0, 5]).count(), 0);
        assert_eq!(Attrs::new(&[5, 0, 1, 0, 9]).count(), 1);
    }
}
