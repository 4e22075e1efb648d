//! Where cosign puts signatures: beside the image, under a tag that its digest gives.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci::{Descriptor, Digest};
use serde::Deserialize;
use store::BlobSource;

use crate::Result;

/// The annotation that holds a signature.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Bytes of what is signed.
pub(crate) const PAYLOAD: usize = 64 << 10;
/// Signatures of one image.
const MAX: usize = 32;

/// A document and a signature of it.
#[derive(Debug, Clone)]
pub struct SimpleSigning {
    /// What is signed.
    pub payload: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

/// Where images are with their signatures.
pub trait Signed: BlobSource {
    /// The signatures of the image or list with a digest; none if there are none.
    ///
    /// # Errors
    /// They cannot be had.
    fn signatures(&self, digest: &Digest) -> Result<Vec<SimpleSigning>>;
}

/// The tag of the signatures of a digest.
pub(crate) fn tag(digest: &Digest) -> String {
    format!("{}.sig", digest.file_name())
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(flatten)]
    descriptor: Descriptor,
}

/// The signatures that a manifest of signatures lists; `get` gets a document.
pub(crate) fn read(
    manifest: &[u8],
    get: impl Fn(&Descriptor) -> Result<Vec<u8>>,
) -> Result<Vec<SimpleSigning>> {
    let parsed = serde_json::from_slice::<Manifest>(manifest);
    let manifest = parsed.map_err(|source| oci::Error::Syntax {
        what: "manifest of signatures",
        source,
    })?;
    let mut found = Vec::new();
    for layer in manifest.layers.into_iter().take(MAX) {
        let annotations: &BTreeMap<String, String> = &layer.descriptor.annotations;
        let signature = annotations
            .get(SIGNATURE)
            .map(|s| STANDARD.decode(s.trim()));
        if let Some(Ok(signature)) = signature {
            let payload = get(&layer.descriptor)?;
            found.push(SimpleSigning { payload, signature });
        }
    }
    Ok(found)
}
