//! The pod's own set-up, in the process that becomes its PID 1: host name, volumes, root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::Signal;
use sandbox::label::selinux::create_sockets_in;
use sandbox::mounts::{self, Attr};
use sandbox::root::{Kind, Root};
use sandbox::signals::SignalFd;
use sandbox::{Context, Error};
use stage1_abi::path::STAGE1_ROOTFS;

use crate::plan::{PodPlan, VolumePlan};
use crate::supervise::Supervisor;

/// Exit status of a pod that could not be set up.
const SETUP_FAILED: u8 = 254;

/// What binds the supervisor to the process that started it.
#[derive(Debug)]
pub struct Links {
    /// Gets one byte when the pod's cgroups and networks are ready; closes when they will not be.
    pub go: OwnedFd,
    /// Gets one byte when every app runs, and is ready if it says so itself.
    pub ready: Option<OwnedFd>,
    /// Standard input is a terminal that passes every byte on: watch it for `^]^]^]`.
    pub watch_input: bool,
}

/// Runs the pod to its end and returns its exit status. The process must be PID 1 of its pid
/// namespace, with mount, UTS and IPC namespaces of its own, one thread, all signals blocked, and
/// the pod directory as its working directory; with a user namespace it must be that one's root,
/// with the stage1 root file system as its working directory.
pub fn run(plan: PodPlan, links: Links) -> u8 {
    match set_up(&plan).and_then(|()| Supervisor::start(plan, links)) {
        Ok(Some(supervisor)) => supervisor.supervise(),
        // Whoever started the pod gave up and has said why.
        Ok(None) => SETUP_FAILED,
        Err(error) => {
            let line = format!("rkt: cannot set up the pod: {error}\n");
            // Without standard error there is nobody to tell.
            let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
            SETUP_FAILED
        }
    }
}

/// Makes the stage1 root file system, with all the apps and volumes below it, this namespace's
/// root.
fn set_up(plan: &PodPlan) -> Result<(), Error> {
    // A pod does not outlive the process that keeps its lock.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context("set", "the parent death signal")?;
    rustix::process::umask(Mode::empty());
    rustix::system::sethostname(plan.hostname.as_bytes())
        .context("set host name", &plan.hostname)?;
    set_parameters(&plan.sysctls)?;
    let recursive_slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", recursive_slave).context("detach mounts of", "the host")?;
    let root = stage1_root(Path::new(match plan.user_namespace {
        true => ".",
        false => STAGE1_ROOTFS,
    }))?;
    for volume in &plan.volumes {
        gather(volume, &root)?;
    }
    if plan.user_namespace {
        kernel_view(&root, plan.binds_devices())?;
    }
    let (size, files) = (plan.shm_size.to_string(), ("nr_inodes", "65536"));
    let context = plan.labels.as_ref().map(|labels| labels.file.as_str());
    let shm = [("mode", "1777"), ("size", size.as_str()), files];
    memory(&root, "dev/shm", &shm, context)?;
    // Sockets and their directories are quicker made in memory than on disk.
    memory(&root, "run", &[("mode", "0755"), ("size", "4m")], context)?;
    if let Some(labels) = &plan.labels {
        // Apps write to the sockets of the pod's log, and say on another that they are ready. Where the
        // policy does not allow it they are this domain's, and the policy says who may write to them.
        let _ = create_sockets_in(&labels.process);
    }
    mounts::pivot(&root)
}

/// Sets kernel parameters, through the host's `/proc`: it shows each process those of its own
/// namespaces.
fn set_parameters(parameters: &[(String, String)]) -> Result<(), Error> {
    for (name, value) in parameters {
        let what = || format!("kernel parameter {name} to {value:?}");
        // As sysctl(8) reads names: the first separator says which one it is.
        let separator = name.find(['.', '/']).map(|at| &name[at..=at]);
        let file = match separator {
            Some(".") => name.replace('.', "/"),
            _ => name.clone(),
        };
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(CWD, format!("/proc/sys/{file}"), flags, Mode::empty())
            .and_then(|fd| rustix::io::write(fd, value.as_bytes()))
            .map(drop)
            .context("set", what())?;
    }
    Ok(())
}

