//! Trust: which OpenPGP keys may sign which images, and whether a signature is one of theirs (pages
//! "Signing and Verification Guide" and "rkt trust").
//!
//! [`Keystore`] is the documented directory layout. [`Signatures`] reads a detached signature;
//! [`Hashing`] takes the signed bytes as they stream by and says at the end who signed them. What
//! is weak, expired or revoked today is refused, whatever it was when it was made.
//!
//! OCI images are signed with keys of cosign, which are in the same directories, as
//! `FINGERPRINT.pub`: [`CosignKey`].
#![forbid(unsafe_code)]

mod cosign;
mod error;
mod hasher;
mod key;
mod keystore;
mod reason;
mod signature;
mod validity;

pub use cosign::{Claim, CosignKey};
pub use error::Error;
pub use key::Key;
pub use keystore::{Keystore, Scope};
pub use reason::Reason;
pub use signature::{Hashing, Signatures, Signer};

/// What operations of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
