//! Where things are in the data directory (on-disk format: `cas/…`).

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use appc::Hash;
use oci::Digest;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::{Error, Result};

const SETGID: u32 = 0o2000;
const STICKY: u32 = 0o1000;
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

    /// Where trees are written and taken apart: as root where nobody else can write, since whoever
    /// may rename what lies beside his own files could put another tree in the place of this one.
    pub(crate) fn building(&self) -> PathBuf {
        match rustix::process::geteuid().is_root() {
            true => self.cas.join("building"),
            false => self.temporary(),
        }
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
        if [self.database_lock(), self.oci_blobs(), self.building()]
            .iter()
            .all(|path| path.exists())
        {
            return Ok(());
        }
        if !self.data.exists() {
            fs::create_dir_all(&self.data).map_err(Error::io("create directory", &self.data))?;
            set_directory_mode(&self.data, 0o750)?;
        }
        for (folder, access) in FOLDERS {
            // Members of the group get along without trees.
            if access != Access::Root || rustix::process::geteuid().is_root() {
                create_directory(&self.cas.join(folder), access)?;
            }
        }
        let lock = self.database_lock();
        create_file(&lock)
    }

    /// Creates the directory that `path` is going to be in.
    pub(crate) fn create_parent(&self, path: &Path) -> Result<()> {
        match path.parent() {
            Some(parent) if !parent.exists() => create_directory(parent, Access::Group),
            _ => Ok(()),
        }
    }

    /// Opens the directory that something gets its name in, and says the name. No link between it
    /// and the store's own directory is followed, so that nothing is written outside the store.
    pub(crate) fn open_parent<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let below = path.parent().and_then(|p| p.strip_prefix(&self.cas).ok());
        let (Some(below), Some(name)) = (below, path.file_name()) else {
            return Err(io::Error::from(ErrorKind::InvalidInput));
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(&self.cas, flags, Mode::empty())?;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let parent = openat2(&top, below, flags, Mode::empty(), how)?;
        Ok((parent, name))
    }
}

/// Who may write in a directory of a store that a group shares. A store is shared if the directory
/// above it hands its group on (set-group-ID, as the original set it up).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Members add, and change only what is their own: root's directories stay where they are.
    Sticky,
    /// Members add, rename and remove.
    Group,
    /// Root alone.
    Root,
}

const FOLDERS: [(&str, Access); 12] = [
    ("", Access::Sticky),
    ("tmp", Access::Group),
    ("blob", Access::Sticky),
    ("blob/sha512", Access::Group),
    ("blob/sha256", Access::Group),
    ("imageManifest", Access::Sticky),
    ("imageManifest/sha512", Access::Group),
    ("imagelocks", Access::Group),
    ("tree", Access::Root),
    ("treestorelocks", Access::Root),
    ("building", Access::Root),
    ("db", Access::Group),
];

/// Creates a directory of the store, whatever the umask: closed to others.
fn create_directory(path: &Path, access: Access) -> Result<()> {
    match fs::create_dir(path) {
        Ok(()) => set_directory_mode(
            path,
            match (shared(path.parent()), access) {
                (true, Access::Sticky) => SETGID | STICKY | 0o770,
                (true, Access::Group) => SETGID | 0o770,
                (true, Access::Root) => SETGID | 0o750,
                (false, _) => 0o750,
            },
        ),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(Error::io("create directory", path)(e)),
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
        Ok(file) => file
            .set_permissions(fs::Permissions::from_mode(file_mode(path.parent())))
            .map_err(Error::io("set the mode of", path)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(Error::io("create", path)(e)),
    }
}

/// Sets the mode of a directory that was just made; not of what a link in its place leads to.
fn set_directory_mode(path: &Path, mode: u32) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let set = || {
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        // Its owner may have closed it to himself by his umask, so that only a path opens it.
        let own = format!("/proc/self/fd/{}", directory.as_raw_fd());
        fs::set_permissions(own, fs::Permissions::from_mode(mode))
    };
    set().map_err(Error::io("set the mode of", path))
}
