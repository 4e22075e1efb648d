//! `/dev` of an app: a small file system of its own with the standard devices (App Container
//! OS specification, "Devices and File Systems").

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, makedev, mkdirat, mknodat, symlinkat};
use sandbox::mounts::{self, Attr};
use sandbox::root::Root;
use sandbox::{Context, Error};

/// Name, major and minor of the character devices.
const NODES: [(&str, u32, u32); 7] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("console", 5, 1),
];
const TUN: (u32, u32) = (10, 200);

const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("log", "/run/systemd/journal/dev-log"),
];

/// Mounts `/dev` in `root`. `stage1` is where the pod's shared memory is found.
pub(super) fn mount(root: &Root, stage1: &Root) -> Result<(), Error> {
    let options = [("mode", "0755"), ("size", "64k"), ("nr_inodes", "256")];
    let dev = mounts::new("tmpfs", &options, Attr::NOSUID | Attr::NOEXEC)?;
    populate(dev.as_fd())?;
    let target = root
        .mount_target(Path::new("/dev"), sandbox::root::Kind::Directory)
        .context("make", "/dev")?;
    mounts::attach(&dev, target).context("mount", "/dev")?;
    let options = [
        ("newinstance", ""),
        ("ptmxmode", "0666"),
        ("mode", "0620"),
        ("gid", "5"),
    ];
    let pts = mounts::new("devpts", &options, Attr::NOSUID | Attr::NOEXEC)?;
    attach_in(&pts, root, "/dev/pts")?;
    let shm = mounts::copy(stage1, Path::new("dev/shm"), false).context("open", "/dev/shm")?;
    attach_in(&shm, root, "/dev/shm")
}

fn attach_in(mount: impl AsFd, root: &Root, path: &str) -> Result<(), Error> {
    let target = root
        .open_file(Path::new(path), rustix::fs::OFlags::PATH)
        .context("open", path)?;
    mounts::attach(mount, target).context("mount", path)
}

fn populate(dev: BorrowedFd<'_>) -> Result<(), Error> {
    for (name, major, minor) in NODES {
        node(dev, name, major, minor)?;
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777), ("net", 0o755)] {
        mkdirat(dev, name, Mode::from_raw_mode(mode)).context("make /dev directory", name)?;
    }
    node(dev, "net/tun", TUN.0, TUN.1)?;
    for (name, target) in LINKS {
        symlinkat(target, dev, name).context("make /dev symlink", name)?;
    }
    Ok(())
}

fn node(dev: BorrowedFd<'_>, name: &str, major: u32, minor: u32) -> Result<(), Error> {
    // The supervisor's umask is zero, so the mode is the one given.
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
