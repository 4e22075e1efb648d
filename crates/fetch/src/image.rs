//! An OCI image that was found, and how it gets into the store.

use appc::{AcIdentifier, ImageManifest};
use distribution::Docker;
use oci::{Digest, Manifest, Origin};
use store::{BlobSource, ImageInfo, Limits, Store};

use crate::{Result, Signed};

/// An OCI image at its source.
pub struct OciImage<'a> {
    /// Its manifest, byte for byte.
    pub manifest: Vec<u8>,
    /// The manifest's digest.
    pub digest: Digest,
    /// The digests of the lists that it was found through, the first asked for first.
    pub lists: Vec<Digest>,
    /// Where it comes from.
    pub origin: Origin,
    /// Where its parts come from.
    pub source: Box<dyn Signed + 'a>,
}

impl OciImage<'_> {
    /// The digests that a signature of the image may be for.
    pub fn digests(&self) -> Vec<Digest> {
        let own = std::iter::once(&self.digest);
        own.chain(&self.lists).cloned().collect()
    }

    /// Takes the image into the store. `render` unpacks its layers while they arrive.
    ///
    /// # Errors
    /// A part cannot be had, is not what its digest says, or is refused.
    pub fn import(&self, store: &Store, render: bool, latest: bool) -> Result<ImageInfo> {
        let puller = store.pull(render, Limits::default())?;
        let manifest = Manifest::parse(&self.manifest)?;
        let config = puller.config(&manifest, &self.source())?;
        let described = self.described(&manifest, &config)?;
        puller.layers(&manifest, &config, &self.source())?;
        Ok(puller.commit(&self.manifest, &described, latest)?)
    }

    fn source(&self) -> Source<'_> {
        Source(&*self.source)
    }

    fn described(&self, manifest: &Manifest, config: &oci::Config) -> Result<ImageManifest> {
        let config_digest = &manifest.config.digest;
        Ok(oci::to_appc(
            config,
            config_digest,
            &self.digest,
            &self.origin,
        )?)
    }
}

/// The image's parts without its signatures.
struct Source<'a>(&'a dyn Signed);

impl BlobSource for Source<'_> {
    fn open(&self, blob: &Digest, offset: u64) -> Result<store::Opened<'_>, store::Refusal> {
        self.0.open(blob, offset)
    }

    fn progress(&self, blob: &Digest, bytes: u64, of: u64) {
        self.0.progress(blob, bytes, of);
    }
}

/// The origin of an image of a registry.
///
/// # Errors
/// Nothing of it can be part of a name.
pub fn origin(image: &Docker) -> Result<Origin> {
    from_registry(image, &format!("docker://{image}"))
}

/// The same with what else it was called.
pub(crate) fn from_registry(image: &Docker, original: &str) -> Result<Origin> {
    let name = AcIdentifier::sanitize(&format!("{}/{}", image.registry, image.repository));
    Ok(Origin {
        name: name.map_err(oci::Error::from)?,
        tag: image.tag.clone(),
        repository: Some((image.registry.clone(), image.repository.clone())),
        original: original.to_owned(),
    })
}

/// The origin of an image in a file or directory, with the name it has there. A name that has a
/// repository in it is that of a registry's image.
pub(crate) fn from_file(
    path: &std::path::Path,
    name: Option<&str>,
    original: &str,
) -> Result<Origin> {
    if let Some(name) = name.filter(|n| n.contains('/'))
        && let Ok(image) = Docker::parse(name)
    {
        return from_registry(&image, original);
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let named = AcIdentifier::sanitize(&stem).or_else(|_| AcIdentifier::parse("image"));
    Ok(Origin {
        name: named.map_err(oci::Error::from)?,
        tag: name.map(str::to_owned),
        repository: None,
        original: original.to_owned(),
    })
}
