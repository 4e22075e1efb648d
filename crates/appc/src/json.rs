//! Bytes to values and back, the same way for both manifests.

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use crate::Error;
use crate::check::{At, Check};
use crate::error::legible;

/// Members of an object that the specification does not name, in the order they were read.
pub type Extra = serde_json::Map<String, serde_json::Value>;

/// The largest manifest that is read, in bytes.
pub const MAX_MANIFEST: usize = 4 << 20;

/// Parses and checks a whole document. The nesting depth is bounded by serde_json (128).
pub(crate) fn parse<T: DeserializeOwned + Check>(bytes: &[u8]) -> Result<T, Error> {
    if bytes.len() > MAX_MANIFEST {
        return Err(Error::TooLarge {
            size: bytes.len(),
            limit: MAX_MANIFEST,
        });
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value: T = serde_path_to_error::deserialize(&mut reader).map_err(read_error)?;
    reader.end().map_err(|cause| syntax(&cause))?;
    value.check(&At::root())?;
    Ok(value)
}

/// Writes compact JSON with the members in the order of the struct.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // These types hold strings, numbers, lists and maps with string keys, which always serialize.
    serde_json::to_vec(value).unwrap_or_default()
}

fn read_error(cause: serde_path_to_error::Error<serde_json::Error>) -> Error {
    if cause.inner().classify() != Category::Data {
        return syntax(cause.inner());
    }
    let path = match cause.path().iter().next() {
        Some(_) => cause.path().to_string(),
        None => "manifest".to_owned(),
    };
    Error::field(&path, &without_position(cause.inner()))
}

fn syntax(cause: &serde_json::Error) -> Error {
    Error::Syntax {
        line: cause.line(),
        column: cause.column(),
        reason: legible(&without_position(cause)),
    }
}

/// serde_json ends its messages with the position, which these errors carry in fields.
fn without_position(cause: &serde_json::Error) -> String {
    let text = cause.to_string();
    let position = format!(" at line {} column {}", cause.line(), cause.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// Reads `null` as the default: the original wrote empty lists as `null`.
pub(crate) fn nullable<'de, D, T>(reader: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(reader).map(Option::unwrap_or_default)
}

/// Reads the kind of a manifest. Said at once, since every other field would be wrong as well.
pub(crate) fn kind<'de, D: Deserializer<'de>>(reader: D, kind: &str) -> Result<String, D::Error> {
    let found = String::deserialize(reader)?;
    match found == kind {
        true => Ok(found),
        false => Err(serde::de::Error::custom(format!(
            "must be {kind}, not {found:?}"
        ))),
    }
}

/// For `skip_serializing_if` on flags that default to false.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde calls"
)]
pub(crate) fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A string type with rules: reads through `parse`, writes, compares and prints its text.
macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The text as it was read.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.pad(&self.0)
            }
        }

        crate::json::parsed_text!($name);
    };
}

/// The serde, `FromStr` and `TryFrom` sides of a type with `parse(&str)` and `Display`.
macro_rules! parsed_text {
    ($name:ident) => {
        impl std::str::FromStr for $name {
            type Err = crate::Error;
            fn from_str(text: &str) -> Result<Self, crate::Error> {
                Self::parse(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = crate::Error;
            fn try_from(text: &str) -> Result<Self, crate::Error> {
                Self::parse(text)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(reader)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// A list type of its own, used as the `Vec` it holds.
macro_rules! list_type {
    ($name:ident, $item:ident) => {
        impl $name {
            /// For `skip_serializing_if`, which does not see through `Deref`.
            #[allow(dead_code, reason = "a pod manifest writes its empty lists")]
            pub(crate) fn none(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl std::ops::Deref for $name {
            type Target = Vec<$item>;
            fn deref(&self) -> &Vec<$item> {
                &self.0
            }
        }

        impl std::ops::DerefMut for $name {
            fn deref_mut(&mut self) -> &mut Vec<$item> {
                &mut self.0
            }
        }

        impl From<Vec<$item>> for $name {
            fn from(list: Vec<$item>) -> Self {
                $name(list)
            }
        }

        impl FromIterator<$item> for $name {
            fn from_iter<I: IntoIterator<Item = $item>>(items: I) -> Self {
                $name(items.into_iter().collect())
            }
        }

        impl<'a> IntoIterator for &'a $name {
            type Item = &'a $item;
            type IntoIter = std::slice::Iter<'a, $item>;
            fn into_iter(self) -> Self::IntoIter {
                self.0.iter()
            }
        }

        impl IntoIterator for $name {
            type Item = $item;
            type IntoIter = std::vec::IntoIter<$item>;
            fn into_iter(self) -> Self::IntoIter {
                self.0.into_iter()
            }
        }
    };
}

pub(crate) use {list_type, parsed_text, text_type};
