//! Image names as a person types them (specification, discovery.md).

use std::fmt;

use crate::labels::{Label, Labels};
use crate::{AcIdentifier, Error};

/// An image's name and the labels it must have, as in
/// `example.com/reduce-worker:1.0.0,os=linux,arch=amd64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// The name.
    pub name: AcIdentifier,
    /// The labels, `version` first when it stood behind a colon.
    pub labels: Labels,
}

impl ImageName {
    /// Reads `NAME[:VERSION][,LABEL=VALUE]…`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fail = |reason: String| Error::value("image name", text, reason);
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (name, version) = match first.split_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (first, None),
        };
        let name = AcIdentifier::parse(name).map_err(|e| fail(e.into_reason()))?;
        let mut labels = Labels::default();
        if let Some(version) = version {
            if version.is_empty() {
                return Err(fail("the version after : must not be empty".to_owned()));
            }
            labels.push(Label::new(AcIdentifier::parse("version")?, version));
        }
        for part in parts {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| fail(format!("{part:?} is not LABEL=VALUE")))?;
            let key = AcIdentifier::parse(key)
                .map_err(|e| fail(format!("label {key:?} {}", e.into_reason())))?;
            labels.push(Label::new(key, value));
        }
        labels.validate().map_err(|e| fail(e.to_string()))?;
        Ok(ImageName { name, labels })
    }
}

impl fmt::Display for ImageName {
    /// The form that [`ImageName::parse`] reads.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.name)?;
        if let Some(version) = self.labels.get("version").filter(|v| !v.is_empty()) {
            write!(out, ":{version}")?;
        }
        self.labels
            .iter()
            .filter(|l| l.name != "version" || l.value.is_empty())
            .try_for_each(|l| write!(out, ",{}={}", l.name, l.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_names() {
        let n = ImageName::parse("example.com/app:v1.0,os=linux,arch=amd64").unwrap();
        assert_eq!(n.name, "example.com/app");
        assert_eq!(n.labels.get("version"), Some("v1.0"));
        assert_eq!(n.labels.get("arch"), Some("amd64"));
        assert_eq!(n.to_string(), "example.com/app:v1.0,os=linux,arch=amd64");
        assert!(
            ImageName::parse("example.com/app")
                .unwrap()
                .labels
                .is_empty()
        );
        for bad in [
            "",
            ":v1",
            "a:",
            "a,b",
            "a,name=x",
            "a:1,version=2",
            "a,os=plan9",
            "A:1",
            "a,=x",
        ] {
            assert!(ImageName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
