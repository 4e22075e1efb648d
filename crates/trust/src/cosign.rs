//! Signatures of OCI images as cosign makes them: a key signs a small document that names the
//! image's digest ("simple signing").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use serde::Deserialize;

use crate::{Error, Result};

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
/// What stands before the point in a P-256 key (RFC 5480), and before an Ed25519 key (RFC 8410).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const EDWARDS: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// The type of the document that is signed.
const KIND: &str = "cosign container image signature";

/// A public key that signs OCI images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignKey {
    der: Vec<u8>,
}

/// What a signature says: this digest is the image of this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The digest of the image's manifest, or of the list it is in.
    pub digest: String,
    /// The image's name, `REGISTRY/REPOSITORY`; may be empty.
    pub reference: String,
    /// The fingerprint of the key that signed it.
    pub fingerprint: String,
}

#[derive(Deserialize)]
struct Document {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    #[serde(default)]
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize, Default)]
struct Identity {
    #[serde(rename = "docker-reference", default)]
    reference: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

impl CosignKey {
    /// Whether a file looks like such a key.
    pub fn is_one(bytes: &[u8]) -> bool {
        std::str::from_utf8(bytes).is_ok_and(|text| text.contains(BEGIN))
    }

    /// Reads a key as `cosign generate-key-pair` writes it: PEM, ECDSA on P-256 or Ed25519.
    ///
    /// # Errors
    /// It is none, or of another kind.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let bad = |reason| Error::Cosign { reason };
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not text"))?;
        let inner = text
            .split_once(BEGIN)
            .and_then(|(_, rest)| rest.split_once(END));
        let (inner, _) = inner.ok_or_else(|| bad("there is no PEM block of a public key"))?;
        let inner: String = inner.split_whitespace().collect();
        let der = STANDARD.decode(inner);
        let key = Self {
            der: der.map_err(|_| bad("its PEM block is damaged"))?,
        };
        match key.verifier().is_some() {
            true => Ok(key),
            false => Err(bad(
                "only ECDSA keys on P-256 and Ed25519 keys are supported",
            )),
        }
    }

    fn verifier(&self) -> Option<UnparsedPublicKey<&[u8]>> {
        if let Some(point) = self.der.strip_prefix(&P256[..]).filter(|p| p.len() == 65) {
            return Some(UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point));
        }
        let key = self.der.strip_prefix(&EDWARDS[..]);
        let key = key.filter(|k| k.len() == 32)?;
        Some(UnparsedPublicKey::new(&ED25519, key))
    }

    /// The SHA-256 of the key, in lower-case hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let digest = sha::Sha256::of(&self.der);
        digest.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The key as a PEM block.
    pub fn pem(&self) -> String {
        let encoded = STANDARD.encode(&self.der);
        let mut text = format!("{BEGIN}\n");
        for line in encoded.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text + END + "\n"
    }

    /// What a document says that this key signed; `None` if it did not.
    ///
    /// # Errors
    /// It signed something else than a document about an image.
    pub fn verify(&self, payload: &[u8], signature: &[u8]) -> Result<Option<Claim>> {
        let signed = self.verifier().map(|v| v.verify(payload, signature));
        if !matches!(signed, Some(Ok(()))) {
            return Ok(None);
        }
        let bad = |reason| Error::Cosign { reason };
        let document: Document = serde_json::from_slice(payload)
            .map_err(|_| bad("what is signed cannot be understood"))?;
        match document.critical.kind == KIND {
            false => Err(bad("what is signed is not about an image")),
            true => Ok(Some(Claim {
                digest: document.critical.image.digest,
                reference: document.critical.identity.reference,
                fingerprint: self.fingerprint(),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_can_be_used_are_keys() {
        let pem = |der: &[u8]| format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der));
        let good = pem(&[&EDWARDS[..], &[7; 32]].concat());
        let key = CosignKey::parse(good.as_bytes()).unwrap();
        assert_eq!(CosignKey::parse(key.pem().as_bytes()).unwrap(), key);
        assert_eq!(key.fingerprint().len(), 64);
        for bad in [
            String::new(),
            pem(b""),
            pem(&EDWARDS),
            pem(&[&EDWARDS[..], &[7; 33]].concat()),
            format!("{BEGIN}\n!\n{END}"),
            BEGIN.to_owned(),
        ] {
            assert!(CosignKey::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
