//! What the pods of a data directory share out among themselves: host ids, SELinux levels.
//!
//! A thing belongs to a pod exactly as long as the pod is there: `KIND/NAME` is a symbolic link whose
//! text is the pod's UUID. A link whose pod has gone counts for nothing, so nothing has to be given
//! back when a pod ends by a kill. Who chooses holds a lock.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, flock, mkdirat, openat, readlinkat, statat,
    symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::error::Error;
use crate::pods::Pods;
use crate::state::Phase;
use crate::tree::Dir;

/// A kind of things that pods share out.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Where things name their pods, below the pods' directory.
    pub(crate) links: &'static str,
    /// The lock, below the pods' directory.
    pub(crate) lock: &'static str,
}

impl Shared {
    fn link(&self, name: &str) -> PathBuf {
        Path::new(self.links).join(name)
    }
}

impl Pods {
    /// Whether no pod that is there has one of these.
    pub(crate) fn are_free(&self, shared: &Shared, names: &[String]) -> Result<bool, Error> {
        for name in names {
            if let Some(uuid) = self.owner(&shared.link(name))?
                && self.is_there(&uuid)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives what is free to a pod.
    pub(crate) fn take(&self, shared: &Shared, pod: &Dir, names: &[String]) -> Result<(), Error> {
        let root = self.root()?;
        let uuid = pod.path().file_name().unwrap_or_default();
        for name in names {
            let link = shared.link(name);
            let make = || symlinkat(uuid, root, &link);
            let made = match make() {
                // The directory is made by the first pod that wants some.
                Err(Errno::NOENT) => {
                    match mkdirat(root, shared.links, Mode::from_raw_mode(0o750)) {
                        Ok(()) | Err(Errno::EXIST) => make(),
                        Err(error) => Err(error),
                    }
                }
                // It names a pod that has gone.
                Err(Errno::EXIST) => unlinkat(root, &link, AtFlags::empty()).and_then(|()| make()),
                other => other,
            };
            made.map_err(|e| Error::io("create", self.path().join(&link), e))?;
        }
        Ok(())
    }

    /// Takes away a pod's links, once the pod has gone.
    pub(crate) fn give_back(
        &self,
        shared: &Shared,
        uuid: &str,
        names: &[String],
    ) -> Result<(), Error> {
        let _lock = self.lock_shared(shared)?;
        for name in names {
            let link = shared.link(name);
            if self.owner(&link)?.as_deref() == Some(uuid) {
                let removed = unlinkat(self.root()?, &link, AtFlags::empty());
                removed.map_err(|e| Error::io("remove", self.path().join(&link), e))?;
            }
        }
        Ok(())
    }

    /// Keeps others from choosing until the descriptor is closed.
    pub(crate) fn lock_shared(&self, shared: &Shared) -> Result<OwnedFd, Error> {
        let path = self.path().join(shared.lock);
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(CWD, &path, flags, Mode::from_raw_mode(0o640))
            .map_err(|e| Error::io("open", &path, e))?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(file),
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::io("lock", path, error)),
            }
        }
    }

    /// The UUID that a link names.
    fn owner(&self, link: &Path) -> Result<Option<String>, Error> {
        match readlinkat(self.root()?, link, Vec::new()) {
            Ok(uuid) => Ok(Some(uuid.to_string_lossy().into_owned())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(Error::io("read", self.path().join(link), error)),
        }
    }

    /// Whether a pod is there. One that moves to its next phase meanwhile is met there: phases are
    /// looked at in the order of a pod's life.
    fn is_there(&self, uuid: &str) -> Result<bool, Error> {
        for phase in Phase::ALL {
            let directory = Self::relative(phase, uuid);
            match statat(self.root()?, &directory, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => return Ok(true),
                Err(Errno::NOENT) => {}
                Err(error) => {
                    return Err(Error::io("look at", self.path().join(directory), error));
                }
            }
        }
        Ok(false)
    }
}
