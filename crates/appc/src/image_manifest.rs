//! The image manifest (specification, aci.md, "Image Manifest Schema").

use serde::{Deserialize, Serialize};

use crate::check::{At, Check, absolute_path, each};
use crate::json::{Extra, nullable, parse, to_json};
use crate::{AcIdentifier, Annotations, App, Dependency, Error, Labels, SemVer};

const KIND: &str = "ImageManifest";

fn kind<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<String, D::Error> {
    crate::json::kind(reader, KIND)
}

/// The manifest of an App Container Image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageManifest {
    /// Always `ImageManifest`.
    #[serde(rename = "acKind", deserialize_with = "kind")]
    pub ac_kind: String,
    /// The version of the specification it was written for.
    #[serde(rename = "acVersion")]
    pub ac_version: SemVer,
    /// The image's name.
    pub name: AcIdentifier,
    /// Labels, such as `version`, `os` and `arch`.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Labels::none"
    )]
    pub labels: Labels,
    /// How to run the image; absent in images that only others depend on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// Images whose files lie below this one's, the first lowest.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub dependencies: Vec<Dependency>,
    /// The absolute paths that a rendered image keeps; all when empty.
    #[serde(
        rename = "pathWhitelist",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub path_whitelist: Vec<String>,
    /// Anything else.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Annotations::none"
    )]
    pub annotations: Annotations,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

impl ImageManifest {
    /// A manifest with a name and nothing else.
    pub fn new(name: AcIdentifier) -> Self {
        ImageManifest {
            ac_kind: KIND.to_owned(),
            ac_version: SemVer::current(),
            name,
            labels: Labels::default(),
            app: None,
            dependencies: Vec::new(),
            path_whitelist: Vec::new(),
            annotations: Annotations::default(),
            extra: Extra::new(),
        }
    }

    /// Parses and checks a manifest of at most [`crate::MAX_MANIFEST`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        parse(bytes)
    }

    /// Checks a manifest that was put together in memory, as [`ImageManifest::parse`] does.
    pub fn validate(&self) -> Result<(), Error> {
        self.check(&At::root())
    }

    /// Compact JSON, the same bytes for the same manifest.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// The `version` label.
    pub fn version(&self) -> Option<&str> {
        self.labels.get("version")
    }
}

impl Check for ImageManifest {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        if self.ac_kind != KIND {
            return Err(at.field("acKind").fail(format!("must be {KIND}")));
        }
        self.labels.check(&at.field("labels"))?;
        if let Some(app) = &self.app {
            app.check(&at.field("app"))?;
        }
        each(&self.dependencies, &at.field("dependencies"))?;
        let paths = at.field("pathWhitelist");
        for (i, path) in self.path_whitelist.iter().enumerate() {
            absolute_path(path, &paths.index(i))?;
        }
        self.annotations.check(&at.field("annotations"))
    }
}
