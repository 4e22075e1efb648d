//! Which keys of a certificate may sign today.
//!
//! Signatures inside the certificate are checked one by one, and only those of the certificate's
//! own primary key count; of several the newest does.

use pgp::composed::SignedPublicSubKey;
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, PublicParams, SignatureBytes, SignedUser, Tag, VerifyingKey};
use rsa::traits::PublicKeyParts;

use crate::{Key, Reason};

/// The smallest RSA key, in bits.
const RSA_BITS: usize = 2048;

/// A key that may have signed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Component<'a> {
    Primary(&'a Key),
    Sub(&'a Key, &'a SignedPublicSubKey),
}

impl<'a> Component<'a> {
    pub(crate) fn certificate(self) -> &'a Key {
        match self {
            Self::Primary(key) | Self::Sub(key, _) => key,
        }
    }

    fn details(self) -> &'a dyn KeyDetails {
        match self {
            Self::Primary(key) => &key.certificate.primary_key,
            Self::Sub(_, sub) => &sub.key,
        }
    }

    pub(crate) fn created(self) -> u32 {
        self.details().created_at().as_secs()
    }

    pub(crate) fn fingerprint(self) -> String {
        self.details().fingerprint().to_string()
    }

    /// Whether a signature names this key as its maker, or names none.
    pub(crate) fn may_have_made(self, signature: &Signature) -> bool {
        let (ids, prints) = (signature.issuer_key_id(), signature.issuer_fingerprint());
        let (id, print) = (self.details().legacy_key_id(), self.details().fingerprint());
        let nameless = ids.is_empty() && prints.is_empty();
        nameless || ids.contains(&&id) || prints.contains(&&print)
    }

    pub(crate) fn verify(self, hash: HashAlgorithm, digest: &[u8], by: &SignatureBytes) -> bool {
        match self {
            Self::Primary(key) => key.certificate.primary_key.verify(hash, digest, by),
            Self::Sub(_, sub) => sub.key.verify(hash, digest, by),
        }
        .is_ok()
    }

    /// Whether signatures of this key with this hash can be checked at all.
    pub(crate) fn checkable(self, hash: HashAlgorithm) -> Result<(), Reason> {
        match self.details().public_params() {
            PublicParams::ECDSA(key) if !key.is_supported() => {
                let curve = key.curve().name().to_owned();
                Err(Reason::Unsupported(format!(
                    "an ECDSA key on the curve {curve}"
                )))
            }
            // RFC 9580, section 5.2.3.3: at least as long as those of SHA-256.
            PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) | PublicParams::Ed448(_)
                if hash == HashAlgorithm::Sha224 =>
            {
                Err(Reason::Weak(format!("the hash {hash} with an EdDSA key")))
            }
            _ => Ok(()),
        }
    }

    /// Whether it may sign at this time, in seconds of Unix.
    pub(crate) fn check(self, now: u32) -> Result<(), Reason> {
        self.certificate().check_primary(now)?;
        match self {
            Self::Primary(key) => match key.self_signature(now) {
                // Before there were flags, every key that could sign was for signing.
                Some(by) if by.key_flags().sign() || !has_flags(by) => {}
                _ => return Err(Reason::NotForSigning),
            },
            Self::Sub(key, sub) => key.check_subkey(sub, now)?,
        }
        strong(self.details().public_params())
    }
}

