//! Why a signature does not count.

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The bytes are not the ones that were signed.
    #[error("it is not a signature of this file")]
    OtherContent,
    /// The key's owner or the key itself says that it is no longer to be used.
    #[error("the key is revoked")]
    Revoked,
    /// The key's time is over.
    #[error("the key has expired")]
    KeyExpired,
    /// The signature's time is over.
    #[error("the signature has expired")]
    SignatureExpired,
    /// It was made in the future, or before the key.
    #[error("the signature's time of creation is not possible")]
    Time,
    /// The key is for something else.
    #[error("the key is not for signing")]
    NotForSigning,
    /// Nothing valid in the certificate says that the key belongs to it.
    #[error("the key has no valid signature by its own certificate")]
    Unbound,
    /// The hash or the key can be forged.
    #[error("{0} is too weak")]
    Weak(String),
    /// The key is of a kind that rkt cannot check.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// Another kind of signature than files have.
    #[error("it is not a signature of a binary file, but {0}")]
    Kind(String),
}
