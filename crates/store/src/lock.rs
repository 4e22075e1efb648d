//! Locks that die with their holder.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::layout::create_file;
use crate::{Error, Result};

/// A held `flock` on a file of the store; released when dropped, or when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits until nobody else has it. The file is created when needed.
    pub(crate) fn exclusive(path: &Path) -> Result<Self> {
        Self::wait(path, FlockOperation::LockExclusive)
    }

    /// Waits until nobody has it exclusively.
    pub(crate) fn shared(path: &Path) -> Result<Self> {
        Self::wait(path, FlockOperation::LockShared)
    }

    fn wait(path: &Path, operation: FlockOperation) -> Result<Self> {
        loop {
            let file = match open_for_lock(path) {
                Ok(file) => file,
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    create_file(path)?;
                    continue;
                }
                Err(e) => return Err(Error::io("open", path)(e)),
            };
            retry(|| flock(&file, operation)).map_err(Error::io("lock", path))?;
            if is_at(&file, path) {
                return Ok(Lock {
                    _file: file,
                    path: path.to_owned(),
                });
            }
        }
    }

    /// Takes it if nobody else has it; `None` if somebody has.
    pub(crate) fn try_now(path: &Path) -> Result<Option<Self>> {
        create_file(path)?;
        let file = open_for_lock(path).map_err(Error::io("open", path))?;
        let locked = try_exclusive(&file).map_err(Error::io("lock", path))?;
        Ok((locked && is_at(&file, path)).then(|| Lock {
            _file: file,
            path: path.to_owned(),
        }))
    }

    /// Removes the file of an exclusively held lock: whoever waits for it notices and makes a new
    /// one, so that locks of things long gone do not pile up.
    pub(crate) fn remove(self) {
        // Nobody is hurt by an empty file that stays.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether `file` is still what the path names.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(held), Ok(named)) => held.dev() == named.dev() && held.ino() == named.ino(),
        _ => false,
    }
}

/// Takes an exclusive lock on an open file or directory if nobody else has one.
pub(crate) fn try_exclusive(file: &File) -> io::Result<bool> {
    match retry(|| flock(file, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Opens an existing file to lock it, without following a symbolic link at its end.
pub(crate) fn open_for_lock(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    rustix::io::retry_on_intr(&mut call)
}
