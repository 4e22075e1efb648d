//! The image store: content-addressed blobs, an index of them, and the tree store of rendered
//! images (on-disk format: `cas/` in the data directory).
//!
//! ```text
//! cas/blob/sha512/XX/<id>           the uncompressed archive, byte for byte
//! cas/imageManifest/sha512/XX/<id>  its manifest; the file's time is the image's last use
//! cas/db/index.sqlite                   SQLite: names, times, sizes, addresses; can be lost
//! cas/tree/<tree ID>/               rendered images
//! cas/building/                     trees that are being written or removed; root's alone
//! cas/imagelocks, cas/treestorelocks, cas/db/lock, cas/lock, cas/tmp
//! ```
//!
//! Many processes use a store at once, and each may be killed at any instruction. Files appear
//! whole (made without a name, or under a temporary one), an image is there exactly when its blob
//! is, and what a killed writer leaves is not locked any more, which is how a collection tells it
//! from the work of the living. Disk flushes are left to the kernel: after a power failure, blobs
//! and trees are checked against their digests by the next render or verification.
//!
//! Whoever has a full image ID, or a tree's name, never needs the index.

#![forbid(unsafe_code)]

mod blob;
mod compress;
mod copy;
mod digest;
mod error;
mod extract;
mod gc;
mod image;
mod import;
mod index;
mod layers;
mod layout;
mod limits;
mod lock;
mod oci;
mod pipeline;
mod remove;
mod shared;
mod shift;
mod tar;
mod temporary;
mod tree;

use std::path::Path;

/// An image is named by its digest.
pub use appc::Hash as ImageId;
pub use compress::Compression;
pub use copy::copy_tree;
pub use digest::{sha256_bytes as sha256, sha256_of};
pub use error::{Error, Result};
pub use gc::{GcOptions, GcReport};
pub use image::{ImageInfo, ImageKind};
pub use import::{Accepting, ImportOptions, Refusal, check_image, image_id};
pub use index::Remote;
pub use limits::Limits;
pub use oci::{BlobSource, Opened, Puller, check_layer, write_aci};
pub use shared::open_download;
pub use shift::shift_owners;
pub use tar::{Member, list as list_archive};
pub use tree::{Tree, Verified, overlay_supported};

use index::Index;
use layout::Layout;

/// The image store of a data directory.
#[derive(Debug, Clone)]
pub struct Store {
    layout: Layout,
}

impl Store {
    /// The store of a data directory. Nothing is touched before it is used, and a data directory
    /// that is not there holds no images; one that is closed to this user fails the first use.
    pub fn open(data: &Path) -> Self {
        Store {
            layout: Layout::new(data),
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn index(&self) -> Index<'_> {
        Index::new(&self.layout)
    }
}