/// What root of a user namespace cannot make anew once the host's tree is gone: device nodes, and
/// `/proc` and `/sys`, which the kernel mounts there only where it can be seen in full already.
fn kernel_view(root: &Root, devices: bool) -> Result<(), Error> {
    if devices {
        let options = [("mode", "0755"), ("size", "64k")];
        let dev = mounts::new("tmpfs", &options, Attr::NOSUID | Attr::NOEXEC)?;
        attach_directory(root, "dev", &dev)?;
        crate::app::gather_devices(dev.as_fd())?;
    }
    let attr = Attr::NOSUID | Attr::NODEV | Attr::NOEXEC;
    attach_directory(root, "/proc", mounts::new("proc", &[], attr)?)?;
    let sysfs = match mounts::new("sysfs", &[], attr) {
        // The network namespace is the host's: so is what it shows.
        Err(error) if error.errno == Errno::PERM => {
            mounts::copy(CWD, Path::new("/sys"), true).context("copy mount", "/sys")?
        }
        mount => mount?,
    };
    attach_directory(root, "/sys", sysfs)
}

/// Mounts a file system in memory below the root.
fn memory(
    root: &Root,
    path: &str,
    options: &[(&str, &str)],
    context: Option<&str>,
) -> Result<(), Error> {
    let attr = Attr::NOSUID | Attr::NODEV | Attr::NOEXEC;
    let labelled = mounts::labelled(context);
    let options: Vec<_> = options.iter().copied().chain(labelled).collect();
    attach_directory(root, path, mounts::new("tmpfs", &options, attr)?)
}

fn attach_directory(root: &Root, path: &str, mount: impl AsFd) -> Result<(), Error> {
    let target = root
        .mount_target(Path::new(path), Kind::Directory)
        .context("make", path)?;
    mounts::attach(mount, target).context("mount", path)
}

/// The stage1 root file system as the root of a mount: stage0's overlay, or a bind mount of the
/// tree that it copied.
fn stage1_root(path: &Path) -> Result<Root, Error> {
    let copy = mounts::copy(CWD, path, true).context("copy mount", path.display())?;
    mounts::attach_at(&copy, path)?;
    Ok(Root::from(copy))
}

fn gather(volume: &VolumePlan, root: &Root) -> Result<(), Error> {
    let mount = match &volume.mount {
        Some(mount) => mount.try_clone().context("copy", "a descriptor")?,
        None => copy_volume(volume, None)?,
    };
    attach_volume(root, &volume.gathered, mount)
}

/// A copy of the mount that a volume is on, not attached anywhere yet; shown under the ids of the
/// user namespace `users` if the volume is to be.
///
/// # Errors
/// A source that is not there, a file system that cannot be shown under other ids.
pub fn copy_volume(volume: &VolumePlan, users: Option<BorrowedFd<'_>>) -> Result<OwnedFd, Error> {
    let source = volume.source.display();
    // The host's path may be a symlink: it is the user's, and followed.
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let fd =
        openat(CWD, &volume.source, flags, Mode::empty()).context("open volume source", &source)?;
    let mount =
        mounts::copy(&fd, Path::new(""), volume.recursive).context("copy mount", &source)?;
    if let Some(users) = users.filter(|_| volume.mapped) {
        mounts::idmap(&mount, users, volume.recursive).context(
            "show under the pod's ids (idmap=true) volume source",
            &source,
        )?;
    }
    Ok(mount)
}

/// Attaches a volume's mount at its place below the stage1 root file system.
pub(crate) fn attach_volume(root: &Root, place: &Path, mount: OwnedFd) -> Result<(), Error> {
    let stat = rustix::fs::fstat(&mount).context("inspect volume", place.display())?;
    let kind = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::Directory => Kind::Directory,
        _ => Kind::File,
    };
    let target = root
        .mount_target(place, kind)
        .context("make", place.display())?;
    mounts::attach(mount, target).context("mount volume at", place.display())
}

/// Blocks all signals of the process that will clone the supervisor, so that none is lost between
/// the clone and its first poll.
///
/// # Errors
/// As signalfd(2).
pub(crate) fn signals() -> Result<SignalFd, Error> {
    SignalFd::block_all().context("block", "signals")
}
