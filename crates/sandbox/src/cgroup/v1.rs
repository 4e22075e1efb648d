//! Version 1: one hierarchy a controller.
//!
//! Processes move themselves, by writing 0 to `tasks`. Any other move takes a lock of the whole
//! machine, and who takes it first after a while waits some ten milliseconds until every processor
//! has passed through the scheduler.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use super::control::{set, set_if_there};
use super::limits::{Limits, PERIOD_US, cpu_quota};
use super::{Device, MOUNT, block, devices};
use crate::error::{Context, Error};

/// Hierarchies that a pod joins when the host has them: those that limit it, account for it or
/// name it. The rest have nothing to say about a pod.
const JOINED: [&str; 6] = [
    "cpu",
    "cpuacct",
    "devices",
    "memory",
    "name=systemd",
    "pids",
];
/// Joined only by pods whose block devices are limited.
const BLOCK: &str = "blkio";

/// The name of systemd's hierarchy, which has no controllers.
const SYSTEMD: &str = "systemd";

/// The file of a cgroup that threads join it by.
const TASKS: &str = "tasks";

/// The pod's directories in the joined hierarchies.
#[derive(Debug)]
pub(super) struct Hierarchies {
    all: Vec<Hierarchy>,
    /// Their `tasks`, while nothing has joined.
    tasks: Vec<OwnedFd>,
    /// Devices beside the standard ones.
    devices: Vec<Device>,
}

#[derive(Debug)]
struct Hierarchy {
    /// As `/proc/self/cgroup` or the mount point lists them: one, or several mounted together.
    controllers: String,
    dir: OwnedFd,
}

impl Hierarchy {
    /// Whether it is the hierarchy of a controller, or has that name.
    fn has(&self, controller: &str) -> bool {
        let mut all = self.controllers.split(',');
        all.any(|c| c.strip_prefix("name=").unwrap_or(c) == controller)
    }
}

/// Lines of `/proc/self/cgroup` as (controllers, path); the version 2 line has no controllers.
fn lines(own: &str) -> impl Iterator<Item = (&str, &str)> {
    own.lines()
        .filter_map(|line| line.split_once(':')?.1.split_once(':'))
}

/// Where a hierarchy is mounted, by convention.
fn mount_of(controllers: &str) -> PathBuf {
    Path::new(MOUNT).join(controllers.strip_prefix("name=").unwrap_or(controllers))
}

/// The caller's path in the hierarchy that systemd tracks, or in another where there is none.
pub(super) fn tracked_path(own: &str) -> PathBuf {
    let tracked = lines(own).find(|(c, _)| *c == "name=systemd");
    let any = || lines(own).find(|(c, _)| joined(c));
    PathBuf::from(tracked.or_else(any).map_or("/", |(_, path)| path))
}

fn places_of(cgroups: &str) -> impl Iterator<Item = PathBuf> {
    lines(cgroups)
        .filter(|(c, path)| joined(c) || (is_block(c) && *path != "/"))
        .map(|(c, path)| below(&mount_of(c), Path::new(path)))
        .filter(|place| place.is_dir())
}

fn below(mount: &Path, path: &Path) -> PathBuf {
    mount.join(path.strip_prefix("/").unwrap_or(path))
}

fn joined(controllers: &str) -> bool {
    controllers.split(',').any(|c| JOINED.contains(&c))
}

fn is_block(controllers: &str) -> bool {
    controllers.split(',').any(|c| c == BLOCK)
}

/// The pod's directories: controllers and path, from the caller's `/proc/self/cgroup`. In every
/// hierarchy the pod stays below its caller, and so under the caller's limits.
pub(super) fn places(own: &str, name: &str, block: bool) -> Vec<(String, PathBuf)> {
    lines(own)
        .filter(|(c, _)| joined(c) || (block && is_block(c)))
        .map(|(c, caller)| (c.to_owned(), mount_of(c), caller))
        // A hierarchy the kernel has but nobody mounted cannot be used.
        .filter(|(_, mount, _)| mount.is_dir())
        .map(|(c, mount, caller)| (c, below(&mount, Path::new(caller)).join(name)))
        .collect()
}

