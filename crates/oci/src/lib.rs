//! OCI and Docker image documents: manifests, indexes, configurations, and what an image's
//! configuration is in the words of App Container (OCI image specification; Docker image manifest
//! version 2, schema 2). Parsing and checking, no I/O.
//!
//! The `oci-spec` crate models the same documents to write them; what rkt reads comes from
//! outside, is bounded, forgives what Docker's older tools left out and refuses what two readers
//! could understand differently.
#![forbid(unsafe_code)]

mod config;
mod convert;
mod digest;
mod error;
mod manifest;

pub use config::{Config, Execution, MAX_CONFIG};
pub use convert::{Origin, from_appc, name, to_appc};
pub use digest::Digest;
pub use error::Error;
pub use manifest::{
    Descriptor, Document, Index, MAX_LAYERS, MAX_MANIFEST, Manifest, Platform, media,
};

/// What operations of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
