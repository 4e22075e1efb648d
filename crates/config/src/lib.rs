//! The configuration that rkt reads from a system, a local and perhaps a user directory (page "rkt
//! configuration").
//!
//! Each kind of configuration has its subdirectory and its rule of what supersedes what; file names
//! mean nothing. Kinds are loaded one by one, so that `rkt list` neither needs nor reads anybody's
//! passwords. No error ever quotes a value of a file, which may be a secret.
#![forbid(unsafe_code)]

mod auth;
mod dirs;
mod docker;
mod entry;
mod error;
mod json;
mod paths;
mod stage1;
mod tpm;

pub use auth::{Auth, Basic, Credentials, Secret};
pub use dirs::Dirs;
pub use docker::Login;
pub use entry::check;
pub use error::Error;
pub use paths::Paths;
pub use stage1::Stage1;
pub use tpm::{Measuring, Tpm};

/// What operations of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// All configuration there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Who rkt is to servers and registries.
    pub credentials: Credentials,
    /// Where rkt keeps its things.
    pub paths: Paths,
    /// The default stage1 image.
    pub stage1: Stage1,
    /// Where pods are measured.
    pub tpm: Tpm,
}

impl Config {
    /// Reads everything.
    ///
    /// # Errors
    /// As [`Credentials::load`].
    pub fn load(dirs: &Dirs) -> Result<Self> {
        Ok(Self {
            credentials: Credentials::load(dirs)?,
            paths: Paths::load(dirs)?,
            stage1: Stage1::load(dirs)?,
            tpm: Tpm::load(dirs)?,
        })
    }
}
