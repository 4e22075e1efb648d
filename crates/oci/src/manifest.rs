//! Manifests and indexes (OCI image specification, "manifest.md", "image-index.md").

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Digest, Error, Result};

/// Bytes of a manifest or an index; registries take no larger ones.
pub const MAX_MANIFEST: usize = 4 << 20;
/// Layers of an image; overlayfs stacks 500.
pub const MAX_LAYERS: usize = 256;
/// Entries of an index.
const MAX_IMAGES: usize = 4096;

/// Media types.
pub mod media {
    /// An OCI manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An OCI configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// An uncompressed OCI layer.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A Docker manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// A Docker manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// A Docker configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// What is asked for where a manifest or an index will do.
    pub const ACCEPTED: [&str; 4] = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST];

    /// Beginnings of the types of layers that are archives.
    pub(crate) const LAYERS: [&str; 4] = [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ];
}

/// What a document refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of thing it is.
    #[serde(default, deserialize_with = "nullable")]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// For which machines it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Anything else.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// A kind of machine, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The processor.
    #[serde(default, deserialize_with = "nullable")]
    pub architecture: String,
    /// The operating system.
    #[serde(default, deserialize_with = "nullable")]
    pub os: String,
    /// The processor's generation.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub variant: String,
}

impl Platform {
    /// The machine that this was compiled for.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "x86" => ("386", ""),
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", "v7"),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", ""),
            "powerpc64" => ("ppc64", ""),
            other => (other, ""),
        };
        Self {
            architecture: architecture.to_owned(),
            os: std::env::consts::OS.to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// How well an image for `self` suits a machine; `None` if it does not run there.
    fn suits(&self, machine: &Self) -> Option<u8> {
        if self.os != machine.os || self.architecture != machine.architecture {
            return None;
        }
        match (self.variant.as_str(), machine.variant.as_str()) {
            (a, b) if a == b => Some(3),
            ("", _) => Some(2),
            // 32-bit code for an older generation still runs.
            (older, newer) if self.architecture == "arm" && older < newer => Some(1),
            // "arm64" and "arm64/v8" are the same; amd64's v2 and above may not run.
            ("v1", "") if self.architecture == "amd64" => Some(2),
            _ => None,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_str() {
            "" => Ok(()),
            variant => write!(f, "/{variant}"),
        }
    }
}

/// The manifest of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// Anything else.
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests, one for each kind of machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The manifests.
    pub manifests: Vec<Descriptor>,
}

/// What a registry has behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several to choose from.
    Index(Index),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    #[serde(default, deserialize_with = "nullable")]
    media_type: String,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "nullable")]
    annotations: BTreeMap<String, String>,
}

impl Document {
    /// Reads a manifest or an index. What it is follows from its members; a document that could
    /// be read as both is refused, and one that says it is something else than it is.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        const WHAT: &str = "manifest";
        let unusable = |reason: &str| Error::Unusable {
            what: WHAT,
            reason: reason.to_owned(),
        };
        if bytes.len() > MAX_MANIFEST {
            return Err(Error::TooLarge {
                what: WHAT,
                limit: MAX_MANIFEST,
            });
        }
        let syntax = |source| Error::Syntax { what: WHAT, source };
        let version: Version = serde_json::from_slice(bytes).map_err(syntax)?;
        if version.schema_version == 1 {
            return Err(Error::Schema1);
        }
        let raw: Raw = serde_json::from_slice(bytes).map_err(syntax)?;
        if raw.schema_version != 2 {
            return Err(unusable("has an unknown schema version"));
        }
        match (raw.config, raw.layers, raw.manifests) {
            (Some(config), Some(layers), None) => {
                let own = [media::MANIFEST, media::DOCKER_MANIFEST, ""];
                if !own.contains(&raw.media_type.as_str()) {
                    return Err(unusable("says it is something else"));
                }
                let manifest = Manifest {
                    config,
                    layers,
                    annotations: raw.annotations,
                };
                manifest.check()?;
                Ok(Self::Manifest(manifest))
            }
            (None, None, Some(manifests)) => {
                let own = [media::INDEX, media::DOCKER_LIST, ""];
                if !own.contains(&raw.media_type.as_str()) {
                    return Err(unusable("says it is something else"));
                }
                if manifests.len() > MAX_IMAGES {
                    return Err(unusable("lists more than 4096 images"));
                }
                Ok(Self::Index(Index { manifests }))
            }
            _ => Err(unusable(
                "is neither that of an image nor a list of images (or claims to be both)",
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    schema_version: u32,
}

impl Manifest {
    /// Reads the manifest of one image.
    ///
    /// # Errors
    /// It is an index, or refused.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        match Document::parse(bytes)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(Error::Unusable {
                what: "manifest",
                reason: "is a list of images".to_owned(),
            }),
        }
    }

    /// Puts a manifest together, as for an image that came without one.
    pub fn write(config: &Descriptor, layers: &[Descriptor]) -> Vec<u8> {
        let document = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media::MANIFEST,
            "config": config,
            "layers": layers,
        });
        document.to_string().into_bytes()
    }

    /// Everything that the image consists of besides the manifest.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// Bytes of everything it refers to.
    pub fn size(&self) -> u64 {
        self.blobs().fold(0, |sum, d| sum.saturating_add(d.size))
    }

    fn check(&self) -> Result<()> {
        let unusable = |reason: String| Error::Unusable {
            what: "manifest",
            reason,
        };
        let config = [media::CONFIG, media::DOCKER_CONFIG, ""];
        if !config.contains(&self.config.media_type.as_str()) {
            let kind: String = self.config.media_type.chars().take(100).collect();
            return Err(unusable(format!(
                "is not that of an image but of an artifact ({kind:?})"
            )));
        }
        if self.layers.len() > MAX_LAYERS {
            return Err(unusable(format!("has more than {MAX_LAYERS} layers")));
        }
        for layer in &self.layers {
            let kind = layer.media_type.as_str();
            let known = kind.is_empty() || media::LAYERS.iter().any(|l| kind.starts_with(l));
            if !known || kind.ends_with("+encrypted") {
                let kind: String = kind.chars().take(100).collect();
                return Err(unusable(format!(
                    "has a layer of a kind that rkt cannot read ({kind:?})"
                )));
            }
        }
        Ok(())
    }
}

