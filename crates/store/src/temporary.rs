//! Files and directories that do not exist until they are finished.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, linkat, renameat, statat, unlinkat};
use rustix::io::Errno;

use crate::layout::{Layout, file_mode};
use crate::lock::{is_at, open_for_lock, try_exclusive};
use crate::remove::remove_tree;
use crate::shared;
use crate::{Error, Result};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A name that no other process or thread of this machine uses at the same time.
fn unique(directory: &Path, kind: &str) -> PathBuf {
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |d| d.as_nanos());
    directory.join(format!("{kind}-{}-{now:x}-{count}", std::process::id()))
}

/// A file being written. Without a name where the file system can do that, so that a killed
/// writer leaves nothing; else with a temporary name, locked for as long as the writer lives.
pub(crate) struct NewFile {
    file: File,
    name: Option<PathBuf>,
}

impl NewFile {
    /// Starts a file in the store's temporary directory.
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        let unnamed = rustix::fs::open(
            directory,
            OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        );
        match unnamed {
            Ok(fd) => Ok(NewFile {
                file: fd.into(),
                name: None,
            }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => Self::named(directory),
            Err(e) => Err(Error::io("create a file in", directory)(e)),
        }
    }

    fn named(directory: &Path) -> Result<Self> {
        loop {
            let name = unique(directory, "file");
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&name)
                .map_err(Error::io("create", &name))?;
            let locked = try_exclusive(&file).map_err(Error::io("lock", &name))?;
            if locked && is_at(&file, &name) {
                return Ok(NewFile {
                    file,
                    name: Some(name),
                });
            }
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the finished file its name, with the store's mode. A file of the same size that is
    /// already there is left alone: names are digests, so it is the same.
    pub(crate) fn publish(mut self, layout: &Layout, path: &Path) -> Result<()> {
        let fail = Error::io("create", path);
        let mode = file_mode(path.parent());
        let done = self
            .file
            .set_permissions(fs::Permissions::from_mode(mode))
            .and_then(|()| layout.open_parent(path))
            .and_then(|(parent, name)| self.link(&parent, name));
        done.map_err(fail)
    }

    fn link(&mut self, parent: &OwnedFd, place: &OsStr) -> io::Result<()> {
        let size = self.file.metadata()?.len();
        match statat(parent, place, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if is_file_of(&there, size) => return Ok(()),
            // Cut short by a power failure, or not ours: make room.
            Ok(_) => unlinkat(parent, place, AtFlags::empty())?,
            Err(_) => {}
        }
        let linked = match &self.name {
            Some(name) => renameat(CWD, name, parent, place),
            None => {
                let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                linkat(CWD, own.as_str(), parent, place, AtFlags::SYMLINK_FOLLOW)
            }
        };
        match linked {
            Ok(()) => {
                self.name = None;
                Ok(())
            }
            Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = fs::remove_file(name);
        }
    }
}

fn is_file_of(stat: &Stat, size: u64) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_size.cast_unsigned() == size
}

/// Writes a small file whole: the old one or the new one is there, never half of one.
pub(crate) fn write_file(layout: &Layout, path: &Path, bytes: &[u8]) -> Result<()> {
    let new = NewFile::create(&layout.temporary())?;
    new.file()
        .write_all(bytes)
        .map_err(Error::io("write", path))?;
    new.publish(layout, path)
}

/// The same for a file whose name does not say what is in it.
pub(crate) fn replace_file(layout: &Layout, path: &Path, bytes: &[u8]) -> Result<()> {
    if shared::read(path, bytes.len()).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let new = NewFile::named(&layout.temporary())?;
    new.file()
        .write_all(bytes)
        .map_err(Error::io("write", path))?;
    let mode = fs::Permissions::from_mode(file_mode(path.parent()));
    new.file()
        .set_permissions(mode)
        .map_err(Error::io("set the mode of", path))?;
    let Some(name) = &new.name else {
        return Err(Error::io("create", path)(io::Error::from(
            ErrorKind::NotFound,
        )));
    };
    // What is dropped then has no name any more.
    rename_into(layout, name, path).map_err(Error::io("create", path))
}

/// Gives a file of the temporary directory its place in the store.
pub(crate) fn rename_into(layout: &Layout, from: &Path, path: &Path) -> io::Result<()> {
    let (parent, place) = layout.open_parent(path)?;
    Ok(renameat(CWD, from, &parent, place)?)
}

/// A directory being filled, locked for as long as its writer lives, and removed with all it
/// holds unless it is published.
pub(crate) struct NewDirectory {
    path: PathBuf,
    lock: File,
    published: bool,
}

impl NewDirectory {
    pub(crate) fn create(parent: &Path) -> Result<Self> {
        loop {
            let path = unique(parent, "tree");
            match fs::create_dir(&path) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                other => other.map_err(Error::io("create directory", &path))?,
            }
            // The umask must neither close it to us nor open it to others.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
                .map_err(Error::io("set the mode of", &path))?;
            let lock = match open_for_lock(&path) {
                // A collector came between the two calls.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(Error::io("open", &path))?,
            };
            let locked = try_exclusive(&lock).map_err(Error::io("lock", &path))?;
            if locked && is_at(&lock, &path) {
                return Ok(NewDirectory {
                    path,
                    lock,
                    published: false,
                });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Renames it to its place. `false` if something is there already, which then stays.
    pub(crate) fn publish(mut self, place: &Path) -> Result<bool> {
        let mode = fs::Permissions::from_mode(0o755);
        self.lock
            .set_permissions(mode)
            .map_err(Error::io("set the mode of", &self.path))?;
        match fs::rename(&self.path, place) {
            Ok(()) => {
                self.published = true;
                Ok(true)
            }
            Err(e) if e.kind() == ErrorKind::DirectoryNotEmpty => Ok(false),
            Err(e) => Err(Error::io("create", place)(e)),
        }
    }
}

impl Drop for NewDirectory {
    fn drop(&mut self) {
        if !self.published {
            // A collection removes what cannot be removed here.
            let _ = remove_tree(&self.path);
        }
    }
}

/// Removes what killed writers left in the temporary directory. Partial downloads (`sha512-…`,
/// `sha256-…`) stay for a day after their last byte, to be resumed. Returns how many were removed.
pub(crate) fn collect(directory: &Path) -> Result<usize> {
    const RESUMABLE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(0),
        other => other.map_err(Error::io("read", directory))?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry.map_err(Error::io("read", directory))?;
        let path = entry.path();
        let file = match open_for_lock(&path) {
            Ok(file) => file,
            // A link is nobody's work.
            Err(e) if e.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                removed += 1;
                continue;
            }
            Err(_) => continue,
        };
        if !try_exclusive(&file).map_err(Error::io("lock", &path))? || !is_at(&file, &path) {
            continue;
        }
        let age = file
            .metadata()
            .and_then(|m| m.modified())
            .ok()
            .and_then(|t| t.elapsed().ok());
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let download = name.starts_with(b"sha512-") || name.starts_with(b"sha256-");
        if download && age.is_none_or(|age| age < RESUMABLE) {
            continue;
        }
        let gone = if file.metadata().is_ok_and(|m| m.is_dir()) {
            remove_tree(&path)
        } else {
            fs::remove_file(&path)
        };
        gone.map_err(Error::io("remove", &path))?;
        removed += 1;
    }
    Ok(removed)
}
