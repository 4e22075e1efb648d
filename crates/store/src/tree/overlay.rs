//! Whether overlays can be mounted from and into a data directory.

use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, StatFs, mkdirat, openat, statfs};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

use crate::remove::remove_tree;

const AUFS: u64 = 0x6175_6673;
const ZFS: u64 = 0x2fc1_2fc1;
const OVERLAY: u64 = 0x794c_7630;

/// Whether pods of this data directory can use overlays, and if not, why. Costs a handful of
/// system calls where the answer is yes; only a data directory that is itself on an overlay is
/// asked by trying a mount.
pub fn overlay_supported(data: &Path) -> Result<(), String> {
    // A directory that is not there yet will be on the file system of the one above.
    let existing = data
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let unusable = |what: &str| Err(format!("unsupported filesystem: {what}"));
    match statfs(existing).as_ref().map(magic) {
        Ok(AUFS) => return unusable("AUFS"),
        Ok(ZFS) => return unusable("ZFS"),
        Ok(OVERLAY) => return nested(existing),
        // The kernel may not let an ordinary user.
        Ok(_) if !sandbox::ids::is_hosts() => return nested(existing),
        Ok(_) => {}
        Err(e) => return Err(format!("cannot stat {}: {e}", existing.display())),
    }
    if !kernel_has_overlay() {
        return Err("overlay support is neither compiled into the kernel nor loaded".to_owned());
    }
    match has_types(existing) {
        Ok(true) => Ok(()),
        Ok(false) => unusable("missing d_type support"),
        Err(e) => Err(format!("cannot read {}: {e}", existing.display())),
    }
}

/// The magic numbers have 32 bits, whatever the architecture's field has.
fn magic(fs: &StatFs) -> u64 {
    fs.f_type.cast_unsigned() & 0xffff_ffff
}

fn kernel_has_overlay() -> bool {
    let listed = std::fs::read_to_string("/proc/filesystems");
    // Unknown is no reason to copy.
    let listed = listed.map_or(true, |list| list.lines().any(|l| l.ends_with("\toverlay")));
    // The kernel loads the module when it is asked for the type.
    listed || fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).is_ok()
}

/// Whether a directory's entries carry their types. `.` and `..` are there even in an empty one,
/// and carry theirs where others do.
fn has_types(directory: &Path) -> rustix::io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, directory, flags, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        if entry?.file_type() == FileType::Unknown {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Tries an overlay.
fn nested(directory: &Path) -> Result<(), String> {
    let scratch = directory.join(format!(".overlay-probe-{}", std::process::id()));
    let probe = || -> rustix::io::Result<OwnedFd> {
        mkdirat(CWD, &scratch, Mode::RWXU)?;
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, name) in [
            ("lowerdir", "lower"),
            ("upperdir", "upper"),
            ("workdir", "work"),
        ] {
            mkdirat(CWD, scratch.join(name), Mode::RWXU)?;
            fsconfig_set_string(context.as_fd(), key, scratch.join(name))?;
        }
        if !sandbox::ids::is_hosts() {
            rustix::mount::fsconfig_set_flag(context.as_fd(), "userxattr")?;
        }
        fsconfig_create(context.as_fd())?;
        fsmount(
            context.as_fd(),
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )
    };
    // The mount goes with its descriptor.
    let outcome = probe().map(drop);
    let _ = remove_tree(&scratch);
    let place = directory.display();
    outcome.map_err(|e| format!("unsupported filesystem: overlay in {place}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_file_systems_are_fine() {
        let temp = tempfile::tempdir().unwrap();
        overlay_supported(temp.path()).unwrap();
        overlay_supported(&temp.path().join("not/yet")).unwrap();
    }

    #[test]
    fn an_overlay_is_asked_and_left_clean() {
        let temp = tempfile::tempdir().unwrap();
        // On a file system that is no overlay the probe itself succeeds, for root.
        if rustix::process::geteuid().is_root() {
            nested(temp.path()).unwrap();
        } else {
            nested(temp.path()).unwrap_err();
        }
        assert_eq!(temp.path().read_dir().unwrap().count(), 0);
    }
}
