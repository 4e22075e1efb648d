//! OCI images: kept as they were published, under the digests that their parts have.
//!
//! ```text
//! cas/blob/sha512/XX/<id>               the manifest; its presence says that the image is there
//! cas/blob/sha256/XX/sha256-<digest>    the manifest again (a link), configuration and layers
//! cas/imageManifest/sha512/XX/<id>      what the image is in the words of App Container
//! cas/tree/layer-sha256-<digest>/       a layer, unpacked by itself: overlayfs lays them over
//!                                       each other, so that images share what they share
//! cas/tree/deps-sha512-<digest>/        an image: the names of its layers' trees, and on top what
//!                                       only this combination needs
//! cas/tmp/sha256-<digest>               a layer that is arriving, to be resumed
//! ```
//!
//! An image's ID is the SHA-512 of its manifest, which fixes the rest through the digests in it.
//!
//! A layer's bytes are checked against their digest when they arrive. The archive in them, its bounds
//! and its own digest are checked by whoever unpacks it, before anything of it is used: at once where
//! a tree is built, which takes root; else by the first that builds one, or writes the files elsewhere.

mod collect;
mod entries;
mod export;
mod layer;
mod merged;
mod pull;
mod stack;

use std::fs::{self, File};
use std::io::{ErrorKind, Read};

use appc::{AcIdentifier, Hash, ImageManifest};
use oci::{Config, Digest, Manifest, Origin};

use crate::digest::{key, sha256_bytes};
use crate::layout::Layout;
use crate::shared;
use crate::{Error, ImageKind, Result, Store};

pub(crate) use entries::write_plain;
pub use export::write_aci;
pub use layer::{BlobSource, Opened, check_layer};
pub use pull::Puller;

/// The parts of an image that is there.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) manifest: Manifest,
    pub(crate) layers: Vec<LayerId>,
}

/// A layer by both its digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerId {
    /// Of the bytes as they were published.
    pub(crate) blob: Digest,
    pub(crate) size: u64,
    /// Of the archive.
    pub(crate) diff: Digest,
}

impl LayerId {
    /// The layers of an image, the lowest first.
    pub(crate) fn all(manifest: &Manifest, config: &Config) -> Result<Vec<Self>> {
        let diffs = config.diff_ids(manifest.layers.len())?;
        let pairs = manifest.layers.iter().zip(diffs);
        Ok(pairs
            .map(|(layer, diff)| LayerId {
                blob: layer.digest.clone(),
                size: layer.size,
                diff: diff.clone(),
            })
            .collect())
    }

    /// The name of its tree.
    pub(crate) fn tree(&self) -> String {
        format!("layer-{}", self.diff.file_name())
    }

    /// Checks the digest of what the blob holds.
    ///
    /// # Errors
    /// It is not the archive that the image's configuration names.
    pub(crate) fn must_unpack_to(&self, found: Digest) -> Result<()> {
        match found == self.diff {
            true => Ok(()),
            false => Err(Error::WrongDiff {
                layer: self.blob.clone(),
                expected: self.diff.clone(),
                found,
            }),
        }
    }
}

/// How the image with this blob is stored: a manifest is JSON, an archive begins with a name.
pub(crate) fn kind(layout: &Layout, id: &Hash) -> Result<ImageKind> {
    let path = layout.blob(id);
    let mut first = [0];
    let read = shared::open(&path).and_then(|mut file| file.read(&mut first));
    match read {
        Ok(1) if first[0] == b'{' => Ok(ImageKind::Oci),
        Ok(_) => Ok(ImageKind::Aci),
        Err(e) => Err(Error::io("read", &path)(e)),
    }
}

/// A whole small blob, which still is what its name says.
pub(crate) fn small_blob(layout: &Layout, digest: &Digest, limit: usize) -> Result<Vec<u8>> {
    let path = layout.oci_blob(digest);
    let mut bytes = Vec::new();
    match shared::open(&path).and_then(|f| f.take(limit as u64 + 1).read_to_end(&mut bytes)) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(Error::MissingBlob(digest.clone()));
        }
        other => other.map_err(Error::io("read", &path))?,
    };
    let found = sha256_bytes(&bytes);
    match found == *digest {
        true => Ok(bytes),
        false => Err(Error::ChangedBlob {
            digest: digest.clone(),
            found: Some(found),
        }),
    }
}

