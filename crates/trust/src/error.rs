//! Why something is not trusted.

use std::path::PathBuf;

use crate::Reason;

/// An operation on keys or signatures failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Not public keys.
    #[error("not an OpenPGP public key")]
    BadKey(#[source] Box<pgp::errors::Error>),
    /// No public key at all.
    #[error("there is no OpenPGP public key in it")]
    NoKey,
    /// Not a detached signature.
    #[error("not a detached OpenPGP signature")]
    BadSignature(#[source] Box<pgp::errors::Error>),
    /// No signature at all.
    #[error("there is no OpenPGP signature in it")]
    NoSignature,
    /// More than anybody needs.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
    /// A file of the keystore holds another key than its name says.
    #[error("the key in {} has the fingerprint {found}", path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// The key's fingerprint.
        found: String,
    },
    /// A file of the keystore is no key.
    #[error("cannot read the trusted key {}", path.display())]
    Stored {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<Error>,
    },
    /// Not a key of cosign, or not a signature of one.
    #[error("not a usable cosign key or signature: {reason}")]
    Cosign {
        /// Why not.
        reason: &'static str,
    },
    /// Nobody trusts the signer.
    #[error("signature made by unknown entity: key {0} is not trusted for this image")]
    Unknown(String),
    /// A signature of a trusted key does not count.
    #[error("signature made by key {key} refused: {reason}")]
    Refused {
        /// The signing key's id or fingerprint.
        key: String,
        /// Why.
        reason: Reason,
    },
}

impl Error {
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<std::io::Error>,
    ) -> Self {
        Self::Io {
            operation,
            path: path.into(),
            source: source.into(),
        }
    }
}
