//! Image IDs (types.md, "Image ID Type").

use crate::Error;
use crate::json::text_type;

const PREFIX: &str = "sha512-";

/// An image ID: `sha512-` and lower-case hexadecimal digits. The full hash has 128 of them, the
/// store's keys have 64; upper-case digits are read and become lower-case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(String);

text_type!(Hash);

impl Hash {
    /// Checks an image ID of 2 to 128 digits.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fail = |reason| Err(Error::value("image ID", text, reason));
        let Some(digits) = text.strip_prefix(PREFIX) else {
            return fail("must begin with sha512-, the only hash algorithm allowed");
        };
        if !(2..=128).contains(&digits.len()) {
            return fail("must have 2 to 128 hexadecimal digits");
        }
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return fail("must be hexadecimal after sha512-");
        }
        Ok(Hash(text.to_ascii_lowercase()))
    }

    /// The image ID of a SHA-512 digest, cut to the store's 64 digits.
    pub fn from_sha512(digest: &[u8; 64]) -> Self {
        use std::fmt::Write;
        let mut text = String::with_capacity(PREFIX.len() + 64);
        text.push_str(PREFIX);
        for byte in &digest[..32] {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Hash(text)
    }

    /// The digits without the algorithm.
    pub fn digits(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    /// Whether both name the same digest, when one of them may be cut shorter, as the store's
    /// keys are.
    pub fn same_as(&self, other: &Hash) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }

    /// The form that lists show: `sha512-` and 12 digits.
    pub fn short(&self) -> &str {
        &self.0[..self.0.len().min(PREFIX.len() + 12)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_ids() {
        let id = Hash::parse("sha512-277205B3AE3EB3A8E042A62AE46934B470E43").unwrap();
        assert_eq!(id, "sha512-277205b3ae3eb3a8e042a62ae46934b470e43");
        assert_eq!(id.short(), "sha512-277205b3ae3e");
        assert_eq!(id.digits().len(), 37);
        for bad in [
            "",
            "sha512",
            "sha512-",
            "sha512-a",
            "sha256-aa",
            "sha512-xyz",
            "sha512-aa/..",
            "sha512-é0",
        ] {
            assert!(Hash::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Hash::parse(&format!("sha512-{}", "a".repeat(129))).is_err());
    }

    #[test]
    fn a_digest_is_cut_to_the_stores_length() {
        let id = Hash::from_sha512(&[0xab; 64]);
        assert_eq!(id.as_str(), format!("sha512-{}", "ab".repeat(32)));
        let full = Hash::parse(&format!("sha512-{}", "ab".repeat(64))).unwrap();
        assert!(id.same_as(&full) && full.same_as(&id));
        assert!(!id.same_as(&Hash::parse("sha512-ac").unwrap()));
    }
}
