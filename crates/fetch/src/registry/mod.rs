//! Images of registries (Docker registry HTTP API v2, OCI distribution specification).

mod blobs;
mod session;

use config::{Basic, Login};
use distribution::Docker;
use oci::{Descriptor, Digest, Document, Platform, media};
use store::{BlobSource, Opened, Store};

use crate::image::origin;
use crate::{Client, Error, OciImage, Progress, Result, Signed, SimpleSigning, signatures};
use session::Session;

/// Indexes in indexes.
const DEPTH: usize = 4;

/// Who finds out who the user is to a registry.
pub type Logins<'a> = dyn Fn(&str) -> Result<Option<Login>> + Sync + 'a;

/// A repository of a registry.
pub struct Repository<'a> {
    session: Session<'a>,
    image: Docker,
    progress: &'a dyn Progress,
}

/// What a registry has behind a name.
pub enum Found<'a> {
    /// An image that the store has already, and the digests it was found by.
    Stored(appc::Hash, Vec<Digest>),
    /// One that it does not have.
    Image(OciImage<'a>),
}

impl<'a> Repository<'a> {
    /// Prepares to talk to the registry of an image.
    pub fn new(
        client: &'a Client,
        image: &Docker,
        logins: &'a Logins<'a>,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            session: Session::new(client, image, logins),
            image: image.clone(),
            progress,
        }
    }

    /// Finds the image for this machine. One that the store has costs one request.
    ///
    /// # Errors
    /// The registry cannot be reached, does not have it or does not give it; or it is no image.
    pub fn find(&self, store: &Store) -> Result<Found<'_>> {
        let reference = match (&self.image.digest, &self.image.tag) {
            (Some(digest), _) => digest.clone(),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
        };
        if let Some(digest) = &self.image.digest {
            let digest = Digest::parse(digest)?;
            if let Some(id) = store.by_digest(&digest)? {
                return Ok(Found::Stored(id, vec![digest]));
            }
        }
        let mut lists = Vec::new();
        let (mut bytes, mut digest) = self.manifest(&reference)?;
        for _ in 0..DEPTH {
            if let Some(id) = store.by_digest(&digest)? {
                lists.push(digest);
                return Ok(Found::Stored(id, lists));
            }
            match Document::parse(&bytes)? {
                Document::Manifest(_) => {
                    return Ok(Found::Image(OciImage {
                        manifest: bytes,
                        digest,
                        lists,
                        origin: origin(&self.image)?,
                        source: Box::new(self),
                    }));
                }
                Document::Index(index) => {
                    let chosen: &Descriptor = index.choose(&Platform::host())?;
                    lists.push(digest);
                    if let Some(id) = store.by_digest(&chosen.digest)? {
                        lists.push(chosen.digest.clone());
                        return Ok(Found::Stored(id, lists));
                    }
                    (bytes, digest) = self.manifest(chosen.digest.as_str())?;
                }
            }
        }
        Err(oci::Error::Unusable {
            what: "index",
            reason: "leads from list to list".to_owned(),
        }
        .into())
    }

    /// A manifest or an index, and its digest, by tag or digest.
    pub(crate) fn manifest(&self, reference: &str) -> Result<(Vec<u8>, Digest)> {
        let path = format!("manifests/{reference}");
        let accept = ("accept", media::ACCEPTED.join(", "));
        let response = self.session.get(&path, &[accept])?;
        let url = response.url.clone();
        let bytes = response.whole(oci::MAX_MANIFEST)?;
        let digest = store::sha256(&bytes);
        match Digest::parse(reference) {
            Ok(wanted) if wanted != digest => Err(Error::WrongDigest {
                url,
                expected: wanted.to_string(),
                found: digest.to_string(),
            }),
            _ => Ok((bytes, digest)),
        }
    }

    /// A small blob, checked.
    pub(crate) fn blob(&self, descriptor: &Descriptor, limit: usize) -> Result<Vec<u8>> {
        let path = format!("blobs/{}", descriptor.digest);
        let response = self.session.get(&path, &[])?;
        let url = response.url.clone();
        let bytes = response.whole(limit)?;
        let found = store::sha256(&bytes);
        match found == descriptor.digest {
            true => Ok(bytes),
            false => Err(Error::WrongDigest {
                url,
                expected: descriptor.digest.to_string(),
                found: found.to_string(),
            }),
        }
    }
}

impl BlobSource for Repository<'_> {
    fn open(&self, blob: &Digest, offset: u64) -> Result<Opened<'_>, store::Refusal> {
        Ok(blobs::open(&self.session, blob, offset)?)
    }

    fn progress(&self, blob: &Digest, bytes: u64, of: u64) {
        self.progress.update("layer", blob.hex(), bytes, Some(of));
    }
}

impl<S: Signed + ?Sized> Signed for &S {
    fn signatures(&self, digest: &Digest) -> Result<Vec<SimpleSigning>> {
        (**self).signatures(digest)
    }
}

impl Signed for Repository<'_> {
    fn signatures(&self, digest: &Digest) -> Result<Vec<SimpleSigning>> {
        let manifest = match self.manifest(&signatures::tag(digest)) {
            Err(error) if error.status() == Some(404) => return Ok(Vec::new()),
            other => other?.0,
        };
        signatures::read(&manifest, |d| self.blob(d, signatures::PAYLOAD))
    }
}

/// A name and a password as a header has them.
pub(crate) fn basic(login: &Basic) -> String {
    use base64::Engine;
    let pair = format!("{}:{}", login.user, login.password.reveal());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("Basic {encoded}")
}
