//! Annotations of images, pods and apps (specification, aci.md, "annotations").

use serde::{Deserialize, Serialize};

use crate::check::{At, Check, no_nul, unique};
use crate::json::{Extra, list_type, nullable};
use crate::{AcIdentifier, Date, Error};

/// One annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// The key. An identifier, as the original read it, since keys like
    /// `coreos.com/rkt/stage1/run` are in every stage1 image.
    pub name: AcIdentifier,
    /// Any text, except for the recognized `created`, `homepage` and `documentation`.
    #[serde(default, deserialize_with = "nullable")]
    pub value: String,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A list of annotations with unique keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Annotations(pub Vec<Annotation>);

list_type!(Annotations, Annotation);

impl Annotation {
    /// An annotation.
    pub fn new(name: AcIdentifier, value: impl Into<String>) -> Self {
        Annotation {
            name,
            value: value.into(),
            extra: Extra::new(),
        }
    }
}

impl Annotations {
    /// The value of an annotation.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|a| a.name == name)
            .map(|a| a.value.as_str())
    }

    /// Sets an annotation: replaced where it stands, or added at the end.
    pub fn set(&mut self, name: AcIdentifier, value: impl Into<String>) {
        match self.0.iter_mut().find(|a| a.name == name) {
            Some(annotation) => annotation.value = value.into(),
            None => self.0.push(Annotation::new(name, value)),
        }
    }
}

impl Check for Annotations {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        unique(&self.0, at, |a| &a.name)?;
        for (i, annotation) in self.iter().enumerate() {
            let (at, value) = (at.index(i), &annotation.value);
            let at = at.field("value");
            match annotation.name.as_str() {
                "created" => drop(Date::parse(value).map_err(|e| at.fail(e.into_reason()))?),
                "homepage" | "documentation" => web_url(value, &at)?,
                _ => no_nul(value, &at)?,
            }
        }
        Ok(())
    }
}

fn web_url(url: &str, at: &At<'_>) -> Result<(), Error> {
    let host = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let plain = !url.contains(|c: char| c.is_whitespace() || c.is_control());
    match host {
        Some(host) if plain && !host.is_empty() => Ok(()),
        _ => Err(at.fail("must be a URL with scheme http or https")),
    }
}
