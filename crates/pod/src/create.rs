//! Making pods: embryo, prepare, then prepared or run.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, fsync, mkdirat, openat};
use rustix::io::Errno;

use stage1_abi::path;

use crate::error::Error;
use crate::pod::{Pod, sync};
use crate::pods::{Pods, open_dir};
use crate::state::{Phase, State};
use crate::tree::Dir;

/// A pod that this process is preparing. Its exclusive lock is held; if this process ends before
/// it calls [`PreparingPod::into_running`] or [`PreparingPod::into_prepared`], what is left is an
/// aborted prepare that `rkt gc` removes.
#[derive(Debug)]
pub struct PreparingPod {
    pod: Pod,
}

/// A pod in the run phase whose lock this process holds, about to become the pod.
#[derive(Debug)]
pub struct RunningPod {
    pub(crate) pod: Pod,
}

/// How often a new pod is tried.
const ATTEMPTS: usize = 5;

impl Pods {
    /// Makes a pod: `embryo/<uuid>`, lock, rename to `prepare/<uuid>`.
    ///
    /// # Errors
    /// The data directory is not writable or full.
    pub fn new_pod(&self) -> Result<PreparingPod, Error> {
        // A collection without grace may take an embryo for one that lost its maker: try again.
        for _ in 1..ATTEMPTS {
            match self.attempt() {
                Err(error) if error.is_gone() => self.make_phases()?,
                done => return done,
            }
        }
        self.attempt()
    }

    fn attempt(&self) -> Result<PreparingPod, Error> {
        let uuid = appc::Uuid::generate().to_string();
        let root = self.root()?;
        let relative = Self::relative(Phase::Embryo, &uuid);
        let path = self.path().join(&relative);
        mkdirat(root, &relative, Mode::from_raw_mode(0o750))
            .map_err(|e| Error::io("create pod", &path, e))?;
        let fd = open_dir(root, &relative).map_err(|e| Error::io("open pod", &path, e))?;
        rustix::fs::flock(&fd, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|e| Error::io("lock", &path, e))?;
        let mut pod = Pod {
            uuid,
            phase: Phase::Embryo,
            state: State::Embryo,
            dir: Dir::new(fd, path),
        };
        pod.rename(self, Phase::Prepare, true)?;
        Ok(PreparingPod { pod })
    }
}

impl PreparingPod {
    /// The pod.
    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// The new pod's UUID.
    pub fn uuid(&self) -> &str {
        &self.pod.uuid
    }

    /// Its directory, to be filled.
    pub fn dir(&self) -> &Dir {
        &self.pod.dir
    }

    /// Removes what was made so far.
    ///
    /// # Errors
    /// The kernel refuses to remove something; `rkt gc` will find it.
    pub fn abandon(mut self, pods: &Pods) -> Result<(), Error> {
        self.pod.rename(pods, Phase::Garbage, true)?;
        pods.remove(crate::LockedPod { pod: self.pod })
    }

    /// Straight to the run phase (`rkt run`). Nothing is synced: a reboot ends the pod anyway.
    ///
    /// # Errors
    /// The rename fails.
    pub fn into_running(mut self, pods: &Pods) -> Result<RunningPod, Error> {
        self.pod.rename(pods, Phase::Run, true)?;
        Ok(RunningPod { pod: self.pod })
    }

    /// To the prepared phase (`rkt prepare`), on disk before this returns. The lock is released.
    ///
    /// # Errors
    /// Syncing or renaming fails.
    pub fn into_prepared(mut self, pods: &Pods) -> Result<Pod, Error> {
        sync_files(self.pod.dir.fd(), true)
            .map_err(|e| Error::io("sync", self.pod.dir.path(), e))?;
        self.pod.rename(pods, Phase::Prepared, false)?;
        sync(pods, Phase::Prepared);
        rustix::fs::flock(self.pod.dir.fd(), rustix::fs::FlockOperation::Unlock)
            .map_err(|e| Error::io("unlock", self.pod.dir.path(), e))?;
        Ok(self.pod)
    }
}

impl RunningPod {
    /// The pod.
    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// Its directory.
    pub fn dir(&self) -> &Dir {
        &self.pod.dir
    }

    /// The descriptor that carries the lock, with close-on-exec taken off: it is handed to stage1
    /// as `RKT_LOCK_FD` and lives as long as the pod.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn into_lock_fd(self) -> Result<OwnedFd, Error> {
        let fd = self.pod.dir.into_fd();
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty())
            .map_err(|e| Error::io("keep the lock of", self.pod.uuid, e))?;
        Ok(fd)
    }
}

/// Syncs the small files that describe the pod: those in its directory and below appsinfo/. Trees
/// are left to the kernel, as the tree store's own are.
fn sync_files(dir: BorrowedFd<'_>, top: bool) -> Result<(), Errno> {
    let mut buffer = Vec::with_capacity(4 << 10);
    let mut entries = rustix::fs::RawDir::new(dir, buffer.spare_capacity_mut());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        let described = !top || name.to_bytes() == path::APPS_INFO.as_bytes();
        let dots = name == c"." || name == c"..";
        match entry.file_type() {
            FileType::RegularFile => fsync(openat(dir, name, flags, Mode::empty())?)?,
            FileType::Directory if described && !dots => {
                let sub = openat(dir, name, flags | OFlags::DIRECTORY, Mode::empty())?;
                sync_files(sub.as_fd(), false)?;
            }
            _ => {}
        }
    }
    fsync(dir)
}
