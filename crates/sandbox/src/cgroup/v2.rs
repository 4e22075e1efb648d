//! Version 2: one tree, controllers enabled level by level, processes in leaves only.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use super::control::{self, set_if_there};
use super::limits::{Limits, PERIOD_US, cpu_quota};
use super::{Device, MOUNT, block, devices};
use crate::error::{Context, Error};

/// Controllers that limit apps, enabled where the kernel has them.
const CONTROLLERS: [&str; 4] = ["cpu", "io", "memory", "pids"];
/// Leaf of the supervisor. No app can have this name: underscores are outside AC names.
const SUPERVISOR: &str = "_supervisor";
/// Leaf that the caller moves to when its own cgroup must give controllers to the pod's.
const CALLER: &str = "_rkt";
/// Where systemd keeps machines; used when the caller's own cgroup cannot have children.
const MACHINE_SLICE: &str = "/machine.slice";

/// The pod's subtree.
#[derive(Debug)]
pub(super) struct Subtree {
    dir: OwnedFd,
    supervisor: OwnedFd,
    /// Devices beside the standard ones.
    devices: Vec<Device>,
}

/// Directory of a process's cgroup, from its `/proc/PID/cgroup`.
pub(super) fn place_of(cgroups: &str) -> PathBuf {
    below_mount(Path::new(own_path(cgroups)))
}

fn own_path(own: &str) -> &str {
    own.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/")
}

impl Subtree {
    pub(super) fn create(path: &Path, limits: &Limits, devices: &[Device]) -> Result<Self, Error> {
        let dir = make(CWD, &below_mount(path))?;
        enable(dir.as_fd());
        super::devices_bpf::restrict(dir.as_fd(), devices)?;
        limit(dir.as_fd(), limits)?;
        let supervisor = make(dir.as_fd(), Path::new(SUPERVISOR))?;
        Ok(Self {
            dir,
            supervisor,
            devices: devices.to_vec(),
        })
    }

    /// The subtree of a pod that runs already.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let dir = open(path)?;
        let supervisor = open(&path.join(SUPERVISOR))?;
        Ok(Self {
            dir,
            supervisor,
            devices: Vec::new(),
        })
    }

    pub(super) fn supervisor(&self) -> BorrowedFd<'_> {
        self.supervisor.as_fd()
    }

    /// Makes an app's leaf and sets its limits; the leaf and its `cgroup.procs`.
    pub(super) fn app(
        &self,
        name: &str,
        limits: &Limits,
        devices: &[Device],
    ) -> Result<(OwnedFd, OwnedFd), Error> {
        let dir = make(self.dir.as_fd(), Path::new(name))?;
        // Where it has no device more than the app, the pod's policy is enough.
        if !devices::others(&self.devices, devices).is_empty() {
            super::devices_bpf::restrict(dir.as_fd(), devices)?;
        }
        limit(dir.as_fd(), limits)?;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let procs = openat(&dir, "cgroup.procs", flags, Mode::empty())
            .context("open the processes of cgroup", name)?;
        Ok((dir, procs))
    }
}

