//! Advisory locks.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, mkdirat, openat};
use rustix::io::Errno;

use crate::error::Error;

/// Whether some process holds an exclusive lock. The answer is a sample: it may be stale when read.
pub(crate) fn is_locked(dir: impl AsFd) -> Result<bool, Errno> {
    match flock(&dir, FlockOperation::NonBlockingLockShared) {
        Ok(()) => flock(&dir, FlockOperation::Unlock).map(|()| false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Takes the exclusive lock if nobody holds any.
pub(crate) fn try_exclusive(dir: impl AsFd) -> Result<bool, Errno> {
    match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error),
    }
}

/// `locks/prepareLock`: shared while images are being turned into a pod, exclusive while images
/// are collected, so that no tree disappears between being chosen and being used.
#[derive(Debug)]
pub struct PrepareLock {
    _file: OwnedFd,
}

impl PrepareLock {
    /// Waits until no image collection runs.
    ///
    /// # Errors
    /// The lock file cannot be made or locked.
    pub fn shared(data_dir: &Path) -> Result<Self, Error> {
        Self::take(data_dir, FlockOperation::LockShared)
    }

    /// Waits until no pod is being prepared.
    ///
    /// # Errors
    /// The lock file cannot be made or locked.
    pub fn exclusive(data_dir: &Path) -> Result<Self, Error> {
        Self::take(data_dir, FlockOperation::LockExclusive)
    }

    fn take(data_dir: &Path, operation: FlockOperation) -> Result<Self, Error> {
        let path = data_dir.join("locks/prepareLock");
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let open = || openat(CWD, &path, flags, Mode::from_raw_mode(0o640));
        let file = match open() {
            Err(Errno::NOENT) => {
                for dir in [data_dir.to_path_buf(), data_dir.join("locks")] {
                    match mkdirat(CWD, &dir, Mode::from_raw_mode(0o750)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(Error::io("create directory", dir, error)),
                    }
                }
                open()
            }
            other => other,
        }
        .map_err(|e| Error::io("open", &path, e))?;
        loop {
            match flock(&file, operation) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::io("lock", path, error)),
            }
        }
    }
}
