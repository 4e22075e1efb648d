//! Image files and what vouches for them (page "Signing and Verification Guide").

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use appc::AcIdentifier;
use distribution::Docker;
use fetch::{Signed, SimpleSigning};
use oci::Digest;
use store::{Accepting, Compression};
use trust::{Hashing, Keystore, Signatures, Signer};

use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::output;

/// No signature file is larger.
pub(crate) const LIMIT: u64 = 1 << 20;

/// What vouches for an image file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Voucher<'a> {
    /// The place where it lies: it was installed with rkt.
    Place,
    /// A signature: in this file, or else in the one beside the image; unless the user does not
    /// want signatures checked.
    Signature(&'a Context, Option<&'a str>),
}

/// Says whether an OCI image may be used: a trusted cosign key must have signed one of its digests,
/// as the image of this repository (`REGISTRY/REPOSITORY`) where it is known to be of one.
pub(crate) fn vouch_oci(
    context: &Context,
    image: &str,
    repository: Option<&str>,
    digests: &[Digest],
    source: &dyn Signed,
) -> Result<(), Failure> {
    if context.insecure.image {
        output::note("warning: image signature verification has been disabled");
        return Ok(());
    }
    let problem = || format!("cannot verify {image}");
    let keystore = Keystore::new(&context.dirs.system, &context.dirs.local);
    let mut refused: Option<String> = None;
    for digest in digests {
        for signed in source.signatures(digest).doing_with(problem)? {
            match claim(&keystore, repository, digest, &signed).doing_with(problem)? {
                Ok(fingerprint) => {
                    output::note(&format!("signature verified:\n  cosign key {fingerprint}"));
                    return Ok(());
                }
                Err(reason) => refused = Some(reason),
            }
        }
    }
    Err(Failure::new(match refused {
        Some(reason) => format!("the signature of {image} is refused: {reason}"),
        None => format!("{image} is not signed (--insecure-options=image does without signatures)"),
    }))
}

/// The fingerprint of the trusted key that signed a digest, or why there is none.
fn claim(
    keystore: &Keystore,
    repository: Option<&str>,
    digest: &Digest,
    signed: &SimpleSigning,
) -> Result<Result<String, String>, trust::Error> {
    // Which keys count depends on the name; without one, on the name that the signature gives.
    let told = told(&signed.payload);
    let name = repository.map(str::to_owned).or_else(|| told.clone());
    let name = name.and_then(|name| AcIdentifier::sanitize(&name).ok());
    let Some(name) = name else {
        return Ok(Err("it does not say which image it is for".to_owned()));
    };
    for key in keystore.cosign_keys_for(&name)? {
        let Some(claim) = key.verify(&signed.payload, &signed.signature)? else {
            continue;
        };
        if claim.digest != digest.as_str() {
            return Ok(Err(format!("it is for {}", claim.digest)));
        }
        if let (Some(repository), Some(told)) = (repository, &told)
            && repository != told
        {
            return Ok(Err(format!("it is for {told}")));
        }
        return Ok(Ok(claim.fingerprint));
    }
    Ok(Err(format!(
        "no key that is trusted for {:?} made it",
        name.as_str()
    )))
}

/// The repository that a signed document speaks of.
fn told(payload: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let text = document["critical"]["identity"]["docker-reference"].as_str()?;
    let image = Docker::parse(text).ok()?;
    Some(format!("{}/{}", image.registry, image.repository))
}

/// An image file that is read once: what the store reads is what was signed.
#[derive(Debug)]
pub(crate) struct ImageFile {
    file: File,
    signature: Option<(Witness, Keystore)>,
}

impl ImageFile {
    /// Opens an image file and its signature.
    pub(crate) fn open(path: &Path, voucher: Voucher<'_>) -> Result<Self, Failure> {
        let shown = path.display();
        let file = File::open(path).doing_with(|| format!("cannot open \"{shown}\""))?;
        let kind = file
            .metadata()
            .doing_with(|| format!("cannot inspect \"{shown}\""))?;
        if kind.is_dir() {
            return Err(Failure::new(format!(
                "\"{shown}\" is a directory, not an ACI"
            )));
        }
        let signature = match voucher {
            Voucher::Place => None,
            Voucher::Signature(context, _) if context.insecure.image => {
                output::note("warning: image signature verification has been disabled");
                None
            }
            Voucher::Signature(context, given) => {
                let beside = || PathBuf::from(format!("{shown}.asc"));
                let path = given.map_or_else(beside, PathBuf::from);
                let keystore = Keystore::new(&context.dirs.system, &context.dirs.local);
                Some((read_signature(&path)?, keystore))
            }
        };
        Ok(Self { file, signature })
    }

    /// Says whether the file may be used as the image of this name: what of it was not read yet is
    /// read, since all of it was signed.
    pub(crate) fn vouch(read: Accepting<'_, Self>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Accepting {
            mut source,
            manifest,
            hash,
        } = read;
        if source.signature.is_some() {
            std::io::copy(&mut source, &mut std::io::sink())?;
        }
        let Some((witness, keystore)) = source.signature else {
            return Ok(());
        };
        let signer = witness
            .hashing
            .verify(&keystore.keys_for(&manifest.name)?, hash)?;
        tell(&signer);
        Ok(())
    }
}

/// A signature whose bytes pass by on their way to the store.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) hashing: Hashing,
    begun: bool,
}

impl Witness {
    /// Takes a signature's file.
    pub(crate) fn parse(signature: &[u8]) -> trust::Result<Self> {
        Ok(Self {
            hashing: Signatures::parse(signature)?.hashing()?,
            begun: false,
        })
    }

    /// Sees the next bytes. An archive that is not compressed is hashed by the store, as
    /// [`Accepting::hash`] says.
    pub(crate) fn see(&mut self, bytes: &[u8]) {
        if !std::mem::replace(&mut self.begun, true)
            && Compression::sniff(bytes) == Some(Compression::None)
        {
            self.hashing.leave_sha512();
        }
        self.hashing.update(bytes);
    }
}

/// Says who signed an image.
pub(crate) fn tell(signer: &Signer) {
    let mut text = String::from("signature verified:");
    for user in match signer.user_ids.as_slice() {
        [] => std::slice::from_ref(&signer.fingerprint),
        users => users,
    } {
        text.push_str("\n  ");
        text.push_str(user);
    }
    output::note(&text);
}

impl Read for ImageFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buffer)?;
        if let Some((witness, _)) = &mut self.signature {
            witness.see(buffer.get(..n).unwrap_or_default());
        }
        Ok(n)
    }
}

pub(crate) fn read_signature(path: &Path) -> Result<Witness, Failure> {
    let problem = || {
        format!(
            "cannot use the signature \"{}\" (--signature names another file; --insecure-options=image does without)",
            path.display()
        )
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LIMIT).read_to_end(&mut bytes))
        .doing_with(problem)?;
    Witness::parse(&bytes).doing_with(problem)
}
