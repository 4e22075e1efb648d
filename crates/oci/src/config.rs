//! Image configurations (OCI image specification, "config.md").

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::manifest::nullable;
use crate::{Digest, Error, Result};

/// Bytes of a configuration.
pub const MAX_CONFIG: usize = 8 << 20;

/// What an image is for and how it is run.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// The processor, in Go's words.
    #[serde(default, deserialize_with = "nullable")]
    pub architecture: String,
    /// The operating system.
    #[serde(default, deserialize_with = "nullable")]
    pub os: String,
    /// The processor's generation.
    #[serde(default, deserialize_with = "nullable")]
    pub variant: String,
    /// Who made it.
    #[serde(default, deserialize_with = "nullable")]
    pub author: String,
    /// When, as RFC 3339 has times.
    #[serde(default, deserialize_with = "nullable")]
    pub created: String,
    /// How it is run.
    #[serde(default, deserialize_with = "nullable")]
    pub config: Execution,
    rootfs: RootFs,
}

#[derive(Debug, Clone, Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "nullable")]
    diff_ids: Vec<Digest>,
}

/// How an image is run. Docker's spelling.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Execution {
    /// `USER`, `USER:GROUP`, by name or number.
    #[serde(deserialize_with = "nullable")]
    pub user: String,
    /// `PORT` or `PORT/PROTOCOL`.
    #[serde(deserialize_with = "keys")]
    pub exposed_ports: Vec<String>,
    /// `NAME=VALUE`.
    #[serde(deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(deserialize_with = "nullable")]
    pub entrypoint: Vec<String>,
    /// Arguments, or the program where there is no entrypoint.
    #[serde(deserialize_with = "nullable")]
    pub cmd: Vec<String>,
    /// Paths that should be volumes.
    #[serde(deserialize_with = "keys")]
    pub volumes: Vec<String>,
    /// Where it starts.
    #[serde(deserialize_with = "nullable")]
    pub working_dir: String,
    /// Anything.
    #[serde(deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    /// What ends it.
    #[serde(deserialize_with = "nullable")]
    pub stop_signal: String,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        const WHAT: &str = "configuration";
        if bytes.len() > MAX_CONFIG {
            return Err(Error::TooLarge {
                what: WHAT,
                limit: MAX_CONFIG,
            });
        }
        serde_json::from_slice(bytes).map_err(|source| Error::Syntax { what: WHAT, source })
    }

    /// The digests of the uncompressed layers, the lowest first.
    ///
    /// # Errors
    /// There are not as many as the manifest has layers.
    pub fn diff_ids(&self, layers: usize) -> Result<&[Digest]> {
        match self.rootfs.diff_ids.len() == layers {
            true => Ok(&self.rootfs.diff_ids),
            false => Err(Error::Unusable {
                what: "configuration",
                reason: format!(
                    "speaks of {} layers, the manifest of {layers}",
                    self.rootfs.diff_ids.len()
                ),
            }),
        }
    }
}

/// The keys of an object whose values mean nothing, in their order; some tools write lists.
fn keys<'de, D: serde::Deserializer<'de>>(reader: D) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Object(BTreeMap<String, serde::de::IgnoredAny>),
        List(Vec<String>),
    }
    Ok(match Option::<Either>::deserialize(reader)? {
        None => Vec::new(),
        Some(Either::Object(object)) => object.into_keys().collect(),
        Some(Either::List(list)) => list,
    })
}
