//! Images from elsewhere: OCI image layouts and archives on disk.
#![forbid(unsafe_code)]

mod error;
mod image;
mod local;

pub use error::Error;
pub use image::OciImage;

/// What operations of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
