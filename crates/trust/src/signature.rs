//! Detached signatures, and the bytes they are about.

use std::io::Cursor;
use std::time::{SystemTime, UNIX_EPOCH};

use digest::DynDigest;
use pgp::composed::{Deserializable, DetachedSignature};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType, SignatureVersionSpecific};
use sha::{Running, Sha512};

use crate::hasher::Hasher;
use crate::validity::{Component, secure};
use crate::{Error, Key, Reason, Result};

/// Signatures in one file: each costs a pass of hashing.
const MAX_SIGNATURES: usize = 8;
/// Clocks may differ by this many seconds.
const SKEW: u32 = 600;

/// The signatures of a file.
#[derive(Debug)]
pub struct Signatures(Vec<Signature>);

/// Who made a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The fingerprint of the certificate.
    pub fingerprint: String,
    /// Its user ids, without control characters.
    pub user_ids: Vec<String>,
}

impl Signatures {
    /// Reads a detached signature, armoured or binary.
    ///
    /// # Errors
    /// It is none, or there are too many.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let bad = |error| Error::BadSignature(Box::new(error));
        let (found, _) =
            DetachedSignature::from_reader_many_buf(Cursor::new(bytes)).map_err(bad)?;
        let mut list = Vec::new();
        for signature in found {
            if list.len() == MAX_SIGNATURES {
                return Err(Error::TooMany {
                    what: "signatures",
                    limit: MAX_SIGNATURES,
                });
            }
            list.push(signature.map_err(bad)?.signature);
        }
        match list.is_empty() {
            true => Err(Error::NoSignature),
            false => Ok(Self(list)),
        }
    }

    /// Begins to look at what is signed.
    ///
    /// # Errors
    /// None of the signatures is of a kind that counts.
    pub fn hashing(self) -> Result<Hashing> {
        let (mut under_way, mut refused) = (Vec::new(), None);
        for signature in self.0 {
            match start(&signature) {
                Ok(hasher) => under_way.push((signature, hasher)),
                Err(reason) => refused = Some(refusal(maker(&signature), reason)),
            }
        }
        match refused {
            Some(refused) if under_way.is_empty() => Err(refused),
            _ => Ok(Hashing { under_way }),
        }
    }
}

/// Signatures and what was seen so far of the bytes they are about.
pub struct Hashing {
    under_way: Vec<(Signature, Hasher)>,
}

impl std::fmt::Debug for Hashing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hashing").finish_non_exhaustive()
    }
}

impl Hashing {
    /// Leaves the SHA-512 of the bytes to somebody who computes it anyway and gives it to
    /// [`Hashing::verify`]: an image's ID is the same hash as most signatures' where the image is
    /// not compressed. To be said before the first byte.
    pub fn leave_sha512(&mut self) {
        for (_, hasher) in &mut self.under_way {
            if matches!(hasher, Hasher::Sha512(_)) {
                *hasher = Hasher::Elsewhere;
            }
        }
    }

    /// Whether anything is left for [`Hashing::update`] to do.
    pub fn wants_bytes(&self) -> bool {
        let mut hashers = self.under_way.iter().map(|(_, hasher)| hasher);
        hashers.any(|hasher| !matches!(hasher, Hasher::Elsewhere))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for (_, hasher) in &mut self.under_way {
            hasher.update(bytes);
        }
    }

    /// Says which of the keys signed what was seen, once all of it was; `sha512` is the hash of
    /// all bytes, where it was left to somebody else.
    ///
    /// # Errors
    /// None of them, or in a way that does not count.
    pub fn verify(self, keys: &[Key], sha512: Option<&Sha512>) -> Result<Signer> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |age| u32::try_from(age.as_secs()).unwrap_or(u32::MAX));
        let mut problem = None;
        for (signature, hasher) in self.under_way {
            match verify_one(&signature, hasher.finished(sha512), keys, now) {
                Ok(signer) => return Ok(signer),
                // That a known key's signature is bad says more than that another is unknown.
                Err(Error::Unknown(_)) if problem.is_some() => {}
                Err(error) => problem = Some(error),
            }
        }
        Err(problem.unwrap_or(Error::NoSignature))
    }
}

