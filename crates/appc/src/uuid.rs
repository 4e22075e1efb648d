//! Pod UUIDs (specification, ace.md, "Pod UUID").

use std::fmt;

use crate::Error;
use crate::json::parsed_text;

/// A pod's UUID. Prints in the canonical form, lower case with dashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(uuid::Uuid);

parsed_text!(Uuid);

impl Uuid {
    /// A new random UUID (version 4).
    ///
    /// # Panics
    /// When the kernel gives no random bytes, which does not happen once Linux has booted.
    pub fn generate() -> Self {
        Uuid(uuid::Uuid::new_v4())
    }

    /// Reads a UUID with or without dashes, in upper or lower case.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fail = || {
            Error::value(
                "UUID",
                text,
                "must be 32 hexadecimal digits, with or without dashes",
            )
        };
        // The crate would also read `{…}` and `urn:uuid:…`, which are not pod directories.
        if !matches!(text.len(), 32 | 36) {
            return Err(fail());
        }
        uuid::Uuid::try_parse(text).map(Uuid).map_err(|_| fail())
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Without dashes, as machine IDs and journal directories are written.
    pub fn simple(&self) -> String {
        self.0.simple().to_string()
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_read_in_both_forms() {
        let text = "6733c088-a507-4694-aabf-0a5e1a0e4d1d";
        let id = Uuid::parse(text).unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(Uuid::parse(&id.simple()).unwrap(), id);
        assert_eq!(Uuid::parse(&text.to_uppercase()).unwrap(), id);
        for bad in [
            "",
            "6733c088",
            "{6733c088a5074694aabf0a5e1a0e4d1}",
            "6733c088-a507-4694-aabf-0a5e1a0e4d1g",
            "../../../../../../../../../../../..",
        ] {
            assert!(Uuid::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn new_uuids_are_version_4() {
        let id = Uuid::generate();
        assert_eq!(id.as_bytes()[6] >> 4, 4);
        assert_ne!(id, Uuid::generate());
    }
}
