//! Files and directories in the making: locked by their maker, renamed when done, removed when not.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

use crate::error::At;
use crate::layout::{Store, make_dir};
use crate::{Result, copy};

/// A path in `cas/tmp` that goes away when dropped.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
    /// Locked as long as its maker lives; for a directory, on the directory itself.
    lock: File,
    kept: bool,
}

impl Temporary {
    /// A new file.
    pub(crate) fn file(store: &Store) -> Result<Self> {
        Self::make(store, |path| {
            open(
                path,
                OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC,
                Mode::from_raw_mode(0o644),
            )
        })
    }

    /// A new directory.
    pub(crate) fn directory(store: &Store) -> Result<Self> {
        Self::make(store, |path| {
            rustix::fs::mkdir(path, Mode::from_raw_mode(0o755))?;
            open(
                path,
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
        })
    }

    fn make(
        store: &Store,
        make: impl Fn(&Path) -> std::result::Result<std::os::fd::OwnedFd, Errno>,
    ) -> Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        make_dir(&store.tmp())?;
        loop {
            let count = COUNTER.fetch_add(1, Ordering::Relaxed);
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let pid = rustix::process::getpid().as_raw_nonzero();
            let path = store
                .tmp()
                .join(format!("new-{pid}-{count}-{}", now.tv_nsec));
            match make(&path) {
                Ok(fd) => {
                    // Between its making and this a cleaner may have taken it away: then again.
                    flock(&fd, FlockOperation::LockExclusive).at("lock", &path)?;
                    if path.exists() {
                        return Ok(Self {
                            path,
                            lock: fd.into(),
                            kept: false,
                        });
                    }
                }
                Err(Errno::EXIST | Errno::NOENT) => make_dir(&store.tmp())?,
                Err(errno) => return Err(errno).at("create", path),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn handle(&self) -> &File {
        &self.lock
    }

    /// Moves it to its place. Whether it got there: a directory does not replace another.
    pub(crate) fn persist(mut self, target: &Path) -> Result<bool> {
        match rustix::fs::rename(&self.path, target) {
            Ok(()) => {
                self.kept = true;
                Ok(true)
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno).at("move into place", target),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing more can be done for it here; a later cleaning finds it unlocked.
            let _ = copy::remove(&self.path);
        }
    }
}

/// Removes temporaries whose makers are gone.
pub(crate) fn clean(store: &Store) -> Result<()> {
    let tmp = store.tmp();
    let entries = match std::fs::read_dir(&tmp) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).at("read", tmp),
    };
    for entry in entries {
        let path = entry.at("read", &tmp)?.path();
        let Ok(file) = File::open(&path) else {
            continue;
        };
        if flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive).is_ok() {
            copy::remove(&path).at("remove", &path)?;
        }
    }
    Ok(())
}
