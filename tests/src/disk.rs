//! Disks that are soon full.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// A disk in memory on a directory; gone when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of this size, as tmpfs(5) reads it.
    #[track_caller]
    pub fn mount(dir: &Path, size: &str) -> Self {
        let options = options(size);
        mount("tmpfs", dir, "tmpfs", MountFlags::empty(), Some(&*options)).unwrap();
        Self(dir.to_owned())
    }

    /// Gives it another size.
    #[track_caller]
    pub fn resize(&self, size: &str) {
        mount_remount(&self.0, MountFlags::empty(), &*options(size)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = unmount(&self.0, UnmountFlags::DETACH);
        if !std::thread::panicking() {
            unmounted.unwrap();
        }
    }
}

fn options(size: &str) -> CString {
    CString::new(format!("size={size}")).unwrap()
}
