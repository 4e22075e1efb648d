//! `/dev` of an app: a small file system of its own with the standard devices (App Container
//! OS specification, "Devices and File Systems").

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, chownat, makedev, mkdirat, mknodat, symlinkat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, umask};
use sandbox::mounts::{self, Attr};
use sandbox::root::{Kind, Root};
use sandbox::{Context, Error};

/// Name, major and minor of the character devices.
const NODES: [(&str, u32, u32); 7] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    // The host's console is not the pod's: who may read it sees what is typed there. An app with a
    // terminal has that in its place.
    (CONSOLE, 1, 3),
];
const CONSOLE: &str = "console";
const NET: &str = "net";
const TUN_NAME: &str = "net/tun";
const TUN: (u32, u32) = (10, 200);

const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("log", "/run/systemd/journal/dev-log"),
];

/// Where an app's device nodes come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Nodes<'a> {
    /// It makes them.
    Made,
    /// It is in a user namespace, where none can be made; this file system has them ([`with_nodes`]).
    Given(BorrowedFd<'a>),
    /// It is in a user namespace, and those that [`gather`] left are bound one by one.
    Bound,
}

/// Mounts `/dev` in `root`. `stage1` is where the pod's shared memory is found, and the nodes to
/// bind; `context` is the SELinux context of what is made.
pub(super) fn mount(
    root: &Root,
    stage1: &Root,
    nodes: Nodes<'_>,
    context: Option<&str>,
) -> Result<(), Error> {
    let target = root
        .mount_target(Path::new("/dev"), Kind::Directory)
        .context("make", "/dev")?;
    let place = |dev: BorrowedFd<'_>| {
        populate(dev)?;
        mounts::attach(dev, target).context("mount", "/dev")
    };
    match nodes {
        Nodes::Made => {
            let dev = memory(mounts::labelled(context))?;
            make_nodes(dev.as_fd(), None)?;
            place(dev.as_fd())?;
        }
        Nodes::Given(dev) => place(dev)?,
        Nodes::Bound => {
            let dev = memory(mounts::labelled(context))?;
            place(dev.as_fd())?;
            let gathered = stage1
                .open_file(Path::new("dev"), OFlags::PATH)
                .context("open", "the pod's /dev")?;
            bind_nodes(&gathered, dev.as_fd(), |errno| errno == Errno::NOENT)?;
        }
    }
    let mut options = vec![("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];
    options.extend(mounts::labelled(context));
    options.push(("gid", "5"));
    let attr = Attr::NOSUID | Attr::NOEXEC;
    let pts = match mounts::new("devpts", &options, attr) {
        // A user namespace of one id has no group 5.
        Err(error) if error.errno == Errno::INVAL && !matches!(nodes, Nodes::Made) => {
            mounts::new("devpts", &options[..options.len() - 1], attr)
        }
        mount => mount,
    }?;
    attach_in(&pts, root, "/dev/pts")?;
    let shm = mounts::copy(stage1, Path::new("dev/shm"), false).context("open", "/dev/shm")?;
    attach_in(&shm, root, "/dev/shm")
}

fn attach_in(mount: impl AsFd, root: &Root, path: &str) -> Result<(), Error> {
    let target = root
        .open_file(Path::new(path), OFlags::PATH)
        .context("open", path)?;
    mounts::attach(mount, target).context("mount", path)
}

/// A `/dev` for one app of a pod in a user namespace, which cannot make device nodes: made by who
/// has the host's privileges, it belongs to the pod's root, `owner` on the host, and has the SELinux
/// context `context`. Binding the host's nodes one by one costs more than all else of such a pod's
/// start.
///
/// # Errors
/// As mknod(2) and chown(2): `EPERM` where this process may not make devices either.
pub fn with_nodes(owner: u32, context: Option<&str>) -> Result<OwnedFd, Error> {
    let id = owner.to_string();
    let more = [("uid", &*id), ("gid", &*id)];
    let dev = memory(more.into_iter().chain(mounts::labelled(context)))?;
    // The mode is to be the one given.
    let mask = umask(Mode::empty());
    let made = make_nodes(dev.as_fd(), Some(owner));
    umask(mask);
    made.map(|()| dev)
}

fn memory<'a>(more: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<OwnedFd, Error> {
    let mut options = vec![("mode", "0755"), ("size", "64k"), ("nr_inodes", "256")];
    options.extend(more);
    mounts::new("tmpfs", &options, Attr::NOSUID | Attr::NOEXEC)
}

/// Binds the host's nodes into `dev`, the stage1 root's: in a user namespace none can be made, and the
/// host's `/dev` is out of reach once the root is changed.
pub(crate) fn gather(dev: BorrowedFd<'_>) -> Result<(), Error> {
    // A host without one, /dev/net/tun for instance, has none to give.
    bind_nodes(&Root::open(Path::new("/dev"))?, dev, |_| true)?;
    mounts::restrict(dev, Attr::NOSUID | Attr::NOEXEC, true).context("restrict", "/dev")
}

/// Binds nodes from one directory into `dev`: a file system of ours, mounted, that nobody else has put
/// anything into, so that its names are where they seem to be. One that cannot be had is left out if
/// `dispensable` says so.
fn bind_nodes(
    from: &impl AsFd,
    dev: BorrowedFd<'_>,
    dispensable: impl Fn(Errno) -> bool,
) -> Result<(), Error> {
    directory(dev, NET, 0o755)?;
    for name in names() {
        let source = if name == CONSOLE { "null" } else { name };
        let node = match mounts::copy(from, Path::new(source), false) {
            Err(errno) if dispensable(errno) => continue,
            node => node.context("open device", name)?,
        };
        mknodat(dev, name, FileType::RegularFile, Mode::empty(), 0).context("make device", name)?;
        mounts::attach_in(node, dev, Path::new(name)).context("mount device", name)?;
    }
    Ok(())
}

fn names() -> impl Iterator<Item = &'static str> {
    let nodes = NODES.iter().map(|(name, _, _)| *name);
    nodes.chain([TUN_NAME])
}

fn make_nodes(dev: BorrowedFd<'_>, owner: Option<u32>) -> Result<(), Error> {
    directory(dev, NET, 0o755)?;
    for (name, major, minor) in NODES {
        node(dev, name, major, minor)?;
    }
    node(dev, TUN_NAME, TUN.0, TUN.1)?;
    let Some(id) = owner else { return Ok(()) };
    for name in names().chain([NET]) {
        let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
        chownat(dev, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .context("change the owner of device", name)?;
    }
    Ok(())
}

fn directory(dev: BorrowedFd<'_>, name: &str, mode: u32) -> Result<(), Error> {
    mkdirat(dev, name, Mode::from_raw_mode(mode)).context("make /dev directory", name)
}

fn populate(dev: BorrowedFd<'_>) -> Result<(), Error> {
    directory(dev, "pts", 0o755)?;
    directory(dev, "shm", 0o1777)?;
    for (name, target) in LINKS {
        symlinkat(target, dev, name).context("make /dev symlink", name)?;
    }
    Ok(())
}

fn node(dev: BorrowedFd<'_>, name: &str, major: u32, minor: u32) -> Result<(), Error> {
    // The umask is zero, here and in the supervisor, so the mode is the one given.
    let mode = Mode::from_raw_mode(0o666);
    mknodat(
        dev,
        name,
        FileType::CharacterDevice,
        mode,
        makedev(major, minor),
    )
    .context("make device", name)
}
