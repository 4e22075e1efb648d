//! The image store: blobs by content, an index that can be lost, and the tree store.
//!
//! An image enters as a stream and is decompressed, hashed, written and, if asked, rendered in one
//! pass ([`Store::import`]). It is known by its [`ImageId`], the digest of its uncompressed
//! archive. [`Store::tree`] gives the directory that pods use as the lower layer of their overlays.
//!
//! Every file appears by a rename, so a process killed at any moment leaves temporary files at
//! most, which [`Store::clean`] removes once nobody has them locked.

mod compression;
mod copy;
mod error;
mod extract;
mod id;
mod images;
mod import;
mod index;
mod layout;
mod overlay;
mod render;
mod temporary;
mod tree;
mod verify;

pub use error::Error;
pub use id::{ImageId, TreeId};
pub use images::ImageInfo;
pub use import::{ImportOptions, Refusal};
pub use layout::Store;
pub use overlay::overlay_supported;
pub use tree::Tree;
pub use verify::Verified;

/// What operations of this crate return.
pub type Result<T> = std::result::Result<T, Error>;
