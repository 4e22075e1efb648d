//! The cgroups of a pod and of its apps, on version 1, on version 2 and on hosts with both.
//!
//! A pod lives in a cgroup of its own below its caller's (devel-cgroups), each app in one below
//! the pod's.

mod app;
mod block;
mod control;
mod devices;
mod devices_bpf;
mod end;
mod limits;
mod location;
mod usage;
mod v1;
mod v2;

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::error::{Context, Error};
use app::App;

pub use app::AppCgroup;
pub use devices::Device;
pub use end::{end, remove};
pub use limits::Limits;
pub use location::Location;
pub use usage::{Usage, usage};

/// Where all hierarchies are mounted, on every host that follows the conventions.
const MOUNT: &str = "/sys/fs/cgroup";

/// The cgroup of a pod.
#[derive(Debug)]
pub struct PodCgroup(Tree);

#[derive(Debug)]
enum Tree {
    V1(v1::Hierarchies),
    V2(v2::Subtree),
}

impl PodCgroup {
    /// Makes the pod's cgroup. Its apps may use the standard devices and `devices`, and together
    /// not more than `limits`.
    ///
    /// # Errors
    /// Cgroups that are not writable, a limit that cannot be set.
    pub fn create(location: &Location, limits: &Limits, devices: &[Device]) -> Result<Self, Error> {
        Ok(Self(match location.v2 {
            true => Tree::V2(v2::Subtree::create(&location.path, limits, devices)?),
            false => Tree::V1(v1::Hierarchies::create(&location.places, limits, devices)?),
        }))
    }

    /// The cgroup of a pod that runs already, by the directories that [`Location::directories`]
    /// gave when it was made.
    ///
    /// # Errors
    /// A directory that is gone.
    pub fn open(directories: &[PathBuf]) -> Result<Self, Error> {
        Ok(Self(match is_v2()? {
            true => Tree::V2(v2::Subtree::open(
                directories
                    .first()
                    .map_or(Path::new(MOUNT), PathBuf::as_path),
            )?),
            false => Tree::V1(v1::Hierarchies::open(directories)?),
        }))
    }

    /// On version 2, the cgroup that the pod's supervisor is cloned into.
    pub fn supervisor(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Tree::V1(_) => None,
            Tree::V2(subtree) => Some(subtree.supervisor()),
        }
    }

    /// Moves the calling process, which has one thread, into the pod's cgroups; on version 2 it was
    /// born there.
    ///
    /// # Errors
    /// As write(2) to `tasks`.
    pub fn join(&self) -> Result<(), Error> {
        match &self.0 {
            Tree::V1(hierarchies) => hierarchies.join(),
            Tree::V2(_) => Ok(()),
        }
    }

    /// Makes the cgroup of an app; of the pod's `devices` it may use these.
    ///
    /// # Errors
    /// A limit that cannot be set, as its controller is missing.
    pub fn app(&self, name: &str, limits: &Limits, devices: &[Device]) -> Result<AppCgroup, Error> {
        Ok(AppCgroup::new(match &self.0 {
            Tree::V1(hierarchies) => App::V1(hierarchies.app(name, limits, devices)?),
            Tree::V2(subtree) => {
                let (dir, procs) = subtree.app(name, limits, devices)?;
                App::V2 { dir, procs }
            }
        }))
    }
}

/// Whether this process is what a systemd service was started for, and its cgroup is the pod's to
/// divide (devel-cgroups, "rkt started as a systemd service").
pub fn belongs_to_service() -> bool {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    match is_v2() {
        Ok(true) => v2::is_service(&own),
        Ok(false) => v1::tracked_path(&own)
            .extension()
            .is_some_and(|e| e == "service"),
        Err(_) => false,
    }
}

/// Moves the calling process, which has one thread, into the cgroups of another.
///
/// # Errors
/// As write(2) to `cgroup.procs` and `tasks`.
pub fn join_those_of(pid: Pid) -> Result<(), Error> {
    let file = format!("/proc/{}/cgroup", pid.as_raw_nonzero());
    let cgroups = std::fs::read_to_string(&file).context("read", &file)?;
    if !is_v2()? {
        return v1::join_those_of(&cgroups);
    }
    let procs = v2::place_of(&cgroups).join("cgroup.procs");
    std::fs::write(&procs, "0").context("join", procs.display())
}

fn is_v2() -> Result<bool, Error> {
    const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
    let stat = rustix::fs::statfs(MOUNT).context("inspect", MOUNT)?;
    Ok(stat.f_type as i64 == CGROUP2_SUPER_MAGIC)
}