/// Writes a limit, or says why its file is missing: each cgroup has it whose parent hands the
/// controller down.
fn set(dir: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Error> {
    control::set(dir, file, value).map_err(|mut error| {
        if error.errno == Errno::NOENT {
            error.object.push_str(
                " (rkt's cgroup was not given this controller: a unit has those that Delegate= names)",
            );
        }
        error
    })
}

fn limit(dir: BorrowedFd<'_>, limits: &Limits) -> Result<(), Error> {
    if let Some(bytes) = limits.memory {
        set(dir, "memory.max", &bytes.to_string())?;
        set_if_there(dir, "memory.swap.max", "0")?;
    }
    if let Some(bytes) = limits.memory_request {
        set(dir, "memory.low", &bytes.to_string())?;
    }
    if let Some(bytes) = limits.memory_high() {
        set(dir, "memory.high", &bytes.to_string())?;
    }
    if let Some(millis) = limits.cpu_millis {
        set(
            dir,
            "cpu.max",
            &format!("{} {PERIOD_US}", cpu_quota(millis)),
        )?;
    }
    if let Some(shares) = limits.cpu_shares {
        set(dir, "cpu.weight", &weight(shares).to_string())?;
    }
    if limits.limits_block_devices() {
        for device in block::devices()? {
            set(dir, "io.max", &io_max(&device, limits))?;
        }
    }
    match limits.pids {
        // The pod's own protection: without the controller it does without.
        Some(most) => set_if_there(dir, "pids.max", &most.to_string()),
        None => Ok(()),
    }
}

/// A line of `io.max`.
fn io_max(device: &str, limits: &Limits) -> String {
    let mut line = device.to_owned();
    if let Some(bytes) = limits.block_bandwidth {
        line.push_str(&format!(" rbps={bytes} wbps={bytes}"));
    }
    if let Some(operations) = limits.block_iops {
        line.push_str(&format!(" riops={operations} wiops={operations}"));
    }
    line
}

/// Version 1's shares (2 to 262144, default 1024) on version 2's scale (1 to 10000, default 100),
/// as the other runtimes convert them.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// The cgroup to make the pod's in: the caller's (from `/proc/self/cgroup`), if it can hand
/// controllers down.
pub(super) fn parent_for(own: &str) -> Result<PathBuf, Error> {
    let caller = Path::new(own_path(own));
    let dir = open(&below_mount(caller))?;
    if enable(dir.as_fd()) || (alone_in(dir.as_fd()) && step_down(dir.as_fd())) {
        return Ok(caller.to_owned());
    }
    let slice = Path::new(MACHINE_SLICE);
    let root = open(Path::new(MOUNT))?;
    enable(root.as_fd());
    let dir = make(CWD, &below_mount(slice))?;
    enable(dir.as_fd());
    Ok(slice.to_owned())
}

/// Whether the caller's cgroup is a service's and holds nobody else.
pub(super) fn is_service(own: &str) -> bool {
    let path = Path::new(own_path(own));
    path.extension().is_some_and(|e| e == "service")
        && open(&below_mount(path)).is_ok_and(|dir| alone_in(dir.as_fd()))
}

/// Enables what can be enabled for the children of `dir`; whether the kernel let us.
fn enable(dir: BorrowedFd<'_>) -> bool {
    let mut text = [0u8; 256];
    let available = read(dir, "cgroup.controllers", &mut text).unwrap_or_default();
    let wanted = available
        .split_ascii_whitespace()
        .filter(|controller| CONTROLLERS.contains(controller));
    let wanted: Vec<String> = wanted.map(|controller| format!("+{controller}")).collect();
    // All at once: cpu or pids alone would be enabled although there are processes, and make the
    // cgroup one of threads, which no other controller can be enabled in.
    wanted.is_empty() || set(dir, "cgroup.subtree_control", &wanted.join(" ")).is_ok()
}

fn read<'t>(dir: BorrowedFd<'_>, file: &str, text: &'t mut [u8]) -> Result<&'t str, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = openat(dir, file, flags, Mode::empty())?;
    let length = rustix::io::read(fd, &mut *text)?;
    std::str::from_utf8(&text[..length]).map_err(|_| Errno::ILSEQ)
}

/// Whether this process is the only one in `dir`: a service that delegates to us.
fn alone_in(dir: BorrowedFd<'_>) -> bool {
    let mut text = [0u8; 64];
    let own = format!("{}\n", rustix::process::getpid().as_raw_nonzero());
    read(dir, "cgroup.procs", &mut text).is_ok_and(|procs| procs == own)
}

/// Moves this process to a leaf, so that its cgroup may have children with controllers.
fn step_down(dir: BorrowedFd<'_>) -> bool {
    let leaf = make(dir, Path::new(CALLER));
    leaf.is_ok_and(|leaf| set(leaf.as_fd(), "cgroup.procs", "0").is_ok()) && enable(dir)
}

pub(super) fn below_mount(path: &Path) -> PathBuf {
    Path::new(MOUNT).join(path.strip_prefix("/").unwrap_or(path))
}

fn open(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).context("open cgroup", path.display())
}

fn make(parent: impl AsFd, path: &Path) -> Result<OwnedFd, Error> {
    match mkdirat(&parent, path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).context("make cgroup", path.display()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(parent, path, flags, Mode::empty()).context("open cgroup", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        assert_eq!(weight(2), 1);
        assert_eq!(weight(1024), 39);
        assert_eq!(weight(262_144), 10_000);
        assert_eq!(weight(0), 1);
    }

    #[test]
    fn block_limits_are_lines() {
        let limits = Limits {
            block_bandwidth: Some(1000),
            block_iops: Some(5),
            ..Limits::default()
        };
        let line = io_max("8:0", &limits);
        assert_eq!(line, "8:0 rbps=1000 wbps=1000 riops=5 wiops=5");
    }

    #[test]
    fn a_controller_that_is_missing_is_said_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let dir = open(dir.path()).unwrap();
        let limits = Limits {
            memory: Some(4096),
            ..Limits::default()
        };
        let error = limit(dir.as_fd(), &limits).unwrap_err();
        assert!(
            error.to_string().contains("memory.max") && error.to_string().contains("Delegate=")
        );
    }

    #[test]
    fn the_caller_is_found() {
        assert_eq!(own_path("3:cpu:/a\n0::/user.slice/x\n"), "/user.slice/x");
    }
}
