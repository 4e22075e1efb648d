//! Images from elsewhere: registries, and OCI image layouts and archives on disk.
#![forbid(unsafe_code)]

mod discovery;
mod download;
mod error;
mod http;
mod image;
mod local;
mod progress;
mod registry;
mod signatures;
#[cfg(test)]
mod wearing;

pub use discovery::{Place, read_page};
pub use download::{Deferrable, Download, Downloader, Watched};
pub use error::Error;
pub use http::{Client, Insecure};
pub use image::{OciImage, origin};
pub use progress::{Progress, Quiet};
pub use registry::{Found, Logins, Repository};
pub use signatures::{Signed, SimpleSigning};

/// What operations of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
