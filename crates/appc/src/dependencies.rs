//! Dependencies of an image (specification, aci.md, "dependencies").

use serde::{Deserialize, Serialize};

use crate::check::{At, Check};
use crate::json::{Extra, nullable};
use crate::{AcIdentifier, Error, Hash, ImageManifest, Labels};

/// An image whose files lie below those of the image that names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The image's name.
    #[serde(rename = "imageName")]
    pub image_name: AcIdentifier,
    /// The image's ID, when exactly one image will do.
    #[serde(rename = "imageID", default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<Hash>,
    /// Labels that the image must have.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Labels::none"
    )]
    pub labels: Labels,
    /// The image's size in bytes, against endless downloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Dependency {
    /// Whether the image with this manifest and ID is the one asked for: the name is the same,
    /// and the ID where one is given, else the labels (aci.md, "Dependency Matching").
    pub fn matches(&self, manifest: &ImageManifest, id: &Hash) -> bool {
        self.image_name == manifest.name
            && match &self.image_id {
                Some(wanted) => wanted.same_as(id),
                None => self.labels.satisfied_by(&manifest.labels),
            }
    }
}

impl Check for Dependency {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        self.labels.check(&at.field("labels"))
    }
}
