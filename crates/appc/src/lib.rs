//! The App Container types: names, identifiers, labels, image and pod manifests, isolators and
//! quantities, as the App Container specification 0.8.11 defines them.
//!
//! Everything here parses, checks and writes back; nothing here touches a file, so that the crate
//! can be linked into the first process of every pod.
//!
//! - [`ImageManifest::parse`] and [`PodManifest::parse`] take the bytes of a manifest from
//!   anywhere: size, depth and every field are checked, and an error names the field
//!   (`app.mountPoints[2].path: must be an absolute path`).
//! - `to_json` writes compact JSON, always the same bytes for the same value; members that the
//!   specification does not know are kept in `extra` and written after the known ones.

#![forbid(unsafe_code)]

mod annotations;
mod app;
mod check;
mod dates;
mod dependencies;
mod environment;
mod error;
mod hash;
mod image_manifest;
mod image_name;
mod isolators;
mod json;
mod labels;
mod mounts;
mod names;
mod parameters;
mod pod_manifest;
mod ports;
mod quantity;
mod semver;
mod uuid;
mod volumes;

pub use annotations::{Annotation, Annotations};
pub use app::{App, EventHandler, EventName, UserMap};
pub use dates::Date;
pub use dependencies::Dependency;
pub use environment::{Environment, EnvironmentVariable};
pub use error::Error;
pub use hash::Hash;
pub use image_manifest::ImageManifest;
pub use image_name::ImageName;
pub use isolators::{
    AppArmorProfile, CapabilitySet, Isolator, IsolatorValue, Isolators, Resource, SelinuxContext,
    SyscallSet,
};
pub use json::{Extra, MAX_MANIFEST};
pub use labels::{Label, Labels, VALID_OS_ARCH, host_os_arch};
pub use mounts::{Mount, MountPoint};
pub use names::{AcIdentifier, AcName};
pub use pod_manifest::{PodManifest, RuntimeApp, RuntimeImage};
pub use ports::{ExposedPort, Port};
pub use quantity::Quantity;
pub use semver::SemVer;
pub use uuid::Uuid;
pub use volumes::{Volume, VolumeKind};

/// The version of the App Container specification that is written into new manifests.
pub const AC_VERSION: &str = "0.8.11";