impl Hierarchies {
    pub(super) fn create(
        places: &[(String, PathBuf)],
        limits: &Limits,
        devices: &[Device],
    ) -> Result<Self, Error> {
        let mut all = Vec::with_capacity(places.len());
        let mut tasks = Vec::with_capacity(places.len());
        for (controllers, path) in places {
            let dir = make(CWD, path)?;
            tasks.push(open_tasks(&dir, Path::new(TASKS))?);
            let controllers = controllers.clone();
            all.push(Hierarchy { controllers, dir });
        }
        let pod = Self {
            all,
            tasks,
            devices: devices.to_vec(),
        };
        pod.close_devices()?;
        pod.refuse_unenforceable(limits)?;
        for hierarchy in &pod.all {
            hierarchy.limit(&hierarchy.dir, limits)?;
        }
        Ok(pod)
    }

    /// The directories of a pod that runs already.
    pub(super) fn open(directories: &[PathBuf]) -> Result<Self, Error> {
        let open = |path: &PathBuf| {
            let below = path.strip_prefix(MOUNT).unwrap_or(path);
            let mount = below.components().next();
            let mount = mount.map_or_else(String::new, |c| c.as_os_str().to_string_lossy().into());
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir =
                openat(CWD, path, flags, Mode::empty()).context("open cgroup", path.display())?;
            Ok(Hierarchy {
                controllers: mount,
                dir,
            })
        };
        directories
            .iter()
            .map(open)
            .collect::<Result<_, _>>()
            .map(|all| Self {
                all,
                tasks: Vec::new(),
                devices: Vec::new(),
            })
    }

    /// Allows the standard devices, those given, and no other.
    fn close_devices(&self) -> Result<(), Error> {
        let Some(hierarchy) = self.all.iter().find(|h| h.has("devices")) else {
            return Ok(());
        };
        set(hierarchy.dir.as_fd(), "devices.deny", "a")?;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let allow = openat(&hierarchy.dir, "devices.allow", flags, Mode::empty())
            .context("open", "devices.allow")?;
        // Making any node is harmless, opening it is what counts.
        let rules = ["c *:* m", "b *:* m"].map(str::to_owned).into_iter();
        for rule in rules.chain(devices::allowed(&self.devices).map(devices::rule)) {
            rustix::io::write(&allow, rule.as_bytes()).context("allow device", rule)?;
        }
        Ok(())
    }

    pub(super) fn join(&self) -> Result<(), Error> {
        join(&self.tasks)
    }

    /// Makes an app's directories; returns their `tasks`.
    pub(super) fn app(
        &self,
        name: &str,
        limits: &Limits,
        devices: &[Device],
    ) -> Result<Vec<OwnedFd>, Error> {
        self.refuse_unenforceable(limits)?;
        let mut tasks = Vec::with_capacity(self.all.len());
        let others = devices::others(&self.devices, devices);
        for hierarchy in &self.all {
            // Where the pod has no device more than the app, its policy is the app's; and systemd's
            // own hierarchy counts and limits nothing.
            let devices = hierarchy.has("devices") && others.is_empty();
            if devices || hierarchy.has(SYSTEMD) {
                continue;
            }
            let dir = make(hierarchy.dir.as_fd(), Path::new(name))?;
            hierarchy.limit(&dir, limits)?;
            if hierarchy.has("devices") {
                for device in &others {
                    set(dir.as_fd(), "devices.deny", &device.rule())?;
                }
            }
            tasks.push(open_tasks(&dir, Path::new(TASKS))?);
        }
        Ok(tasks)
    }

