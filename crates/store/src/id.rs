//! Names of blobs and trees.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha512};

use crate::Error;

const PREFIX: &str = "sha512-";
const TREE_PREFIX: &str = "deps-sha512-";
/// Hexadecimal digits of a digest that are kept: half of SHA-512, as the original kept them.
const DIGITS: usize = 64;

/// Digits of an id's short form.
const SHORT: usize = 12;

/// The id of an image: `sha512-` and the first 64 hexadecimal digits of the SHA-512 of its
/// uncompressed archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(String);

/// The id of a rendered tree: `deps-sha512-` and the digest of the keys of all images in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeId(String);

impl ImageId {
    pub(crate) fn of_digest(digest: &[u8]) -> Self {
        Self(format!("{PREFIX}{}", hex(digest)))
    }

    /// The id, with its prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The beginning that lists show: 12 digits behind the prefix.
    pub fn short(&self) -> &str {
        &self.0[..PREFIX.len() + SHORT]
    }

    /// The two digits that name the directory of the blob.
    pub(crate) fn bucket(&self) -> &str {
        &self.0[PREFIX.len()..PREFIX.len() + 2]
    }

    /// The normal form of an id or of the beginning of one: lower case, at most 64 digits.
    pub(crate) fn normal_prefix(text: &str) -> Result<String, Error> {
        let bad = || Error::BadId(text.to_owned());
        let digits = text.strip_prefix(PREFIX).ok_or_else(bad)?;
        let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
        if digits.len() < 2 || digits.len() > 2 * DIGITS || !hexadecimal {
            return Err(bad());
        }
        let kept = &digits[..digits.len().min(DIGITS)];
        Ok(format!("{PREFIX}{}", kept.to_ascii_lowercase()))
    }
}

impl FromStr for ImageId {
    type Err = Error;

    /// A whole id; the full 128 digits of the digest are accepted and cut.
    fn from_str(text: &str) -> Result<Self, Error> {
        let normal = Self::normal_prefix(text)?;
        match normal.len() == PREFIX.len() + DIGITS {
            true => Ok(Self(normal)),
            false => Err(Error::BadId(text.to_owned())),
        }
    }
}

impl TreeId {
    /// The id of the tree made of these images, in the order they are laid over each other.
    pub(crate) fn of(images: &[ImageId]) -> Self {
        let keys: Vec<&str> = images.iter().map(ImageId::as_str).collect();
        Self(format!(
            "{TREE_PREFIX}{}",
            hex(&Sha512::digest(keys.join(",")))
        ))
    }

    /// The id, with its prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TreeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.strip_prefix(TREE_PREFIX);
        match digits.is_some_and(|d| d.len() == DIGITS && d.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            true => Ok(Self(text.to_owned())),
            false => Err(Error::BadId(text.to_owned())),
        }
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TreeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn hex(digest: &[u8]) -> String {
    digest
        .iter()
        .take(DIGITS / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_in_full_and_as_prefixes() {
        let full = format!("sha512-{}", "Ab".repeat(64));
        let id: ImageId = full.parse().unwrap();
        assert_eq!(id.as_str(), format!("sha512-{}", "ab".repeat(32)));
        assert_eq!(id.bucket(), "ab");
        assert_eq!(ImageId::normal_prefix("sha512-AB").unwrap(), "sha512-ab");
        for bad in ["sha512-a", "sha256-abcd", "sha512-xy", "ab"] {
            assert!(ImageId::normal_prefix(bad).is_err(), "{bad}");
        }
        assert!("deps-sha512-12/../34".parse::<TreeId>().is_err());
    }
}
