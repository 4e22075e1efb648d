//! Trees under the ids of a pod's user namespace (devel-user-namespaces): shown by the kernel, so
//! that no file is chowned.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use sandbox::mounts::{self, Attr};
use store::Store;

use crate::failure::{Doing, Failure};
use crate::launch::{Layer, mount_at_once};

/// All trees of a data directory, in one mount that is attached nowhere: the end of each such mount
/// makes its holder wait for all processors, about as long as a mount takes to make.
pub(crate) struct Mapped<'a> {
    users: &'a OwnedFd,
    trees: PathBuf,
    mount: OwnedFd,
}

impl<'a> Mapped<'a> {
    /// Shows the trees under the ids of the user namespace `users`, in the mount namespace that this
    /// process is in and will mount overlays in.
    pub(crate) fn new(data_dir: &Path, users: &'a OwnedFd) -> Result<Self, Failure> {
        let trees = Store::open(data_dir).tree_directory();
        // The directory itself may be a symlink to where there is more room.
        let mount = shown(&trees.join("."), users)?;
        Ok(Self {
            users,
            trees,
            mount,
        })
    }

    /// Mounts an overlay of trees, with a SELinux context if one is given. What is copied up is
    /// written by the pod's users, into an upper directory that belongs to its root.
    pub(crate) fn mount(
        &self,
        lowers: &[PathBuf],
        layer: &Layer,
        context: Option<&str>,
    ) -> Result<(), Failure> {
        let open = lowers.iter().map(|lower| self.open(lower));
        let open: Vec<OwnedFd> = open.collect::<Result<_, _>>()?;
        let mut options = vec![
            ("source", "overlay"),
            ("upperdir", layer.upper.as_str()),
            ("workdir", layer.work.as_str()),
            ("volatile", ""),
        ];
        options.extend(mounts::labelled(context));
        let files: Vec<_> = open.iter().map(|fd| ("lowerdir+", fd.as_fd())).collect();
        match mounts::new_with("overlay", &files, &options, Attr::empty()) {
            // Before Linux 6.15 an overlay took only mounts that are attached, by their paths; before
            // 6.5 it took no files at all.
            Err(error) if matches!(error.errno, Errno::INVAL | Errno::OPNOTSUPP) => {
                self.mount_attached(lowers, layer, context)
            }
            mount => {
                let mount = mount.doing("cannot make an overlay")?;
                mounts::attach_at(mount, &layer.target).doing("cannot attach an overlay")
            }
        }
    }

    fn open(&self, directory: &Path) -> Result<OwnedFd, Failure> {
        let below = directory.strip_prefix(&self.trees);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        below
            .map_err(|_| Errno::XDEV)
            .and_then(|below| openat(&self.mount, below, flags, Mode::empty()))
            .doing_with(|| format!("cannot open {}", directory.display()))
    }

    fn mount_attached(
        &self,
        lowers: &[PathBuf],
        layer: &Layer,
        context: Option<&str>,
    ) -> Result<(), Failure> {
        let mapped = lowers.iter().map(|place| shown(place, self.users));
        // One may lie in another.
        let mapped: Vec<OwnedFd> = mapped.collect::<Result<_, _>>()?;
        for (mount, place) in mapped.iter().zip(lowers) {
            mounts::attach_at(mount, place).doing("cannot attach a mount")?;
        }
        let mounted = mount_at_once(lowers, layer, context);
        // The overlay has copies of its own.
        for place in lowers.iter().rev() {
            rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH)
                .doing_with(|| format!("cannot unmount {}", place.display()))?;
        }
        mounted
    }
}

fn shown(directory: &Path, users: &OwnedFd) -> Result<OwnedFd, Failure> {
    let problem = || format!("cannot show {} under other ids", directory.display());
    let copy = mounts::copy(CWD, directory, false).doing_with(problem)?;
    mounts::idmap(&copy, users, false).doing_with(problem)?;
    Ok(copy)
}
