//! Moving a copied tree to other owners, where the kernel cannot show it under other ids.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RawDir, ResolveFlags, Stat, Uid, XattrFlags,
    chmodat, chownat, lgetxattr, lsetxattr, openat, openat2, statat,
};
use rustix::io::Errno;

use crate::{Error, Result};

const CAPABILITY: &str = "security.capability";
const SET_ID: u32 = 0o6000;

/// Adds `by` to the owner and the group of everything in a directory, and of itself. Set-id bits
/// and file capabilities stay; these are the new root's then. ACLs keep the ids that they name.
/// Nobody else changes the tree meanwhile.
///
/// # Errors
/// A file that cannot be changed.
pub fn shift_owners(directory: &Path, by: u32) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let shift = || {
        let root = openat(CWD, directory, flags, Mode::empty())?;
        Shift {
            by,
            linked: HashSet::new(),
        }
        .tree(&root)
    };
    shift().map_err(Error::io("change the owners below", directory))
}

struct Shift {
    by: u32,
    /// Files with several names that were met already.
    linked: HashSet<(u64, u64)>,
}

impl Shift {
    /// Everything below a directory, and itself.
    fn tree(&mut self, root: &OwnedFd) -> std::result::Result<(), Errno> {
        // By paths: a tree may have more directories than a process may have open.
        let mut waiting = vec![PathBuf::from(".")];
        while let Some(path) = waiting.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let directory = openat2(root, &path, flags, Mode::empty(), resolve)?;
            let mut buffer = Vec::with_capacity(32 << 10);
            let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
            while let Some(entry) = entries.next() {
                let entry = entry?;
                let name = entry.file_name();
                if name == c".." || (name == c"." && path != Path::new(".")) {
                    continue;
                }
                let stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                self.entry(&directory, name, &stat)?;
                if name != c"." && FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    waiting.push(path.join(OsStr::from_bytes(name.to_bytes())));
                }
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        parent: &OwnedFd,
        name: &std::ffi::CStr,
        stat: &Stat,
    ) -> std::result::Result<(), Errno> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let several = kind != FileType::Directory && stat.st_nlink > 1;
        if several && !self.linked.insert((stat.st_dev, stat.st_ino)) {
            return Ok(());
        }
        let capability = match kind {
            FileType::RegularFile => capability(parent, name)?,
            _ => None,
        };
        let new = |id: u32| id.checked_add(self.by).ok_or(Errno::OVERFLOW);
        let (uid, gid) = (new(stat.st_uid)?, new(stat.st_gid)?);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        chownat(parent, name, owner.0, owner.1, flags)?;
        // The change of owner took both away.
        if stat.st_mode & SET_ID != 0 && kind != FileType::Symlink {
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            chmodat(parent, name, mode, AtFlags::empty())?;
        }
        match capability {
            Some(value) => lsetxattr(
                by_descriptor(parent, name),
                CAPABILITY,
                &of_root(&value, self.by),
                XattrFlags::empty(),
            ),
            None => Ok(()),
        }
    }
}

fn capability(
    parent: &OwnedFd,
    name: &std::ffi::CStr,
) -> std::result::Result<Option<Vec<u8>>, Errno> {
    let mut value = vec![0; 64];
    match lgetxattr(by_descriptor(parent, name), CAPABILITY, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn by_descriptor(parent: &OwnedFd, name: &std::ffi::CStr) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", parent.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    path
}

/// A file capability (linux/capability.h, `vfs_cap_data`) as one that holds in the user namespace
/// whose root is `root`: revision 3, which names it at its end.
fn of_root(value: &[u8], root: u32) -> Vec<u8> {
    const REVISION: std::ops::Range<usize> = 3..4;
    const LENGTH: usize = 20;
    if value.len() != LENGTH {
        return value.to_vec();
    }
    let mut value = value.to_vec();
    value[REVISION].copy_from_slice(&[3]);
    value.extend(root.to_le_bytes());
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn everything_gets_its_new_owner_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("sub")).unwrap();
        fs::write(path("sub/file"), "x").unwrap();
        fs::hard_link(path("sub/file"), path("twin")).unwrap();
        fs::set_permissions(path("twin"), fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("/etc/passwd", path("link")).unwrap();
        let before = fs::metadata("/etc/passwd").unwrap().uid();
        // cap_net_raw, permitted and effective.
        let mut value = [0u8; 20];
        value[..8].copy_from_slice(&[1, 0, 0, 2, 0, 0x20, 0, 0]);
        fs::write(path("ping"), "x").unwrap();
        lsetxattr(path("ping"), CAPABILITY, &value, XattrFlags::empty()).unwrap();
        shift_owners(dir.path(), 1_000_000).unwrap();
        for name in ["", "sub", "sub/file", "twin", "link", "ping"] {
            let meta = fs::symlink_metadata(path(name)).unwrap();
            assert_eq!((meta.uid(), meta.gid()), (1_000_000, 1_000_000), "{name}");
        }
        assert_eq!(fs::metadata(path("twin")).unwrap().mode() & 0o7777, 0o4755);
        assert_eq!(fs::metadata("/etc/passwd").unwrap().uid(), before);
        let mut found = [0; 64];
        let length = lgetxattr(path("ping"), CAPABILITY, &mut found[..]).unwrap();
        assert_eq!(length, 24);
        assert_eq!(found[20..24], 1_000_000u32.to_le_bytes());
    }
}
