//! Mounts as descriptors: made detached, adjusted, then attached where a descriptor says.
//!
//! No path is ever followed twice: a target is resolved once (see [`crate::root`]) and mounted
//! over by descriptor, so a symlink or rename racing the set-up cannot redirect a mount.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    move_mount, open_tree, unmount,
};

use crate::clone::last_errno;
use crate::error::{Context, Error};

bitflags::bitflags! {
    /// Restrictions of a mount, changeable after it was made (mount_setattr(2)).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Attr: u64 {
        /// Nothing can be written through it.
        const RDONLY = 0x1;
        /// Set-id bits and file capabilities have no effect.
        const NOSUID = 0x2;
        /// Device nodes cannot be opened.
        const NODEV = 0x4;
        /// Nothing can be executed from it.
        const NOEXEC = 0x8;
    }
}

/// How mounts made elsewhere reach this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all.
    Private,
    /// From the master to here.
    Slave,
    /// Both ways between copies of this one.
    Shared,
}

/// Argument block of mount_setattr(2).
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// A new instance of a file system, not attached anywhere yet. An option with an empty value is
/// a flag.
///
/// # Errors
/// As fsopen(2), fsconfig(2), fsmount(2).
pub fn new(kind: &str, options: &[(&str, &str)], attr: Attr) -> Result<OwnedFd, Error> {
    new_with(kind, &[], options, attr)
}

/// The same with options whose values are open files, which come first.
///
/// # Errors
/// As [`new`].
pub fn new_with(
    kind: &str,
    files: &[(&str, BorrowedFd<'_>)],
    options: &[(&str, &str)],
    attr: Attr,
) -> Result<OwnedFd, Error> {
    let make = || {
        let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, file) in files {
            fsconfig_set_fd(&fs, *key, file)?;
        }
        for (key, value) in options {
            match *value {
                "" => fsconfig_set_flag(&fs, *key)?,
                value => fsconfig_set_string(&fs, *key, value)?,
            }
        }
        fsconfig_create(&fs)?;
        let attr = MountAttrFlags::from_bits_retain(attr.bits() as u32);
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attr)
    };
    make().context("make a mount of", kind)
}

/// The option that labels every file of a file system with a SELinux context, if there is one.
pub fn labelled(context: Option<&str>) -> Option<(&str, &str)> {
    context.map(|context| ("context", context))
}

/// A detached copy of the mount at `path` below `dir`, or of `dir` itself when `path` is empty.
/// Its last component is not followed if it is a symlink.
///
/// # Errors
/// As open_tree(2).
pub fn copy(dir: impl AsFd, path: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(dir, path, flags)
}

/// Attaches a detached mount over the file or directory that `target` is open on.
///
/// # Errors
/// As move_mount(2).
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags)
}

/// Attaches a detached mount over what has this name below a directory. Whoever calls knows that no
/// component of the name is anybody else's.
///
/// # Errors
/// As move_mount(2).
pub fn attach_in(mount: impl AsFd, dir: impl AsFd, name: &Path) -> Result<(), Errno> {
    move_mount(
        mount,
        c"",
        dir,
        name,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
}

/// Attaches a detached mount at a path of the caller's own namespace, trusted by the caller.
///
/// # Errors
/// As move_mount(2).
pub fn attach_at(mount: impl AsFd, path: &Path) -> Result<(), Error> {
    attach_in(mount, CWD, path).context("mount over", path.display())
}

/// Adds restrictions to a mount, or to a whole tree of mounts.
///
/// # Errors
/// As mount_setattr(2).
pub fn restrict(mount: impl AsFd, attr: Attr, recursive: bool) -> Result<(), Errno> {
    set_attr(
        mount,
        MountAttr {
            attr_set: attr.bits(),
            ..MountAttr::default()
        },
        recursive,
    )
}

/// Takes restrictions off a mount.
///
/// # Errors
/// As mount_setattr(2); restrictions from a more privileged user namespace stay.
pub fn relax(mount: impl AsFd, attr: Attr) -> Result<(), Errno> {
    set_attr(
        mount,
        MountAttr {
            attr_clr: attr.bits(),
            ..MountAttr::default()
        },
        false,
    )
}

/// Shows a mount's files under the ids that a user namespace gives them: what the disk has for the
/// namespace's id 0 belongs to its root on the host. The mount is attached nowhere yet.
///
/// # Errors
/// As mount_setattr(2): `EINVAL` where the kernel or the file system cannot do it, `EPERM` for a
/// mount that shows other ids already.
pub fn idmap(mount: impl AsFd, users: impl AsFd, recursive: bool) -> Result<(), Errno> {
    const IDMAP: u64 = 0x0010_0000;
    let fd = users.as_fd().as_raw_fd();
    set_attr(
        mount,
        MountAttr {
            attr_set: IDMAP,
            userns_fd: u64::try_from(fd).map_err(|_| Errno::BADF)?,
            ..MountAttr::default()
        },
        recursive,
    )
}

/// Sets how mounts propagate, for a mount or a whole tree of mounts.
///
/// # Errors
/// As mount_setattr(2).
pub fn propagate(mount: impl AsFd, propagation: Propagation, recursive: bool) -> Result<(), Errno> {
    let propagation = match propagation {
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::Slave => libc::MS_SLAVE,
        Propagation::Shared => libc::MS_SHARED,
    };
    set_attr(
        mount,
        MountAttr {
            propagation,
            ..MountAttr::default()
        },
        recursive,
    )
}

fn set_attr(mount: impl AsFd, attr: MountAttr, recursive: bool) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let fd = mount.as_fd().as_raw_fd();
    // SAFETY: the path is an empty C string, `attr` a valid mount_attr of the size given.
    let done = unsafe {
        let size = std::mem::size_of::<MountAttr>();
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            c"".as_ptr(),
            flags,
            &raw const attr,
            size,
        )
    };
    if done == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Makes the mount that `root` is open on the root of the calling process's mount namespace and
/// drops everything else from it. The working directory is the new root.
///
/// # Errors
/// As pivot_root(2); `root` must be the root of a mount.
pub fn pivot(root: impl AsFd) -> Result<(), Error> {
    rustix::process::fchdir(root).context("enter", "the new root")?;
    // Both arguments the same: the old root ends up stacked on the new one (pivot_root(2), NOTES).
    rustix::process::pivot_root(c".", c".").context("pivot to", "the new root")?;
    unmount(c".", UnmountFlags::DETACH).context("detach", "the old root")?;
    rustix::process::chdir(c"/").context("enter", "/")
}
