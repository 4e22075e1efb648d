//! Versions of the specification (types.md, "AC Version Type").

use crate::Error;
use crate::json::text_type;

/// A semantic version 2.0.0: `MAJOR.MINOR.PATCH[-PRERELEASE][+BUILD]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SemVer(String);

text_type!(SemVer);

impl SemVer {
    /// Checks a version: any semantic version is accepted, as the original did.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fail = |reason| Err(Error::value("semantic version", text, reason));
        if text.len() > 256 {
            return fail("must not be longer than 256 bytes");
        }
        let (rest, build) = split(text, '+');
        let (core, pre) = split(rest, '-');
        let mut numbers = core.split('.');
        for _ in 0..3 {
            if numbers.next().and_then(number).is_none() {
                return fail("must be MAJOR.MINOR.PATCH");
            }
        }
        if numbers.next().is_some() {
            return fail("must be MAJOR.MINOR.PATCH");
        }
        for part in [pre, build].into_iter().flatten() {
            if !part.split('.').all(is_identifier) {
                return fail(
                    "pre-release and build must be words of letters, digits and -, joined by .",
                );
            }
        }
        Ok(SemVer(text.to_owned()))
    }

    /// The version of the specification that this crate writes.
    pub fn current() -> Self {
        SemVer(crate::AC_VERSION.to_owned())
    }

    /// Major, minor and patch.
    pub fn numbers(&self) -> (u64, u64, u64) {
        let core = self.0.split(['+', '-']).next().unwrap_or_default();
        let mut numbers = core.split('.').map(|n| number(n).unwrap_or_default());
        let mut next = || numbers.next().unwrap_or_default();
        (next(), next(), next())
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((left, right)) => (left, Some(right)),
        None => (text, None),
    }
}

fn number(text: &str) -> Option<u64> {
    // `parse` alone would accept a sign.
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn is_identifier(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semantic_versions() {
        for good in [
            "0.8.11",
            "1.0.0-alpha.1",
            "0.5.1+git",
            "1.2.3-rc-1+a.b",
            "0.8.11+git",
        ] {
            assert_eq!(SemVer::parse(good).unwrap(), good);
        }
        for bad in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "v1.2.3",
            "1.2.x",
            "+1.2.3",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-a..b",
        ] {
            assert!(SemVer::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(SemVer::parse("1.20.3-x+y").unwrap().numbers(), (1, 20, 3));
    }
}
