//! Extended header records (POSIX pax), and how they change an entry.

use super::header::Header;
use super::{Attribute, Entry, Kind, Time};
use crate::{Error, Result};

/// Extended attributes of one entry.
const ATTRIBUTES: usize = 256;

/// The records that matter here; later ones replace earlier ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<Time>,
    attributes: Vec<Attribute>,
    acl: Option<Vec<u8>>,
    default_acl: Option<Vec<u8>>,
    pub(super) sparse: Sparse,
}

/// What the three pax forms of sparse files say.
#[derive(Debug, Clone, Default)]
pub(super) struct Sparse {
    /// Form 1.0: the map comes first in the data.
    pub(super) in_data: bool,
    pub(super) size: Option<u64>,
    /// Offsets and lengths in turn (forms 0.0 and 0.1).
    pub(super) numbers: Vec<u64>,
    name: Option<Vec<u8>>,
}

impl Extensions {
    /// Adds the records of one extended header.
    pub(super) fn add(&mut self, mut records: &[u8]) -> Result<()> {
        while !records.is_empty() {
            let (key, value, rest) = record(records)
                .ok_or_else(|| Error::not_an_aci("a pax extended header is damaged"))?;
            self.set(key, value)?;
            records = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let unsigned = || decimal(value).ok_or_else(|| bad(key));
        match key {
            b"path" => self.name = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(unsigned()?),
            b"uid" => self.uid = Some(unsigned()?),
            b"gid" => self.gid = Some(unsigned()?),
            b"mtime" => self.modified = Some(time(value).ok_or_else(|| bad(key))?),
            b"SCHILY.acl.access" => self.acl = Some(value.to_vec()),
            b"SCHILY.acl.default" => self.default_acl = Some(value.to_vec()),
            b"GNU.sparse.major" => self.sparse.in_data = value == b"1",
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = Some(unsigned()?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let number = unsigned()?;
                self.sparse.push(number)?;
            }
            b"GNU.sparse.map" => {
                self.sparse.numbers.clear();
                for number in value.split(|b| *b == b',').filter(|n| !n.is_empty()) {
                    self.sparse.push(decimal(number).ok_or_else(|| bad(key))?)?;
                }
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.attribute(name, value)?;
                }
            }
        }
        Ok(())
    }

    fn attribute(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        if let Some(known) = self.attributes.iter_mut().find(|(n, _)| n == name) {
            known.1 = value.to_vec();
            return Ok(());
        }
        if self.attributes.len() == ATTRIBUTES {
            return Err(Error::TooLarge {
                what: "extended attributes on one file",
                limit: ATTRIBUTES as u64,
            });
        }
        self.attributes.push((name.to_vec(), value.to_vec()));
        Ok(())
    }

    /// The entry that a header describes with these records, and the bytes that its data takes
    /// in the archive.
    pub(super) fn apply(&self, header: Header) -> Result<(Entry, u64)> {
        let own = || self.sparse.name.clone().or_else(|| self.name.clone());
        let name = own().unwrap_or(header.name);
        if name.contains(&0) || self.link.as_ref().is_some_and(|l| l.contains(&0)) {
            return Err(Error::entry(&name, "a name contains a NUL"));
        }
        let link = self.link.clone().unwrap_or(header.link);
        let device = |n: u64| {
            u32::try_from(n).map_err(|_| Error::entry(&name, "its device number is too large"))
        };
        let id = |n: u64| match u32::try_from(n) {
            // The last one means "no change" to the kernel.
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(Error::entry(&name, "its owner or group is too large")),
        };
        let kind = match header.kind {
            b'0' | b'S' => Kind::File,
            b'1' => Kind::HardLink(link),
            b'2' => Kind::SymbolicLink(link),
            b'3' => Kind::Character(device(header.major)?, device(header.minor)?),
            b'4' => Kind::Block(device(header.major)?, device(header.minor)?),
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let reason = format!("unknown type {:?}", char::from(other));
                return Err(Error::entry(&name, reason));
            }
        };
        // Only files have data, whatever the field says.
        let stored = match kind {
            Kind::File => self.size.unwrap_or(header.size),
            _ => 0,
        };
        let mut entry = Entry {
            kind,
            mode: header.mode,
            uid: id(self.uid.unwrap_or(header.uid))?,
            gid: id(self.gid.unwrap_or(header.gid))?,
            modified: self.modified.unwrap_or(Time {
                seconds: header.modified,
                nanoseconds: 0,
            }),
            size: stored,
            attributes: self.attributes.clone(),
            acl: self.acl.clone(),
            default_acl: self.default_acl.clone(),
            map: None,
            name,
        };
        if header.kind == b'S' {
            super::sparse::from_header(&mut entry, &header.tail)?;
        }
        Ok((entry, stored))
    }
}

impl Sparse {
    fn push(&mut self, number: u64) -> Result<()> {
        if self.numbers.len() >= 2 * super::sparse::PIECES {
            return Err(super::sparse::too_many());
        }
        self.numbers.push(number);
        Ok(())
    }

    /// Whether the entry is one of pax's sparse files.
    pub(super) fn is_one(&self) -> bool {
        self.in_data || !self.numbers.is_empty()
    }
}

fn bad(key: &[u8]) -> Error {
    Error::not_an_aci(format!(
        "the pax record {:?} is damaged",
        String::from_utf8_lossy(key)
    ))
}

/// Splits `LENGTH key=value\n` off; the length counts itself and the newline.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(21).position(|b| *b == b' ')?;
    let length = usize::try_from(decimal(&records[..space])?).ok()?;
    if length > records.len() || length < space + 3 {
        return None;
    }
    let (record, rest) = records.split_at(length);
    let body = record[space + 1..].strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    Some((&body[..equals], &body[equals + 1..], rest))
}

/// A decimal number without sign.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// `-1234.5678`; what is finer than a nanosecond is cut.
fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |b| *b == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanoseconds = 0;
    if let Some(fraction) = parts.next() {
        for i in 0..9 {
            let digit = fraction.get(i).copied().unwrap_or(b'0');
            if !digit.is_ascii_digit() {
                return None;
            }
            nanoseconds = nanoseconds * 10 + u32::from(digit - b'0');
        }
    }
    Some(match (negative, nanoseconds) {
        (false, nanoseconds) => Time {
            seconds,
            nanoseconds,
        },
        (true, 0) => Time {
            seconds: -seconds,
            nanoseconds: 0,
        },
        (true, nanoseconds) => Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let at = |seconds, nanoseconds| {
            Some(Time {
                seconds,
                nanoseconds,
            })
        };
        assert_eq!(time(b"12"), at(12, 0));
        assert_eq!(time(b"12.5"), at(12, 500_000_000));
        assert_eq!(time(b"12.0123456789"), at(12, 12_345_678));
        assert_eq!(time(b"-1.25"), at(-2, 750_000_000));
        assert_eq!(time(b"-3"), at(-3, 0));
        for bad in [&b""[..], b".5", b"1.x", b"--1", b"99999999999999999999"] {
            assert_eq!(time(bad), None);
        }
    }

    #[test]
    fn records() {
        assert_eq!(
            record(b"8 a=b=c\nrest"),
            Some((&b"a"[..], &b"b=c"[..], &b"rest"[..]))
        );
        for bad in [
            &b"8 a=b"[..],
            b"1 a=b\n",
            b"99 a=b\n",
            b"6 a b\n",
            b"a=b\n",
            b"6 a=bc",
        ] {
            assert_eq!(record(bad), None, "{bad:?}");
        }
    }
}
