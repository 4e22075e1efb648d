//! An existing pod.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, fstat, renameat, statat};
use rustix::io::Errno;

use crate::error::Error;
use crate::lock;
use crate::pods::{Pods, open_dir};
use crate::state::{Phase, State};
use crate::tree::Dir;

/// A pod directory held open, with the state it had when it was looked at.
#[derive(Debug)]
pub struct Pod {
    pub(crate) uuid: String,
    pub(crate) phase: Phase,
    pub(crate) state: State,
    pub(crate) dir: Dir,
}

/// A pod whose exclusive lock this process holds.
#[derive(Debug)]
pub struct LockedPod {
    pub(crate) pod: Pod,
}

impl Pods {
    /// Opens the pod if it is in this phase, and samples its state.
    pub(crate) fn open_in(&self, phase: Phase, uuid: &str) -> Result<Option<Pod>, Error> {
        let Ok(root) = self.root() else {
            return Ok(None);
        };
        let relative = Self::relative(phase, uuid);
        let fd = match open_dir(root, &relative) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(Error::io("open pod", self.path().join(relative), error)),
        };
        let path = self.path().join(&relative);
        let locked = phase.has_lock_meaning()
            && lock::is_locked(&fd).map_err(|e| Error::io("test the lock of", &path, e))?;
        // Opened while it was being prepared and unlocked now: it may have run and exited since.
        if phase == Phase::Prepare && !locked {
            match statat(root, &relative, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => {}
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(Error::io("inspect", path, error)),
            }
        }
        Ok(Some(Pod {
            uuid: uuid.to_owned(),
            phase,
            state: State::of(phase, locked),
            dir: Dir::new(fd, path),
        }))
    }
}

impl Pod {
    /// The UUID, in full and as the directory is named.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Where it was found.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The state it had when it was opened or refreshed.
    pub fn state(&self) -> State {
        self.state
    }

    /// Its directory.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// When the directory last changed: in the garbage phases, when the pod was marked.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn marked_at(&self) -> Result<std::time::SystemTime, Error> {
        let stat = fstat(self.dir.fd()).map_err(|e| Error::io("inspect", self.dir.path(), e))?;
        Ok(crate::inspect::system_time(
            stat.st_ctime,
            stat.st_ctime_nsec,
        ))
    }

    /// Takes the exclusive lock and makes sure that the pod did not move meanwhile.
    ///
    /// # Errors
    /// Another process holds the pod, or it left its phase.
    pub fn lock(self, pods: &Pods) -> Result<LockedPod, Error> {
        let got = lock::try_exclusive(self.dir.fd())
            .map_err(|e| Error::io("lock", self.dir.path(), e))?;
        if !got {
            return Err(Error::Locked(self.uuid));
        }
        let relative = Pods::relative(self.phase, &self.uuid);
        let here = fstat(self.dir.fd()).map_err(|e| Error::io("inspect", self.dir.path(), e))?;
        match statat(pods.root()?, &relative, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if there.st_ino == here.st_ino => Ok(LockedPod { pod: self }),
            Ok(_) | Err(Errno::NOENT) => Err(Error::Locked(self.uuid)),
            Err(error) => Err(Error::io("inspect", self.dir.path(), error)),
        }
    }

    /// Moves the pod to another phase. Somebody else having moved it is [`Error::is_gone`].
    pub(crate) fn rename(&mut self, pods: &Pods, to: Phase, locked: bool) -> Result<(), Error> {
        let root = pods.root()?;
        let (from, target) = (
            Pods::relative(self.phase, &self.uuid),
            Pods::relative(to, &self.uuid),
        );
        let moved = match renameat(root, &from, root, &target) {
            // A phase's directory may be missing where another implementation made the rest.
            Err(Errno::NOENT) => {
                pods.make_phases()?;
                renameat(root, &from, root, &target)
            }
            other => other,
        };
        moved.map_err(|e| Error::io("move pod", self.dir.path(), e))?;
        self.phase = to;
        self.state = State::of(to, locked);
        self.dir.set_path(pods.path().join(target));
        Ok(())
    }
}

impl LockedPod {
    /// The pod.
    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// Moves a prepared pod to the run phase, keeping the lock (`run-prepared`).
    ///
    /// # Errors
    /// The pod is not prepared, or the rename fails.
    pub fn into_running(mut self, pods: &Pods) -> Result<crate::RunningPod, Error> {
        if self.pod.phase != Phase::Prepared {
            return Err(Error::WrongState {
                uuid: self.pod.uuid,
                state: self.pod.state,
            });
        }
        self.pod.rename(pods, Phase::Run, true)?;
        sync(pods, Phase::Run);
        Ok(crate::RunningPod { pod: self.pod })
    }
}

/// Makes renames into a phase last over a crash. Failing to is no reason to stop.
pub(crate) fn sync(pods: &Pods, phase: Phase) {
    if let Ok(root) = pods.root()
        && let Ok(fd) = open_dir(root, std::path::Path::new(phase.dir()))
    {
        // Not every file system syncs directories; nothing is lost but the guarantee.
        let _ = rustix::fs::fsync(fd.as_fd());
    }
}
