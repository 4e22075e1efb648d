//! A public key with its subkeys and what binds them together.

use std::io::Cursor;

use pgp::composed::{ArmorOptions, Deserializable, SignedPublicKey};
use pgp::types::KeyDetails;

use crate::{Error, Result};

/// Keys in one file.
const MAX_KEYS: usize = 64;

/// A public key.
#[derive(Debug, Clone)]
pub struct Key {
    pub(crate) certificate: SignedPublicKey,
}

impl Key {
    /// Reads all keys of a file, armoured or binary.
    ///
    /// # Errors
    /// No public keys, or too many.
    pub fn parse_all(bytes: &[u8]) -> Result<Vec<Self>> {
        let bad = |error| Error::BadKey(Box::new(error));
        let (found, _) = SignedPublicKey::from_reader_many_buf(Cursor::new(bytes)).map_err(bad)?;
        let mut keys = Vec::new();
        for certificate in found {
            if keys.len() == MAX_KEYS {
                return Err(Error::TooMany {
                    what: "keys",
                    limit: MAX_KEYS,
                });
            }
            keys.push(Self {
                certificate: certificate.map_err(bad)?,
            });
        }
        match keys.is_empty() {
            true => Err(Error::NoKey),
            false => Ok(keys),
        }
    }

    /// The fingerprint of the primary key: 40 or 64 lower-case hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        self.certificate.fingerprint().to_string()
    }

    /// The same as people compare it: upper case, in groups of four with a wider gap in the middle.
    pub fn shown_fingerprint(&self) -> String {
        let digits = self.fingerprint().to_uppercase();
        let groups: Vec<&str> = (0..digits.len())
            .step_by(4)
            .filter_map(|at| digits.get(at..at + 4))
            .collect();
        let (left, right) = groups.split_at(groups.len() / 2);
        format!("{}  {}", left.join(" "), right.join(" "))
    }

    /// The user ids that the key itself confirms, without control characters.
    pub fn user_ids(&self) -> Vec<String> {
        let users = self.certificate.details.users.iter();
        let confirmed = users.filter(|user| self.confirms(user));
        confirmed
            .map(|user| {
                let text = String::from_utf8_lossy(user.id.id()).into_owned();
                text.replace(char::is_control, "\u{fffd}")
            })
            .collect()
    }

    /// The key as an armoured block.
    ///
    /// # Errors
    /// What was read cannot be written.
    pub fn armoured(&self) -> Result<Vec<u8>> {
        self.certificate
            .to_armored_bytes(ArmorOptions::default())
            .map_err(|error| Error::BadKey(Box::new(error)))
    }
}
