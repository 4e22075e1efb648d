//! One 512-byte header block.

use crate::{Error, Result};

/// Bytes of a header, and what data is padded to.
pub(crate) const BLOCK: usize = 512;

/// The fields of a header as they are, before extensions are applied.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    /// The type flag; 0 and `7` are turned into `0`, and an old directory into `5`.
    pub(super) kind: u8,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) modified: i64,
    pub(super) major: u64,
    pub(super) minor: u64,
    /// The tail of the block, where GNU keeps the map of a sparse file.
    pub(super) tail: [u8; BLOCK - 345],
}

/// Whether a stream that begins with these bytes is an uncompressed archive.
pub(crate) fn is_header(head: &[u8]) -> bool {
    let Some(block) = head.first_chunk::<BLOCK>() else {
        return false;
    };
    checksum_fits(block)
}

impl Header {
    /// Parses a block that lies `offset` bytes into the archive.
    pub(super) fn parse(block: &[u8; BLOCK], offset: u64) -> Result<Self> {
        if !checksum_fits(block) {
            return Err(Error::not_an_aci(format!(
                "no tar header at byte {offset}: the checksum is wrong"
            )));
        }
        let name = text(&block[..100]);
        let bad = |field: &'static str| Error::entry(name, format!("its {field} is not a number"));
        let unsigned = |range: std::ops::Range<usize>, field| {
            number(&block[range])
                .and_then(|n| u64::try_from(n).ok())
                .ok_or_else(|| bad(field))
        };
        let kind = match block[156] {
            0 | b'0' | b'7' if name.ends_with(b"/") => b'5',
            0 | b'7' => b'0',
            other => other,
        };
        let posix = &block[257..263] == b"ustar\0";
        let mut full = Vec::new();
        if posix {
            let prefix = text(&block[345..500]);
            if !prefix.is_empty() {
                full.extend_from_slice(prefix);
                full.push(b'/');
            }
        }
        full.extend_from_slice(name);
        let device = |range, field| {
            if matches!(kind, b'3' | b'4') {
                unsigned(range, field)
            } else {
                Ok(0)
            }
        };
        let mut tail = [0; BLOCK - 345];
        tail.copy_from_slice(&block[345..]);
        Ok(Header {
            name: full,
            link: text(&block[157..257]).to_vec(),
            kind,
            // Some writers add the file type's bits.
            mode: (unsigned(100..108, "mode")? & 0o7777) as u32,
            uid: unsigned(108..116, "owner")?,
            gid: unsigned(116..124, "group")?,
            size: unsigned(124..136, "size")?,
            modified: number(&block[136..148]).ok_or_else(|| bad("time"))?,
            major: device(329..337, "device number")?,
            minor: device(337..345, "device number")?,
            tail,
        })
    }
}

fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

fn checksum_fits(block: &[u8; BLOCK]) -> bool {
    let Some(wanted) = number(&block[148..156]) else {
        return false;
    };
    if block.iter().all(|b| *b == 0) {
        return false;
    }
    let in_field = |i: usize| (148..156).contains(&i);
    let mut unsigned = 0i64;
    // Old writers summed signed characters.
    let mut signed = 0i64;
    for (i, byte) in block.iter().enumerate() {
        let byte = if in_field(i) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    wanted == unsigned || wanted == signed
}

/// A number: octal digits, or base 256 when the first bit is set.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // Two's complement with the marker bit copied from the sign.
        let negative = first & 0x40 != 0;
        let start = i64::from(first & 0x7f) | if negative { !0x7f } else { 0 };
        return rest.iter().try_fold(start, |value, byte| {
            value.checked_mul(256)?.checked_add(i64::from(*byte))
        });
    }
    let digits: &[u8] = {
        let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
        field[..end].trim_ascii()
    };
    if digits.len() > 20 {
        return None;
    }
    digits.iter().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"  644 \0 "), Some(0o644));
        assert_eq!(number(b"\0\0\0\0"), Some(0));
        assert_eq!(number(b"77777777777"), Some(0o77_777_777_777));
        assert_eq!(
            number(&[0x80, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1]),
            Some((2 << 56) + 1)
        );
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(
            number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]),
            Some(-2)
        );
        assert_eq!(
            number(&[
                0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0
            ]),
            None
        );
        for bad in [&b"0000648\0"[..], b"-1\0", b"+7\0", b"0x1\0"] {
            assert_eq!(number(bad), None);
        }
    }
}
