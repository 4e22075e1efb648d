//! Where things are below the data directory (on disk format, surface of the original).

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::At;
use crate::{ImageId, Result, TreeId};

/// The image store below a data directory.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store of a data directory. Nothing is made or read until it is needed.
    pub fn open(data_dir: &Path) -> Self {
        Self {
            root: data_dir.join("cas"),
        }
    }

    pub(crate) fn blob(&self, id: &ImageId) -> PathBuf {
        self.sharded("blob", id)
    }

    pub(crate) fn manifest_file(&self, id: &ImageId) -> PathBuf {
        self.sharded("imageManifest", id)
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.root.join("imageManifest/sha512")
    }

    fn sharded(&self, kind: &str, id: &ImageId) -> PathBuf {
        self.root
            .join(format!("{kind}/sha512/{}/{id}", id.bucket()))
    }

    pub(crate) fn trees(&self) -> PathBuf {
        self.root.join("tree")
    }

    pub(crate) fn tree_dir(&self, id: &TreeId) -> PathBuf {
        self.trees().join(id.as_str())
    }

    pub(crate) fn tree_lock(&self, id: &TreeId) -> PathBuf {
        self.root.join("treestorelocks").join(id.as_str())
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(crate) fn index_dir(&self) -> PathBuf {
        self.root.join("db")
    }
}

/// Makes a directory of the store and its parents.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .at("create directory", path)
}

/// Makes the directory that a file is going to be in.
pub(crate) fn make_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), make_dir)
}
