//! The pod manifest (specification, pods.md, "Pod Manifest Schema").

use serde::{Deserialize, Serialize};

use crate::app::UserMap;
use crate::check::{At, Check, each, unique};
use crate::json::{Extra, is_false, nullable, parse, to_json};
use crate::{
    AcIdentifier, AcName, Annotations, App, Error, ExposedPort, Hash, Isolators, Labels, Mount,
    SemVer, Volume,
};

const KIND: &str = "PodManifest";

fn kind<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<String, D::Error> {
    crate::json::kind(reader, KIND)
}

/// The manifest of a pod: its apps and what they share.
///
/// The lists are written even when empty, as the original wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodManifest {
    /// The version of the specification it was written for.
    #[serde(rename = "acVersion")]
    pub ac_version: SemVer,
    /// Always `PodManifest`.
    #[serde(rename = "acKind", deserialize_with = "kind")]
    pub ac_kind: String,
    /// The apps; names are unique.
    #[serde(default, deserialize_with = "nullable")]
    pub apps: Vec<RuntimeApp>,
    /// What the apps may mount; names are unique.
    #[serde(default, deserialize_with = "nullable")]
    pub volumes: Vec<Volume>,
    /// Isolators of the whole pod.
    #[serde(default, deserialize_with = "nullable")]
    pub isolators: Isolators,
    /// Annotations of the whole pod.
    #[serde(default, deserialize_with = "nullable")]
    pub annotations: Annotations,
    /// Ports exposed on the host; names are unique.
    #[serde(default, deserialize_with = "nullable")]
    pub ports: Vec<ExposedPort>,
    /// Annotations that a user gave, without rules.
    #[serde(
        rename = "userAnnotations",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "UserMap::is_empty"
    )]
    pub user_annotations: UserMap,
    /// Labels that a user gave, without rules.
    #[serde(
        rename = "userLabels",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "UserMap::is_empty"
    )]
    pub user_labels: UserMap,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

/// An app of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeApp {
    /// The app's name in the pod.
    pub name: AcName,
    /// The image it comes from.
    pub image: RuntimeImage,
    /// Stands for the `app` of the image's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// Whether its root is mounted read-only.
    #[serde(
        rename = "readOnlyRootFS",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "is_false"
    )]
    pub read_only_rootfs: bool,
    /// Volumes at paths of the app.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub mounts: Vec<Mount>,
    /// Annotations; they go before those of the image.
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

/// The image of an app of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeImage {
    /// The image's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<AcIdentifier>,
    /// The image's ID.
    pub id: Hash,
    /// The image's labels.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Labels::none"
    )]
    pub labels: Labels,
    /// Members that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

impl PodManifest {
    /// A manifest without apps.
    pub fn new() -> Self {
        PodManifest {
            ac_version: SemVer::current(),
            ac_kind: KIND.to_owned(),
            apps: Vec::new(),
            volumes: Vec::new(),
            isolators: Isolators::default(),
            annotations: Annotations::default(),
            ports: Vec::new(),
            user_annotations: UserMap::new(),
            user_labels: UserMap::new(),
            extra: Extra::new(),
        }
    }

    /// Parses and checks a manifest of at most [`crate::MAX_MANIFEST`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        parse(bytes)
    }

    /// Checks a manifest that was put together in memory, as [`PodManifest::parse`] does.
    pub fn validate(&self) -> Result<(), Error> {
        self.check(&At::root())
    }

    /// Compact JSON, the same bytes for the same manifest.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// The app with a name.
    pub fn app(&self, name: &str) -> Option<&RuntimeApp> {
        self.apps.iter().find(|a| a.name == name)
    }

    /// The volume that a mount means: its own, or the pod's of that name.
    pub fn volume_of<'a>(&'a self, mount: &'a Mount) -> Option<&'a Volume> {
        let pod_volume = || self.volumes.iter().find(|v| v.name == mount.volume);
        mount.app_volume.as_ref().or_else(pod_volume)
    }
}

impl Default for PodManifest {
    fn default() -> Self {
        PodManifest::new()
    }
}

impl RuntimeApp {
    /// An app that runs as its image says.
    pub fn new(name: AcName, image: RuntimeImage) -> Self {
        RuntimeApp {
            name,
            image,
            app: None,
            read_only_rootfs: false,
            mounts: Vec::new(),
            annotations: Annotations::default(),
            extra: Extra::new(),
        }
    }
}

impl RuntimeImage {
    /// An image known by its ID alone.
    pub fn new(id: Hash) -> Self {
        RuntimeImage {
            name: None,
            id,
            labels: Labels::default(),
            extra: Extra::new(),
        }
    }
}

impl Check for PodManifest {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        if self.ac_kind != KIND {
            return Err(at.field("acKind").fail(format!("must be {KIND}")));
        }
        let (apps, volumes, ports) = (at.field("apps"), at.field("volumes"), at.field("ports"));
        unique(&self.apps, &apps, |a| &a.name)?;
        each(&self.apps, &apps)?;
        unique(&self.volumes, &volumes, |v| &v.name)?;
        each(&self.volumes, &volumes)?;
        unique(&self.ports, &ports, |p| &p.name)?;
        each(&self.ports, &ports)?;
        self.isolators.check(&at.field("isolators"))?;
        self.annotations.check(&at.field("annotations"))
    }
}

impl Check for RuntimeApp {
    fn check(&self, at: &At<'_>) -> Result<(), Error> {
        self.image
            .labels
            .check(&at.field("image").field("labels"))?;
        if let Some(app) = &self.app {
            app.check(&at.field("app"))?;
        }
        each(&self.mounts, &at.field("mounts"))?;
        self.annotations.check(&at.field("annotations"))
    }
}
