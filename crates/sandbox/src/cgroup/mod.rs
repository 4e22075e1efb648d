//! The cgroups of a pod and of its apps, on version 1, on version 2 and on hosts with both.
//!
//! A pod lives in a cgroup of its own below its caller's (devel-cgroups), each app in one below
//! the pod's.

mod devices;
mod devices_bpf;
mod v1;
mod v2;

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::error::{Context, Error};

/// Where all hierarchies are mounted, on every host that follows the conventions.
const MOUNT: &str = "/sys/fs/cgroup";

/// Limits of one cgroup; absent ones are not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_millis: Option<u64>,
    /// Relative weight, 1024 being the default (cgroup v1's scale).
    pub cpu_shares: Option<u64>,
}

/// The cgroup of a pod.
#[derive(Debug)]
pub struct PodCgroup {
    tree: Tree,
    name: String,
}

#[derive(Debug)]
enum Tree {
    V1(v1::Hierarchies),
    V2(v2::Subtree),
}

/// The cgroup of one app, for the process that starts it.
#[derive(Debug)]
pub struct AppCgroup(App);

#[derive(Debug)]
enum App {
    V1(Vec<std::os::fd::OwnedFd>),
    V2(std::os::fd::OwnedFd),
}

impl PodCgroup {
    /// Makes the pod's cgroup. `name` is one path component.
    ///
    /// # Errors
    /// Cgroups that are not mounted, or not writable.
    pub fn create(name: &str) -> Result<Self, Error> {
        let own =
            std::fs::read_to_string("/proc/self/cgroup").context("read", "/proc/self/cgroup")?;
        let tree = if is_v2()? {
            Tree::V2(v2::Subtree::create(v2::own_path(&own), name)?)
        } else {
            Tree::V1(v1::Hierarchies::create(&own, name)?)
        };
        Ok(Self {
            tree,
            name: name.to_owned(),
        })
    }

    /// Path of the pod's cgroup in the hierarchy that systemd tracks, for the `subcgroup` file.
    pub fn path(&self) -> PathBuf {
        match &self.tree {
            Tree::V1(hierarchies) => hierarchies.tracked_path(&self.name),
            Tree::V2(subtree) => subtree.path().to_owned(),
        }
    }

    /// On version 2, the cgroup that the pod's supervisor is cloned into.
    pub fn supervisor(&self) -> Option<BorrowedFd<'_>> {
        match &self.tree {
            Tree::V1(_) => None,
            Tree::V2(subtree) => Some(subtree.supervisor()),
        }
    }

    /// Moves the supervisor into the pod's cgroups; on version 2 it was born there.
    ///
    /// On an idle machine the first move waits some ten milliseconds for the kernel, doing
    /// nothing: let other work go on meanwhile.
    ///
    /// # Errors
    /// As write(2) to `cgroup.procs`.
    pub fn join(&self, pid: Pid) -> Result<(), Error> {
        match &self.tree {
            Tree::V1(hierarchies) => hierarchies.join(pid),
            Tree::V2(_) => Ok(()),
        }
    }

    /// Makes the cgroup of an app.
    ///
    /// # Errors
    /// A limit that cannot be set, as its controller is missing.
    pub fn app(&self, name: &str, limits: &Limits) -> Result<AppCgroup, Error> {
        Ok(AppCgroup(match &self.tree {
            Tree::V1(hierarchies) => App::V1(hierarchies.app(name, limits)?),
            Tree::V2(subtree) => App::V2(subtree.app(name, limits)?),
        }))
    }

    /// Removes the cgroups. All processes in them must have ended.
    ///
    /// # Errors
    /// As rmdir(2); cgroups that are gone already are no error.
    pub fn remove(self) -> Result<(), Error> {
        remove(&self.path())
    }
}

impl AppCgroup {
    /// On version 2, the cgroup to clone the app into.
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        match &self.0 {
            App::V1(_) => None,
            App::V2(dir) => Some(dir.as_fd()),
        }
    }

    /// On version 1, moves a process, by its pid in the caller's namespace, into the cgroup.
    ///
    /// # Errors
    /// As write(2) to `cgroup.procs`.
    pub fn join(&self, pid: Pid) -> Result<(), Error> {
        match &self.0 {
            App::V1(procs) => v1::join(procs, pid),
            App::V2(_) => Ok(()),
        }
    }
}

/// Removes the cgroups at `path` (as [`PodCgroup::path`] gave it) from every hierarchy, children
/// first. What is gone already is no error.
///
/// # Errors
/// As rmdir(2), `EBUSY` while a process is left.
pub fn remove(path: &Path) -> Result<(), Error> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    // Never the root of a hierarchy, nor a place outside it.
    if !relative
        .components()
        .all(|c| matches!(c, std::path::Component::Normal(_)))
        || relative.as_os_str().is_empty()
    {
        return Err(rustix::io::Errno::INVAL).context("remove cgroup", path.display());
    }
    if is_v2()? {
        return remove_tree(&Path::new(MOUNT).join(relative));
    }
    let mut result = Ok(());
    for hierarchy in v1::mounted()? {
        result = result.and(remove_tree(&hierarchy.join(relative)));
    }
    result
}

fn remove_tree(dir: &Path) -> Result<(), Error> {
    use rustix::io::Errno;
    match rustix::fs::rmdir(dir) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        Err(errno) => return Err(errno).context("remove cgroup", dir.display()),
    }
    for entry in std::fs::read_dir(dir).context("read cgroup", dir.display())? {
        let entry = entry.context("read cgroup", dir.display())?;
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match rustix::fs::rmdir(dir) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).context("remove cgroup", dir.display()),
    }
}

fn is_v2() -> Result<bool, Error> {
    const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
    let stat = rustix::fs::statfs(MOUNT).context("inspect", MOUNT)?;
    Ok(stat.f_type as i64 == CGROUP2_SUPER_MAGIC)
}

/// Writes one value to a control file of a cgroup.
fn set(dir: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Error> {
    use rustix::fs::{Mode, OFlags, openat};
    openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|fd| rustix::io::write(fd, value.as_bytes()))
        .map(drop)
        .context("set", format_args!("{file} to {value:?}"))
}

/// Quota in microseconds of processor time in each `PERIOD_US`.
fn cpu_quota(millis: u64) -> u64 {
    // The kernel refuses quotas under a millisecond.
    (millis.saturating_mul(PERIOD_US) / 1000).max(1000)
}

const PERIOD_US: u64 = 100_000;
