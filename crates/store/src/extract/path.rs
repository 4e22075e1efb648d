//! Names of an archive, before they come near the kernel.

use crate::limits::Limits;
use crate::{Error, Result};

/// Brings a name into one form: no `.`, no doubled or trailing slashes; empty for the top. A name
/// that is absolute, contains `..` or is too long or too deep is refused.
pub(crate) fn clean(name: &[u8], limits: &Limits) -> Result<Vec<u8>> {
    let refuse = |reason: &str| Err(Error::entry(name, reason));
    if name.first() == Some(&b'/') {
        return refuse("its name is absolute");
    }
    if name.len() > Limits::PATH {
        return refuse("its name is longer than 4095 bytes");
    }
    let mut clean = Vec::with_capacity(name.len());
    let mut depth = 0;
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return refuse("its name contains \"..\""),
            _ if part.len() > Limits::NAME => {
                return refuse("a part of its name is longer than 255 bytes");
            }
            _ if part.contains(&0) => return refuse("its name contains a NUL"),
            _ => {}
        }
        depth += 1;
        if !clean.is_empty() {
            clean.push(b'/');
        }
        clean.extend_from_slice(part);
    }
    if depth > limits.depth {
        return refuse("it lies too deep");
    }
    Ok(clean)
}

/// Directory and last name of a clean path.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Where an entry of an image archive belongs (specification, aci.md, "Image Archives").
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The top itself, as `tar c .` writes it.
    Top,
    /// The file `manifest`.
    Manifest,
    /// In `rootfs`, whose own path is empty.
    Root(Vec<u8>),
}

/// Finds the place of an entry; everything beside `manifest` and `rootfs` is refused.
pub(crate) fn place(name: &[u8], limits: &Limits) -> Result<Place> {
    let mut path = clean(name, limits)?;
    if path.is_empty() {
        return Ok(Place::Top);
    }
    if path == b"manifest" {
        return Ok(Place::Manifest);
    }
    if path == b"rootfs" {
        return Ok(Place::Root(Vec::new()));
    }
    if path.starts_with(b"rootfs/") {
        path.drain(..b"rootfs/".len());
        return Ok(Place::Root(path));
    }
    Err(Error::entry(
        name,
        "an App Container Image has nothing beside \"manifest\" and \"rootfs\"",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let at = |name: &str| place(name.as_bytes(), &Limits::default());
        assert_eq!(at("./").unwrap(), Place::Top);
        assert_eq!(at("./manifest").unwrap(), Place::Manifest);
        assert_eq!(at("rootfs/").unwrap(), Place::Root(vec![]));
        assert_eq!(
            at("./rootfs//a/./b/").unwrap(),
            Place::Root(b"a/b".to_vec())
        );
        for bad in [
            "/manifest",
            "rootfs/../x",
            "..",
            "other",
            "rootfs2/x",
            "manifest/x",
        ] {
            assert!(at(bad).is_err(), "{bad}");
        }
        assert!(at(&format!("rootfs/{}", "n".repeat(256))).is_err());
        assert!(at(&format!("rootfs/{}", "n/".repeat(1001))).is_err());
        assert!(at(&format!("rootfs/{}", "n/".repeat(5000))).is_err());
    }
}