impl Index {
    /// The image for a kind of machine.
    ///
    /// # Errors
    /// There is none; the error says which there are.
    pub fn choose(&self, machine: &Platform) -> Result<&Descriptor> {
        let score = |d: &&Descriptor| match &d.platform {
            Some(platform) => platform.suits(machine),
            // Indexes of one image often say nothing.
            None if self.manifests.len() == 1 => Some(1),
            None => None,
        };
        let mut best: Option<(&Descriptor, u8)> = None;
        for descriptor in &self.manifests {
            if let Some(score) = score(&descriptor)
                && best.is_none_or(|(_, least)| score > least)
            {
                best = Some((descriptor, score));
            }
        }
        best.map(|(descriptor, _)| descriptor).ok_or_else(|| {
            let platforms = self.manifests.iter().filter_map(|d| d.platform.as_ref());
            let real = platforms.filter(|p| p.os != "unknown");
            Error::Platform {
                wanted: machine.to_string(),
                found: real.map(Platform::to_string).take(50).collect(),
            }
        })
    }
}

/// Reads null as nothing.
pub(crate) fn nullable<'de, D, T>(reader: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(reader)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn descriptor(kind: &str) -> serde_json::Value {
        json!({"mediaType": kind, "digest": format!("sha256:{}", "ab".repeat(32)), "size": 3})
    }

    fn parse(value: &serde_json::Value) -> Result<Document> {
        Document::parse(value.to_string().as_bytes())
    }

    #[test]
    fn what_a_document_is_follows_from_its_members() {
        let config = descriptor(media::DOCKER_CONFIG);
        let layer = descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip");
        let image = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        assert!(matches!(parse(&image).unwrap(), Document::Manifest(m) if m.layers.len() == 1));
        let list = json!({"schemaVersion": 2, "manifests": [descriptor(media::MANIFEST)]});
        assert!(matches!(parse(&list).unwrap(), Document::Index(_)));
        let mut both = image.clone();
        both["manifests"] = list["manifests"].clone();
        parse(&both).unwrap_err();
        let mut liar = image.clone();
        liar["mediaType"] = json!(media::INDEX);
        parse(&liar).unwrap_err();
        let old = json!({"schemaVersion": 1, "name": "x", "fsLayers": []});
        assert!(matches!(parse(&old), Err(Error::Schema1)));
        let mut artifact = image.clone();
        artifact["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
        assert!(parse(&artifact).unwrap_err().to_string().contains("helm"));
        let mut secret = image;
        secret["layers"][0]["mediaType"] =
            json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
        parse(&secret).unwrap_err();
    }

    #[test]
    fn the_best_image_for_a_machine_is_chosen() {
        let entry = |arch: &str, variant: &str| {
            let mut d = descriptor(media::MANIFEST);
            d["platform"] = json!({"os": "linux", "architecture": arch, "variant": variant});
            d["size"] = json!(arch.len() + variant.len());
            d
        };
        let list = json!({"schemaVersion": 2, "manifests": [
            entry("arm", "v5"), entry("arm", "v7"), entry("amd64", ""), entry("unknown", "")]});
        let Document::Index(index) = parse(&list).unwrap() else {
            panic!("no index")
        };
        let machine = |architecture: &str, variant: &str| Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.to_owned(),
        };
        let chosen = |m: &Platform| {
            index
                .choose(m)
                .map(|d| d.platform.clone().unwrap().to_string())
        };
        assert_eq!(chosen(&machine("amd64", "")).unwrap(), "linux/amd64");
        assert_eq!(chosen(&machine("arm", "v7")).unwrap(), "linux/arm/v7");
        assert_eq!(chosen(&machine("arm", "v6")).unwrap(), "linux/arm/v5");
        let none = chosen(&machine("s390x", "")).unwrap_err().to_string();
        assert!(
            none.contains("linux/s390x") && none.contains("linux/amd64"),
            "{none}"
        );
    }
}