    fn refuse_unenforceable(&self, limits: &Limits) -> Result<(), Error> {
        let lacks = |controller: &str| !self.all.iter().any(|h| h.has(controller));
        if (limits.memory.is_some() || limits.memory_request.is_some()) && lacks("memory") {
            return Err(Errno::OPNOTSUPP).context("limit", "memory: no memory controller");
        }
        if (limits.cpu_millis.is_some() || limits.cpu_shares.is_some()) && lacks("cpu") {
            return Err(Errno::OPNOTSUPP).context("limit", "cpu: no cpu controller");
        }
        if limits.limits_block_devices() && lacks(BLOCK) {
            return Err(Errno::OPNOTSUPP).context("limit", "block devices: no blkio controller");
        }
        Ok(())
    }
}

impl Hierarchy {
    /// Sets those of the limits that this hierarchy is for, on a directory in it.
    fn limit(&self, dir: &OwnedFd, limits: &Limits) -> Result<(), Error> {
        if self.has("memory") {
            limit_memory(dir, limits)?;
        }
        if self.has("cpu") {
            limit_cpu(dir, limits)?;
        }
        if self.has(BLOCK) {
            limit_block(dir, limits)?;
        }
        match limits.pids.filter(|_| self.has("pids")) {
            Some(most) => set(dir.as_fd(), "pids.max", &most.to_string()),
            None => Ok(()),
        }
    }
}

/// Version 1 has a file for each direction, and a line for each device.
fn limit_block(dir: &OwnedFd, limits: &Limits) -> Result<(), Error> {
    if !limits.limits_block_devices() {
        return Ok(());
    }
    for device in block::devices()? {
        for (unit, most) in [("bps", limits.block_bandwidth), ("iops", limits.block_iops)] {
            let Some(most) = most else { continue };
            for direction in ["read", "write"] {
                let file = format!("blkio.throttle.{direction}_{unit}_device");
                set(dir.as_fd(), &file, &format!("{device} {most}"))?;
            }
        }
    }
    Ok(())
}

fn limit_memory(dir: &OwnedFd, limits: &Limits) -> Result<(), Error> {
    if let Some(bytes) = limits.memory_request {
        set(
            dir.as_fd(),
            "memory.soft_limit_in_bytes",
            &bytes.to_string(),
        )?;
    }
    let Some(bytes) = limits.memory else {
        return Ok(());
    };
    set(dir.as_fd(), "memory.limit_in_bytes", &bytes.to_string())?;
    // With swap accounting, swap must not become the way around the limit; without, the file is
    // not there.
    set_if_there(
        dir.as_fd(),
        "memory.memsw.limit_in_bytes",
        &bytes.to_string(),
    )
}

fn limit_cpu(dir: &OwnedFd, limits: &Limits) -> Result<(), Error> {
    if let Some(millis) = limits.cpu_millis {
        set(dir.as_fd(), "cpu.cfs_period_us", &PERIOD_US.to_string())?;
        set(
            dir.as_fd(),
            "cpu.cfs_quota_us",
            &cpu_quota(millis).to_string(),
        )?;
    }
    match limits.cpu_shares {
        Some(shares) => set(dir.as_fd(), "cpu.shares", &shares.max(2).to_string()),
        None => Ok(()),
    }
}

/// Moves the calling thread into all of `tasks`.
pub(super) fn join(tasks: &[OwnedFd]) -> Result<(), Error> {
    let join = |file: &OwnedFd| rustix::io::write(file, b"0").context("join", "a cgroup");
    tasks.iter().try_for_each(|file| join(file).map(drop))
}

/// Moves the calling thread into the cgroups of a process, from its `/proc/PID/cgroup`.
pub(super) fn join_those_of(cgroups: &str) -> Result<(), Error> {
    let open = |place: PathBuf| open_tasks(CWD, &place.join(TASKS));
    let tasks: Result<Vec<_>, _> = places_of(cgroups).map(open).collect();
    join(&tasks?)
}

fn make(parent: impl AsFd, path: &Path) -> Result<OwnedFd, Error> {
    match mkdirat(&parent, path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).context("make cgroup", path.display()),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(parent, path, flags, Mode::empty()).context("open cgroup", path.display())
}

fn open_tasks(dir: impl AsFd, path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    openat(dir, path, flags, Mode::empty()).context("open", path.display())
}