impl Key {
    /// The primary key and all subkeys.
    pub(crate) fn components(&self) -> impl Iterator<Item = Component<'_>> {
        let subkeys = self.certificate.public_subkeys.iter();
        std::iter::once(Component::Primary(self))
            .chain(subkeys.map(move |sub| Component::Sub(self, sub)))
    }

    /// The certificate as a whole: neither revoked nor expired.
    fn check_primary(&self, now: u32) -> Result<(), Reason> {
        let primary = &self.certificate.primary_key;
        let mut revocations = self.certificate.details.revocation_signatures.iter();
        if revocations.any(|by| by.verify_key(primary).is_ok()) {
            return Err(Reason::Revoked);
        }
        let by = self.self_signature(now).ok_or(Reason::Unbound)?;
        expired(by, primary.created_at().as_secs(), now)
    }

    /// The newest statement of the primary key about itself.
    fn self_signature(&self, now: u32) -> Option<&Signature> {
        let details = &self.certificate.details;
        let primary = &self.certificate.primary_key;
        let direct = details.direct_signatures.iter();
        let direct = direct.filter(|by| {
            by.typ() == Some(SignatureType::Key) && acceptable(by) && by.verify_key(primary).is_ok()
        });
        let users = details.users.iter().filter(|user| self.confirms(user));
        newest(
            direct.chain(users.flat_map(|u| self.certifications(u))),
            now,
        )
    }

    /// Whether the key stands by a user id.
    pub(crate) fn confirms(&self, user: &SignedUser) -> bool {
        let latest = self.certifications(user).filter_map(when).max();
        let revoked = self.own(user, |by| by.typ() == Some(SignatureType::CertRevocation));
        let revoked = revoked.filter_map(when).max();
        latest.is_some() && revoked < latest
    }

    fn certifications<'a>(&'a self, user: &'a SignedUser) -> impl Iterator<Item = &'a Signature> {
        self.own(user, |by| {
            by.typ() != Some(SignatureType::CertRevocation) && acceptable(by)
        })
    }

    /// The primary key's own signatures over a user id.
    fn own<'a>(
        &'a self,
        user: &'a SignedUser,
        wanted: impl Fn(&Signature) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Signature> {
        let primary = &self.certificate.primary_key;
        user.signatures.iter().filter(move |by| {
            wanted(by)
                && by
                    .verify_certification(primary, Tag::UserId, &user.id)
                    .is_ok()
        })
    }

    fn check_subkey(&self, sub: &SignedPublicSubKey, now: u32) -> Result<(), Reason> {
        let primary = &self.certificate.primary_key;
        let valid = |by: &&Signature| by.verify_subkey_binding(primary, &sub.key).is_ok();
        let revokes = |by: &&Signature| by.typ() == Some(SignatureType::SubkeyRevocation);
        if sub.signatures.iter().filter(revokes).any(|by| valid(&by)) {
            return Err(Reason::Revoked);
        }
        let bindings = sub.signatures.iter().filter(|by| {
            by.typ() == Some(SignatureType::SubkeyBinding) && acceptable(by) && valid(by)
        });
        let binding = newest(bindings, now).ok_or(Reason::Unbound)?;
        expired(binding, sub.key.created_at().as_secs(), now)?;
        if !binding.key_flags().sign() {
            return Err(Reason::NotForSigning);
        }
        // Else anybody could claim somebody's signing key as a subkey.
        let back = binding.embedded_signature().filter(|by| acceptable(by));
        match back.map(|by| by.verify_primary_key_binding(&sub.key, primary)) {
            Some(Ok(())) => Ok(()),
            _ => Err(Reason::Unbound),
        }
    }
}

/// Hashes that old certificates are held together with; collisions in SHA-1 are detected.
fn acceptable(by: &Signature) -> bool {
    by.hash_alg()
        .is_some_and(|hash| hash == HashAlgorithm::Sha1 || secure(hash))
}

/// Hashes that signatures of files may use.
pub(crate) fn secure(hash: HashAlgorithm) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha224, Sha256, Sha384, Sha512};
    matches!(
        hash,
        Sha224 | Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512
    )
}

fn strong(params: &PublicParams) -> Result<(), Reason> {
    let weak = |what: String| Err(Reason::Weak(what));
    match params {
        PublicParams::RSA(rsa) if rsa.key.n().bits() < RSA_BITS => {
            weak(format!("an RSA key of {} bits", rsa.key.n().bits()))
        }
        PublicParams::RSA(_)
        | PublicParams::ECDSA(_)
        | PublicParams::EdDSALegacy(_)
        | PublicParams::Ed25519(_)
        | PublicParams::Ed448(_) => Ok(()),
        PublicParams::DSA(_) => weak("a DSA key".to_owned()),
        _ => Err(Reason::NotForSigning),
    }
}

fn when(by: &Signature) -> Option<u32> {
    by.created().map(|time| time.as_secs())
}

fn newest<'a>(all: impl Iterator<Item = &'a Signature>, now: u32) -> Option<&'a Signature> {
    all.filter(|by| when(by).is_some_and(|time| time <= now))
        .max_by_key(|by| when(by))
}

fn has_flags(by: &Signature) -> bool {
    let mut parts = by.config().into_iter().flat_map(|c| c.hashed_subpackets());
    parts.any(|part| matches!(part.data, SubpacketData::KeyFlags(_)))
}

fn expired(by: &Signature, created: u32, now: u32) -> Result<(), Reason> {
    let life = by.key_expiration_time().map_or(0, |life| life.as_secs());
    match life == 0 || now < created.saturating_add(life) {
        true => Ok(()),
        false => Err(Reason::KeyExpired),
    }
}
