//! Where things are in the data directory (on-disk format: `cas/…`).

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use appc::Hash;
use oci::Digest;

use crate::{Error, Result};

const SETGID: u32 = 0o2000;
/// Digits of an image ID in the store.
pub(crate) const DIGITS: usize = 64;

/// The paths of one store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    data: PathBuf,
    cas: PathBuf,
}

impl Layout {
    pub(crate) fn new(data: &Path) -> Self {
        Layout {
            data: data.to_owned(),
            cas: data.join("cas"),
        }
    }

    /// Uncompressed archives, in one directory for every first byte of the digest.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.cas.join("blob/sha512")
    }

    pub(crate) fn blob(&self, id: &Hash) -> PathBuf {
        self.sharded("blob/sha512", id)
    }

    /// Manifests, configurations and layers of OCI images, under the digests that name them.
    pub(crate) fn oci_blobs(&self) -> PathBuf {
        self.cas.join("blob/sha256")
    }

    pub(crate) fn oci_blob(&self, digest: &Digest) -> PathBuf {
        let mut path = self.oci_blobs();
        path.push(&digest.hex()[..2]);
        path.push(digest.file_name());
        path
    }

    /// Held shared while blobs of an OCI image arrive that no manifest names yet, and exclusively
    /// while blobs are removed that none names any more.
    pub(crate) fn oci_lock(&self) -> PathBuf {
        self.cas.join("lock")
    }

    pub(crate) fn image_manifest(&self, id: &Hash) -> PathBuf {
        self.sharded("imageManifest/sha512", id)
    }

    pub(crate) fn image_lock(&self, id: &Hash) -> PathBuf {
        self.cas.join("imagelocks").join(id.as_str())
    }

    pub(crate) fn trees(&self) -> PathBuf {
        self.cas.join("tree")
    }

    pub(crate) fn tree(&self, tree: &str) -> PathBuf {
        self.cas.join("tree").join(tree)
    }

    pub(crate) fn tree_lock(&self, tree: &str) -> PathBuf {
        self.cas.join("treestorelocks").join(tree)
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.cas.join("tmp")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.cas.join("db/index.sqlite")
    }

    pub(crate) fn database_lock(&self) -> PathBuf {
        self.cas.join("db/lock")
    }

    fn sharded(&self, folder: &str, id: &Hash) -> PathBuf {
        let mut path = self.cas.join(folder);
        path.push(&id.digits()[..2.min(id.digits().len())]);
        path.push(id.as_str());
        path
    }

    /// Creates what a writer needs. Cheap when it is there already.
    pub(crate) fn create(&self) -> Result<()> {
        if self.database_lock().exists() && self.oci_blobs().exists() {
            return Ok(());
        }
        self.create_directory(&self.data)?;
        for folder in [
            "",
            "tmp",
            "blob",
            "blob/sha512",
            "blob/sha256",
            "imageManifest",
            "imageManifest/sha512",
            "imagelocks",
            "tree",
            "treestorelocks",
            "db",
        ] {
            self.create_directory(&self.cas.join(folder))?;
        }
        let lock = self.database_lock();
        create_file(&lock)
    }

    /// Creates a directory of the store, whatever the umask: closed to others, and open to the
    /// group if the directory above belongs to one (set-group-ID, as the original set it up).
    pub(crate) fn create_directory(&self, path: &Path) -> Result<()> {
        match fs::create_dir(path) {
            Ok(()) => {
                let mode = if shared(path.parent()) {
                    SETGID | 0o770
                } else {
                    0o750
                };
                set_mode(path, mode)
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound && !path.starts_with(&self.cas) => {
                fs::create_dir_all(path).map_err(Error::io("create directory", path))?;
                set_mode(path, 0o750)
            }
            Err(e) => Err(Error::io("create directory", path)(e)),
        }
    }

    /// Creates the directory that `path` is going to be in.
    pub(crate) fn create_parent(&self, path: &Path) -> Result<()> {
        match path.parent() {
            Some(parent) if !parent.exists() => self.create_directory(parent),
            _ => Ok(()),
        }
    }
}

/// Whether the directory hands its group on.
fn shared(directory: Option<&Path>) -> bool {
    directory
        .and_then(|d| d.metadata().ok())
        .is_some_and(|m| m.mode() & SETGID != 0)
}

/// The mode of a file in this directory.
pub(crate) fn file_mode(directory: Option<&Path>) -> u32 {
    if shared(directory) { 0o660 } else { 0o640 }
}

/// Creates an empty file with the store's mode if it is not there.
pub(crate) fn create_file(path: &Path) -> Result<()> {
    let new = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path);
    match new {
        Ok(_) => set_mode(path, file_mode(path.parent())),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(Error::io("create", path)(e)),
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(Error::io("set the mode of", path))
}
