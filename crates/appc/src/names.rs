//! AC Name and AC Identifier (specification, types.md).

use crate::Error;
use crate::json::text_type;

/// The longest name or identifier: both end up as file names or parts of paths.
const MAX_NAME: usize = 255;

/// A name inside a pod or an image, such as an app's or a volume's:
/// `^[a-z0-9]+([-][a-z0-9]+)*$` (types.md, "AC Name Type").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AcName(String);

/// A name of the whole world, such as an image's, a label's or an isolator's:
/// `^[a-z0-9]+([-._~/][a-z0-9]+)*$` (types.md, "AC Identifier Type").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AcIdentifier(String);

text_type!(AcName);
text_type!(AcIdentifier);

impl AcName {
    /// Checks a name. Errors say which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, Error> {
        words(text, b"-").map_err(|reason| Error::value("AC name", text, reason))?;
        Ok(AcName(text.to_owned()))
    }

    /// Makes a name from any text, as for an app named after its image: upper case becomes lower,
    /// other characters become `-`. Fails when no letter or digit is left.
    pub fn sanitize(text: &str) -> Result<Self, Error> {
        let clean = sanitized(text, "");
        AcName::parse(&clean).map_err(|_| Error::value("AC name", text, "has no letter or digit"))
    }
}

impl AcIdentifier {
    /// Checks an identifier. Errors say which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, Error> {
        words(text, b"-._~/").map_err(|reason| Error::value("AC identifier", text, reason))?;
        Ok(AcIdentifier(text.to_owned()))
    }

    /// Makes an identifier from any text: upper case becomes lower, characters outside the set
    /// become `-`. Fails when no letter or digit is left.
    pub fn sanitize(text: &str) -> Result<Self, Error> {
        let clean = sanitized(text, "._~/");
        AcIdentifier::parse(&clean)
            .map_err(|_| Error::value("AC identifier", text, "has no letter or digit"))
    }

    /// The last component of the path-like name, as an app's default name: `etcd` of
    /// `coreos.com/etcd`.
    pub fn base_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

/// Lower-case alphanumeric words with exactly one separator between two of them.
fn words(text: &str, separators: &[u8]) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("must not be empty");
    }
    if text.len() > MAX_NAME {
        return Err("must not be longer than 255 bytes");
    }
    let mut in_word = false;
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => in_word = true,
            _ if !separators.contains(&byte) => return Err(character_rule(separators)),
            _ if !in_word => {
                return Err(
                    "must begin and end with a letter or digit, with one separator between words",
                );
            }
            _ => in_word = false,
        }
    }
    match in_word {
        true => Ok(()),
        false => Err("must begin and end with a letter or digit, with one separator between words"),
    }
}

fn character_rule(separators: &[u8]) -> &'static str {
    match separators.len() {
        1 => "may only contain a-z, 0-9 and -",
        _ => "may only contain a-z, 0-9 and - . _ ~ /",
    }
}

/// Joins the words of any text, keeping single separators out of `keep`.
fn sanitized(text: &str, keep: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut separator = None;
    for c in text.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            if let Some(s) = separator.take()
                && !clean.is_empty()
            {
                clean.push(s);
            }
            clean.push(c);
        } else if separator.is_none() {
            separator = Some(if keep.contains(c) { c } else { '-' });
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_pattern() {
        for good in ["database", "product-database", "a", "0", "a-0-b"] {
            assert_eq!(AcName::parse(good).unwrap(), good);
        }
        for bad in [
            "",
            "-a",
            "a-",
            "a--b",
            "A",
            "a.b",
            "a/b",
            "a b",
            "é",
            "a\0",
            &"a".repeat(256),
        ] {
            assert!(AcName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn identifiers_follow_the_pattern() {
        for good in [
            "database",
            "example.com/database",
            "sub-domain.example.com/org~a/product_1/release",
        ] {
            assert_eq!(AcIdentifier::parse(good).unwrap(), good);
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a..b",
            "a//b",
            "example.com/../x",
            "Example.com",
            "a:b",
        ] {
            assert!(AcIdentifier::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn any_text_becomes_a_name() {
        assert_eq!(
            AcName::sanitize("Quay.io/My_App").unwrap(),
            "quay-io-my-app"
        );
        assert_eq!(
            AcIdentifier::sanitize("--Quay.io//My App:1").unwrap(),
            "quay.io/my-app-1"
        );
        assert!(AcName::sanitize("///").is_err());
        assert_eq!(
            AcIdentifier::parse("coreos.com/etcd").unwrap().base_name(),
            "etcd"
        );
    }
}
