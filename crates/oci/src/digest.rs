//! Digests as registries write them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

const PREFIX: &str = "sha256:";

/// `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest(String);

impl Digest {
    /// Checks a digest.
    ///
    /// # Errors
    /// It is none, or of another algorithm.
    pub fn parse(text: &str) -> Result<Self> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        match text.strip_prefix(PREFIX) {
            Some(hex) if hex.len() == 64 && hex.bytes().all(digit) => Ok(Self(text.to_owned())),
            _ => Err(Error::Digest(text.chars().take(100).collect())),
        }
    }

    /// The digest with this value.
    pub fn from_sha256(value: &[u8; 32]) -> Self {
        use std::fmt::Write;
        let mut text = String::with_capacity(PREFIX.len() + 64);
        text.push_str(PREFIX);
        for byte in value {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    /// A form for file names: `sha256-` and the digits.
    pub fn file_name(&self) -> String {
        format!("sha256-{}", self.hex())
    }

    /// Reads the form for file names.
    pub fn from_file_name(name: &str) -> Option<Self> {
        Self::parse(&name.replacen('-', ":", 1)).ok()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_checked_is_a_digest() {
        let good = format!("sha256:{}", "0a".repeat(32));
        let digest = Digest::parse(&good).unwrap();
        assert_eq!(
            Digest::from_file_name(&digest.file_name()),
            Some(digest.clone())
        );
        assert_eq!(digest, Digest::from_sha256(&[0x0a; 32]));
        for bad in [
            "",
            "sha256:",
            &good.to_uppercase(),
            &good[..70],
            &format!("{good}0"),
            "sha512:00",
            "sha256:../../../../../../../../../../../../../../../../../../../../etc/passwd",
        ] {
            assert!(Digest::parse(bad).is_err(), "{bad:?}");
        }
    }
}
