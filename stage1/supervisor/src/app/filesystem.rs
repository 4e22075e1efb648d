//! Carries out the operations that make an app's file system, below its root, before the app's
//! process enters it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use sandbox::mounts::{self, Attr};
use sandbox::root::{Kind, Root};
use sandbox::{Context, Error};

use super::devices::{self, Nodes};
use crate::plan::{MountPlan, Operation};

/// Nothing can be read from these, whoever tries; they are part of the stage1 image.
const NOTHING_DIRECTORY: &str = "rkt/inaccessible/directory";
const NOTHING_FILE: &str = "rkt/inaccessible/file";

const KERNEL_FS: Attr = Attr::NOSUID.union(Attr::NODEV).union(Attr::NOEXEC);

/// The root file systems an app's operations work on.
pub(super) struct Roots<'a> {
    pub(super) stage1: Root,
    pub(super) app: Root,
    /// The app is in a user namespace.
    pub(super) user_namespace: bool,
    /// The SELinux context of what is made for it.
    pub(super) context: Option<&'a str>,
    /// Where its device nodes come from.
    pub(super) nodes: Nodes<'a>,
}

/// Opens the root of an app as the root of a mount: stage0's overlay, or, where it copied the
/// tree, a bind mount of the copy over itself. In a user namespace the overlay is tied to its
/// place, and a copy of the mount is taken, too.
pub(super) fn open_root(path: &Path, user_namespace: bool) -> Result<Root, Error> {
    let root = Root::open(path)?;
    let parent = Root::open(path.parent().unwrap_or(Path::new("/")))?;
    let device = |root: &Root| rustix::fs::fstat(root).map(|s| s.st_dev);
    let is_mount = device(&root).context("inspect", path.display())?
        != device(&parent).context("inspect", path.display())?;
    if is_mount && !user_namespace {
        return Ok(root);
    }
    let copy = mounts::copy(&root, Path::new(""), true).context("copy mount", path.display())?;
    mounts::attach(&copy, &root).context("mount over", path.display())?;
    Ok(Root::from(copy))
}

