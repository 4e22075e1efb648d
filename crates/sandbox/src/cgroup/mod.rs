//! The cgroups of a pod and of its apps, on version 1, on version 2 and on hosts with both.
//!
//! A pod lives in a cgroup of its own below its caller's (devel-cgroups), each app in one below
//! the pod's.

mod block;
mod devices;
mod devices_bpf;
mod usage;
mod v1;
mod v2;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::error::{Context, Error};

pub use devices::Device;
pub use usage::{Usage, usage};

/// Where all hierarchies are mounted, on every host that follows the conventions.
const MOUNT: &str = "/sys/fs/cgroup";

/// Limits of one cgroup; absent ones are not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory that the kernel takes from others first when it runs short: `memory.low`,
    /// or the soft limit of version 1.
    pub memory_request: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_millis: Option<u64>,
    /// Relative weight, 1024 being the default (cgroup v1's scale).
    pub cpu_shares: Option<u64>,
    /// Bytes a second that are read, and that are written, on each block device. Version 1 counts
    /// writes that go past the page cache only.
    pub block_bandwidth: Option<u64>,
    /// Operations a second, likewise.
    pub block_iops: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

impl Limits {
    /// Whether block devices are limited.
    pub fn limits_block_devices(&self) -> bool {
        self.block_bandwidth.is_some() || self.block_iops.is_some()
    }
}

/// The cgroup of a pod.
#[derive(Debug)]
pub struct PodCgroup(Tree);

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
    /// The `tasks` of each hierarchy.
    V1(Vec<OwnedFd>),
    V2 {
        dir: OwnedFd,
        /// Opened by somebody with the host's privileges, which count when it is written to.
        procs: OwnedFd,
    },
}

/// Where a pod's cgroup will be.
#[derive(Debug)]
pub struct Location {
    /// The path in the hierarchy that systemd tracks.
    path: PathBuf,
    /// Controllers and directory in every hierarchy; version 2 has one, without controllers.
    places: Vec<(String, PathBuf)>,
    v2: bool,
}

impl Location {
    /// Finds the place for the cgroup `name`, one path component, of a pod started by this
    /// process. `block`: block devices will be limited, which on version 1 takes one more
    /// hierarchy.
    ///
    /// # Errors
    /// Cgroups that are not mounted.
    pub fn find(name: &str, block: bool) -> Result<Self, Error> {
        let file = "/proc/self/cgroup";
        let own = std::fs::read_to_string(file).context("read", file)?;
        if is_v2()? {
            let path = v2::parent_for(&own)?.join(name);
            let places = vec![(String::new(), v2::below_mount(&path))];
            return Ok(Self {
                path,
                places,
                v2: true,
            });
        }
        let path = v1::tracked_path(&own).join(name);
        Ok(Self {
            path,
            places: v1::places(&own, name, block),
            v2: false,
        })
    }

    /// Whether this process may make the pod's cgroup: it is root of the host, or somebody delegated
    /// the place to its user.
    ///
    /// # Errors
    /// A directory that it may not write to.
    pub fn check_delegated(&self) -> Result<(), Error> {
        for (_, place) in &self.places {
            let parent = place.parent().unwrap_or(place);
            rustix::fs::access(parent, rustix::fs::Access::WRITE_OK)
                .context("make a cgroup in", parent.display())?;
        }
        Ok(())
    }

    /// The path in the hierarchy that systemd tracks, for the `subcgroup` file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directories that [`remove`] removes.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.places.iter().map(|(_, path)| path.as_path())
    }
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
        Ok(AppCgroup(match &self.0 {
            Tree::V1(hierarchies) => App::V1(hierarchies.app(name, limits, devices)?),
            Tree::V2(subtree) => {
                let (dir, procs) = subtree.app(name, limits, devices)?;
                App::V2 { dir, procs }
            }
        }))
    }
}

impl AppCgroup {
    /// Its descriptors, for another process that starts the app, and whether it is of version 2.
    pub fn descriptors(&self) -> (Vec<BorrowedFd<'_>>, bool) {
        use std::os::fd::AsFd;
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
        use std::os::fd::AsFd;
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

/// Kills all processes of a cgroup and waits until they are gone. One that is gone already is no
/// error.
///
/// # Errors
/// Processes that do not end within a second.
pub fn end(directory: &Path) -> Result<(), Error> {
    kill_all(directory);
    let procs = directory.join("cgroup.procs");
    for _ in 0..100 {
        let Ok(text) = std::fs::read_to_string(&procs) else {
            return Ok(());
        };
        let pids: Vec<Pid> = text
            .lines()
            .filter_map(|line| line.parse().ok().and_then(Pid::from_raw))
            .collect();
        if pids.is_empty() {
            return Ok(());
        }
        for pid in pids {
            // One that ends meanwhile is what is wanted.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(rustix::io::Errno::BUSY).context("end the processes of", directory.display())
}

/// On version 2, kills all processes of a cgroup and of those below it at once, however quickly they
/// make others. Version 1, and Linux before 5.14, have no such file.
fn kill_all(directory: &Path) {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    // Who asks goes on to see what is left.
    let _ = openat(CWD, directory.join("cgroup.kill"), flags, Mode::empty())
        .and_then(|fd| rustix::io::write(fd, b"1"));
}

/// Removes a cgroup and those below it, children first; `directory` is one that
/// [`Location::directories`] gave. One that is gone already is no error.
///
/// # Errors
/// As rmdir(2), `EBUSY` while a process is left; `EINVAL` for a directory outside the hierarchies.
pub fn remove(directory: &Path) -> Result<(), Error> {
    use std::path::Component;
    let inside = directory.strip_prefix(MOUNT).is_ok_and(|relative| {
        let mut components = relative.components();
        relative.components().count() > 0 && components.all(|c| matches!(c, Component::Normal(_)))
    });
    if !inside {
        return Err(rustix::io::Errno::INVAL).context("remove cgroup", directory.display());
    }
    remove_tree(directory)
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

/// Writes one value to a control file of a cgroup that not every kernel has; where it is missing,
/// what it limits is missing, too.
fn set_if_there(dir: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Error> {
    match set(dir, file, value) {
        Err(error) if error.errno == rustix::io::Errno::NOENT => Ok(()),
        result => result,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// On a host with version 1 the tree of version 2 is beside it, without controllers.
    fn unified() -> PathBuf {
        match is_v2().unwrap() {
            true => PathBuf::from(MOUNT),
            false => Path::new(MOUNT).join("unified"),
        }
    }

    #[test]
    fn one_word_kills_what_is_in_a_cgroup_and_below_it() {
        let top = unified().join(format!("rkt-test-{}", std::process::id()));
        let below = top.join("below");
        std::fs::create_dir_all(&below).unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        std::fs::write(below.join("cgroup.procs"), child.id().to_string()).unwrap();
        kill_all(&top);
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        end(&below).unwrap();
        remove(&top).unwrap();
        // One that is gone is no error.
        kill_all(&top);
        end(&top).unwrap();
    }
}