impl Store {
    /// How an image is stored.
    pub fn kind(&self, id: &Hash) -> Result<ImageKind> {
        kind(self.layout(), &self.require(id)?)
    }

    /// The image with this registry digest of its manifest.
    pub fn by_digest(&self, digest: &Digest) -> Result<Option<Hash>> {
        if !self.layout().oci_blob(digest).exists() {
            return Ok(None);
        }
        let bytes = small_blob(self.layout(), digest, oci::MAX_MANIFEST)?;
        let id = key(&bytes);
        Ok(self.contains(&id).then_some(id))
    }

    /// An OCI image's own manifest, byte for byte.
    ///
    /// # Errors
    /// [`Error::Changed`] when it was changed on disk.
    pub fn oci_manifest(&self, id: &Hash) -> Result<Vec<u8>> {
        let id = self.require(id)?;
        manifest_bytes(self.layout(), &id)
    }

    /// A small part of an OCI image: its configuration.
    pub fn oci_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        small_blob(self.layout(), digest, oci::MAX_CONFIG)
    }

    /// Opens a part of an OCI image as it is on disk.
    pub fn open_oci_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.layout().oci_blob(digest);
        shared::open(&path).map_err(Error::io("open", &path))
    }

    pub(crate) fn parts(&self, id: &Hash) -> Result<Parts> {
        let manifest = Manifest::parse(&manifest_bytes(self.layout(), id)?)?;
        let config = small_blob(self.layout(), &manifest.config.digest, oci::MAX_CONFIG)?;
        let layers = LayerId::all(&manifest, &Config::parse(&config)?)?;
        Ok(Parts { manifest, layers })
    }
}

fn manifest_bytes(layout: &Layout, id: &Hash) -> Result<Vec<u8>> {
    let path = layout.blob(id);
    let mut bytes = Vec::new();
    shared::open(&path)
        .and_then(|file| {
            file.take(oci::MAX_MANIFEST as u64 + 1)
                .read_to_end(&mut bytes)
        })
        .map_err(Error::io("read", &path))?;
    let found = key(&bytes);
    match found == *id {
        true => Ok(bytes),
        false => Err(Error::Changed {
            id: id.clone(),
            found,
        }),
    }
}

/// The registry digest of an image's manifest.
pub(crate) fn digest(layout: &Layout, id: &Hash) -> Result<Digest> {
    Ok(sha256_bytes(&manifest_bytes(layout, id)?))
}

/// The App Container manifest of an image whose own was lost, and with it where it came from.
pub(crate) fn made_up_manifest(layout: &Layout, id: &Hash) -> Result<ImageManifest> {
    let bytes = manifest_bytes(layout, id)?;
    let digest = sha256_bytes(&bytes);
    let manifest = Manifest::parse(&bytes)?;
    let config = small_blob(layout, &manifest.config.digest, oci::MAX_CONFIG)?;
    let origin = Origin {
        name: AcIdentifier::parse(&format!("oci/{}", digest.file_name()))?,
        tag: None,
        repository: None,
        original: String::new(),
    };
    let config = Config::parse(&config)?;
    Ok(oci::to_appc(
        &config,
        &manifest.config.digest,
        &digest,
        &origin,
    )?)
}

/// Bytes of an image on disk, but for its trees.
pub(crate) fn size(layout: &Layout, id: &Hash) -> u64 {
    let manifest = manifest_bytes(layout, id).and_then(|bytes| {
        let manifest = Manifest::parse(&bytes)?;
        Ok(manifest.size().saturating_add(bytes.len() as u64))
    });
    manifest.unwrap_or_else(|_| fs::metadata(layout.blob(id)).map_or(0, |m| m.len()))
}