impl Roots<'_> {
    /// Carries out one operation.
    pub(super) fn perform(&self, operation: &Operation) -> Result<(), Error> {
        match operation {
            Operation::Directory(path, mode) => self.directory(path, *mode),
            Operation::File(path, text) => self.file(path, text),
            Operation::Link(path, to) => self
                .app
                .symlink(path, to)
                .context("make the link", path.display()),
            Operation::Proc { hide_pid } => {
                let options = hide_pid.as_deref().map(|mode| ("hidepid", mode));
                self.kernel_fs("proc", options.as_slice(), "/proc", KERNEL_FS)
            }
            Operation::Sysfs { read_only } => {
                let attr = if *read_only {
                    KERNEL_FS | Attr::RDONLY
                } else {
                    KERNEL_FS
                };
                match self.kernel_fs("sysfs", &[], "/sys", attr) {
                    // It belongs to the network namespace, which is not the pod's own.
                    Err(error) if self.user_namespace && error.errno == Errno::PERM => {
                        self.shared_sysfs(attr)
                    }
                    mounted => mounted,
                }
            }
            Operation::Devices => devices::mount(&self.app, &self.stage1, self.nodes, self.context),
            Operation::BindFromStage1 {
                source,
                target,
                if_there,
                read_only,
            } => {
                let attr = match read_only {
                    true => Attr::RDONLY,
                    false => Attr::empty(),
                };
                let source = source.strip_prefix("/").unwrap_or(source);
                match mounts::copy(&self.stage1, source, false) {
                    Err(Errno::NOENT) if *if_there => Ok(()),
                    mount => {
                        let mount = mount.context("open", source.display())?;
                        self.attach_file(mount, target, attr)
                    }
                }
            }
            Operation::BindWithin { source, target } => {
                let fd = self
                    .app
                    .open_file(source, OFlags::PATH)
                    .context("open", source.display())?;
                let mount = mounts::copy(fd, Path::new(""), false)
                    .context("copy mount", source.display())?;
                self.attach_file(mount, target, Attr::RDONLY)
            }
            Operation::Volume(mount) => self.volume(mount),
            Operation::ReadOnly(path) => self.cover_with_itself(path, true),
            Operation::Writable(path) => self.cover_with_itself(path, false),
            Operation::Inaccessible(path) => self.inaccessible(path),
            Operation::RootReadOnly => mounts::restrict(&self.app, Attr::RDONLY, false)
                .context("make read-only", "the root file system"),
        }
    }

    fn directory(&self, path: &Path, mode: u32) -> Result<(), Error> {
        match self.app.directory(path, Mode::from_raw_mode(mode)) {
            Ok(_) => Ok(()),
            // An image may have a file there, or a symlink to nowhere; that is its own business.
            Err(Errno::EXIST | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(errno) => Err(errno).context("make directory", path.display()),
        }
    }

    fn file(&self, path: &Path, text: &str) -> Result<(), Error> {
        if self
            .app
            .target(path)
            .context("open", path.display())?
            .is_some()
        {
            return Ok(());
        }
        self.app
            .mount_target(path, Kind::File)
            .context("make", path.display())?;
        self.app
            .open_file(path, OFlags::WRONLY)
            .and_then(|fd| rustix::io::write(fd, text.as_bytes()))
            .map(drop)
            .context("write", path.display())
    }

    fn kernel_fs(
        &self,
        kind: &str,
        options: &[(&str, &str)],
        path: &str,
        attr: Attr,
    ) -> Result<(), Error> {
        let mount = mounts::new(kind, options, attr)?;
        let target = self
            .app
            .mount_target(Path::new(path), Kind::Directory)
            .context("make", path)?;
        mounts::attach(mount, target).context("mount", path)
    }

    /// The host's `/sys`, as the supervisor left it in the stage1 root file system.
    fn shared_sysfs(&self, attr: Attr) -> Result<(), Error> {
        let mount = mounts::copy(&self.stage1, Path::new("sys"), true).context("open", "/sys")?;
        mounts::restrict(&mount, attr, true).context("restrict", "/sys")?;
        let target = self
            .app
            .mount_target(Path::new("/sys"), Kind::Directory)
            .context("make", "/sys")?;
        mounts::attach(mount, target).context("mount", "/sys")
    }

    fn attach_file(&self, mount: OwnedFd, path: &Path, attr: Attr) -> Result<(), Error> {
        if !attr.is_empty() {
            mounts::restrict(&mount, attr, false).context("restrict", path.display())?;
        }
        let target = self
            .app
            .mount_target(path, Kind::File)
            .context("make", path.display())?;
        mounts::attach(mount, target).context("mount", path.display())
    }

    fn volume(&self, plan: &MountPlan) -> Result<(), Error> {
        let source = plan.volume.strip_prefix("/").unwrap_or(&plan.volume);
        let mount = mounts::copy(&self.stage1, source, plan.recursive)
            .context("open volume for", plan.target.display())?;
        if plan.read_only {
            mounts::restrict(&mount, Attr::RDONLY, true)
                .context("make read-only", plan.target.display())?;
        }
        let kind =
            match is_directory(&mount).context("inspect volume for", plan.target.display())? {
                true => Kind::Directory,
                false => Kind::File,
            };
        let target = self
            .app
            .mount_target(&plan.target, kind)
            .context("make mount point", plan.target.display())?;
        mounts::attach(mount, target).context("mount volume at", plan.target.display())
    }

    /// Mounts what is at `path` over itself, so that it can differ from what is around it.
    fn cover_with_itself(&self, path: &Path, read_only: bool) -> Result<(), Error> {
        let Some(target) = self.app.target(path).context("open", path.display())? else {
            return Ok(());
        };
        let cover = || {
            let mount = mounts::copy(&target, Path::new(""), true)?;
            match read_only {
                true => mounts::restrict(&mount, Attr::RDONLY, true)?,
                false => mounts::relax(&mount, Attr::RDONLY)?,
            }
            mounts::attach(mount, &target)
        };
        cover().context("cover", path.display())
    }

    fn inaccessible(&self, path: &Path) -> Result<(), Error> {
        let Some(target) = self.app.target(path).context("open", path.display())? else {
            return Ok(());
        };
        let cover = || {
            let nothing = if is_directory(&target)? {
                NOTHING_DIRECTORY
            } else {
                NOTHING_FILE
            };
            let mount = mounts::copy(&self.stage1, Path::new(nothing), false)?;
            mounts::restrict(&mount, Attr::RDONLY | KERNEL_FS, false)?;
            mounts::attach(mount, &target)
        };
        cover().context("make inaccessible", path.display())
    }
}

fn is_directory(fd: impl AsFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory)
}
