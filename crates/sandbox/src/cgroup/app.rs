//! The cgroup of one app, made by one process and joined by another.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::v1;
use crate::error::Error;

/// The cgroup of one app, for the process that starts it.
#[derive(Debug)]
pub struct AppCgroup(App);

#[derive(Debug)]
pub(super) enum App {
    /// The `tasks` of each hierarchy.
    V1(Vec<OwnedFd>),
    V2 {
        dir: OwnedFd,
        /// Opened by somebody with the host's privileges, which count when it is written to.
        procs: OwnedFd,
    },
}

impl AppCgroup {
    pub(super) fn new(app: App) -> Self {
        Self(app)
    }

    /// Its descriptors, for another process that starts the app, and whether it is of version 2.
    pub fn descriptors(&self) -> (Vec<BorrowedFd<'_>>, bool) {
        match &self.0 {
            App::V1(tasks) => (tasks.iter().map(AsFd::as_fd).collect(), false),
            App::V2 { dir, procs } => (vec![dir.as_fd(), procs.as_fd()], true),
        }
    }

    /// What [`Self::descriptors`] gave in another process; `None` if there are none.
    pub fn from_descriptors(mut fds: Vec<OwnedFd>, v2: bool) -> Option<Self> {
        match v2 {
            true => {
                let (procs, dir) = (fds.pop()?, fds.pop()?);
                Some(Self(App::V2 { dir, procs }))
            }
            false => (!fds.is_empty()).then_some(Self(App::V1(fds))),
        }
    }

    /// On version 2, the cgroup to clone the app into. The kernel allows that to who could write
    /// to the cgroup, which root of a user namespace cannot.
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            App::V1(_) => None,
            App::V2 { dir, .. } => Some(dir.as_fd()),
        }
    }

    /// Moves the calling process, which has one thread and was not cloned into the cgroup, there.
    ///
    /// # Errors
    /// As write(2) to `tasks` or `cgroup.procs`.
    pub fn join(&self) -> Result<(), Error> {
        match &self.0 {
            App::V1(tasks) => v1::join(tasks),
            App::V2 { procs, .. } => v1::join(std::slice::from_ref(procs)),
        }
    }
}