fn refusal(key: String, reason: Reason) -> Error {
    Error::Refused { key, reason }
}

/// The key that a signature says it was made with.
fn maker(signature: &Signature) -> String {
    let print = signature
        .issuer_fingerprint()
        .first()
        .map(|p| p.to_string());
    let id = || signature.issuer_key_id().first().map(|id| id.to_string());
    print
        .or_else(id)
        .unwrap_or_else(|| "without a name".to_owned())
}

/// Checks what can be checked before the bytes are seen.
fn start(signature: &Signature) -> Result<Hasher, Reason> {
    let kind = |what: String| Err(Reason::Kind(what));
    let Some(config) = signature.config() else {
        return kind(format!("of version {:?}", signature.version()));
    };
    if config.typ() != SignatureType::Binary {
        return kind(format!("{:?}", config.typ()));
    }
    if !secure(config.hash_alg) {
        return Err(Reason::Weak(format!("the hash {}", config.hash_alg)));
    }
    let unsupported = |_| Reason::Weak(format!("the hash {}", config.hash_alg));
    let mut hasher = match (&config.version_specific, config.hash_alg) {
        (SignatureVersionSpecific::V4, HashAlgorithm::Sha512) => Hasher::Sha512(Sha512::new()),
        (_, other) => Hasher::Other(other.new_hasher().map_err(unsupported)?),
    };
    match &config.version_specific {
        SignatureVersionSpecific::V4 => {}
        SignatureVersionSpecific::V6 { salt } if config.hash_alg.salt_len() == Some(salt.len()) => {
            hasher.update(salt.as_ref());
        }
        _ => return kind(format!("of version {:?}", signature.version())),
    }
    Ok(hasher)
}

fn verify_one(
    signature: &Signature,
    mut hasher: Box<dyn DynDigest + Send>,
    keys: &[Key],
    now: u32,
) -> Result<Signer> {
    let failed = |reason| refusal(maker(signature), reason);
    let all = keys.iter().flat_map(Key::components);
    let makers: Vec<Component<'_>> = all.filter(|c| c.may_have_made(signature)).collect();
    if makers.is_empty() {
        return Err(Error::Unknown(maker(signature)));
    }
    let (Some(config), Some(raw)) = (signature.config(), signature.signature()) else {
        return Err(failed(Reason::OtherContent));
    };
    let bad = |error| Error::BadSignature(Box::new(error));
    let length = config.hash_signature_data(&mut hasher).map_err(bad)?;
    hasher.update(&config.trailer(length).map_err(bad)?);
    let digest = hasher.finalize();
    if signature.signed_hash_value().as_ref().map(|v| &v[..]) != digest.get(..2) {
        return Err(failed(Reason::OtherContent));
    }
    let hash = config.hash_alg;
    let checkable = |c: &&Component<'_>| c.checkable(hash).is_ok();
    let verifies = |c: &&Component<'_>| c.verify(hash, &digest, raw);
    let maker = makers.iter().filter(checkable).find(verifies);
    let maker = maker.ok_or_else(|| {
        let mut uncheckable = makers.iter().filter_map(|c| c.checkable(hash).err());
        failed(uncheckable.next().unwrap_or(Reason::OtherContent))
    })?;
    timely(signature, *maker, now)
        .and_then(|()| maker.check(now))
        .map_err(|reason| refusal(maker.fingerprint(), reason))?;
    Ok(Signer {
        fingerprint: maker.certificate().fingerprint(),
        user_ids: maker.certificate().user_ids(),
    })
}

fn timely(signature: &Signature, maker: Component<'_>, now: u32) -> Result<(), Reason> {
    let created = signature.created().ok_or(Reason::Time)?.as_secs();
    if created > now.saturating_add(SKEW) || created < maker.created() {
        return Err(Reason::Time);
    }
    let life = signature.signature_expiration_time();
    match life.map_or(0, |life| life.as_secs()) {
        0 => Ok(()),
        life if now < created.saturating_add(life) => Ok(()),
        _ => Err(Reason::SignatureExpired),
    }
}
