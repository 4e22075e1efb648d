//! Removal of directory trees, whatever is in them and whoever else removes them.
//!
//! A tree is only ever descended with `openat2` that refuses to cross mounts and symbolic links.
//! A mount that was left behind below the tree is detached, never emptied.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, openat, openat2, renameat, unlinkat,
};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::error::Error;

/// Descriptors held at once, while several trees may be removed at a time; deeper directories are moved to the top and removed from there.
const MAX_DEPTH: usize = 32;

/// Removes `name` in the directory `at` and everything below it. What is already gone, or goes
/// while this runs, is no error.
///
/// # Errors
/// The kernel refuses to remove something.
pub fn remove_tree(at: BorrowedFd<'_>, name: &Path) -> Result<(), Error> {
    let failed = |e: Errno| Error::io("remove", name, e);
    let top = match openat(at, name, DIR_FLAGS, Mode::empty()) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            return gone_is_fine(unlinkat(at, name, AtFlags::empty())).map_err(failed);
        }
        Err(error) => return Err(failed(error)),
    };
    let mut remover = Remover {
        top,
        moved: 0,
        detached: false,
    };
    remover.empty_top().map_err(failed)?;
    gone_is_fine(unlinkat(at, name, AtFlags::REMOVEDIR)).map_err(failed)
}

const DIR_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

struct Remover {
    top: OwnedFd,
    /// Number of deep directories moved to the top.
    moved: u64,
    /// Mounts below the tree were looked for already.
    detached: bool,
}

impl Remover {
    fn empty_top(&mut self) -> Result<(), Errno> {
        let top = self.top.try_clone().map_err(|_| Errno::MFILE)?;
        loop {
            let before = self.moved;
            rustix::fs::seek(&top, rustix::fs::SeekFrom::Start(0))?;
            self.empty(top.as_fd(), 0)?;
            if self.moved == before {
                return Ok(());
            }
        }
    }

    /// Removes everything in an open directory.
    fn empty(&mut self, dir: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
        let mut buffer = Vec::with_capacity(8 << 10);
        // Removing while reading may skip entries on some file systems: read again until empty.
        for _ in 0..1000 {
            let mut found = false;
            let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
            while let Some(entry) = entries.next() {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(Errno::NOENT) => return Ok(()),
                    Err(error) => return Err(error),
                };
                let name = entry.file_name();
                if name == c"." || name == c".." {
                    continue;
                }
                found = true;
                self.entry(dir, name, entry.file_type(), depth)?;
            }
            if !found {
                return Ok(());
            }
            rustix::fs::seek(dir, rustix::fs::SeekFrom::Start(0))?;
        }
        Err(Errno::NOTEMPTY)
    }

    fn entry(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
        depth: usize,
    ) -> Result<(), Errno> {
        if !matches!(kind, FileType::Directory | FileType::Unknown) {
            match unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::BUSY) if self.detach()? => {
                    return gone_is_fine(unlinkat(dir, name, AtFlags::empty()));
                }
                Err(Errno::ISDIR) => {}
                Err(error) => return Err(error),
            }
        }
        // Most directories of an overlay are empty: try the cheap way first.
        match unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTDIR) => return gone_is_fine(unlinkat(dir, name, AtFlags::empty())),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => {}
            Err(error) => return Err(error),
        }
        if depth >= MAX_DEPTH {
            self.moved += 1;
            let parked =
                CString::new(format!(".removing-{}", self.moved)).map_err(|_| Errno::INVAL)?;
            return gone_is_fine(renameat(dir, name, &self.top, &parked));
        }
        match self.descend(dir, name) {
            Ok(sub) => self.empty(sub.as_fd(), depth + 1)?,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error),
        }
        gone_is_fine(unlinkat(dir, name, AtFlags::REMOVEDIR))
    }

    fn descend(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        let open = || openat2(dir, name, DIR_FLAGS, Mode::empty(), resolve);
        match open() {
            Err(Errno::XDEV) if self.detach()? => open(),
            other => other,
        }
    }

    /// Detaches every mount below the tree, once. False when that was tried before.
    fn detach(&mut self) -> Result<bool, Errno> {
        if self.detached {
            return Ok(false);
        }
        self.detached = true;
        let link = format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&self.top)
        );
        let top = rustix::fs::readlinkat(CWD, link, Vec::new())?;
        let table = std::fs::read("/proc/self/mountinfo").map_err(|_| Errno::IO)?;
        let mut below: Vec<PathBuf> = mount_points(&table)
            .filter(|point| point.len() > top.to_bytes().len())
            .filter(|point| {
                point.starts_with(top.to_bytes()) && point[top.to_bytes().len()] == b'/'
            })
            .map(|point| PathBuf::from(std::ffi::OsString::from_vec(point)))
            .collect();
        // The table lists mounts in the order they were made: the newest goes first.
        below.reverse();
        for point in below {
            match unmount(&point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

use std::os::unix::ffi::OsStringExt;

/// The fifth field of each line of a mountinfo table, with its escapes undone (proc(5)).
fn mount_points(table: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    table.split(|&b| b == b'\n').filter_map(|line| {
        let field = line.split(|&b| b == b' ').nth(4)?;
        let mut out = Vec::with_capacity(field.len());
        let mut rest = field;
        while let Some((&byte, tail)) = rest.split_first() {
            let digits = tail
                .get(..3)
                .filter(|d| d.iter().all(|b| (b'0'..=b'7').contains(b)));
            match (byte, digits) {
                (b'\\', Some(d)) => {
                    let value = d.iter().fold(0u32, |n, b| n * 8 + u32::from(b - b'0'));
                    out.push(u8::try_from(value).unwrap_or(b'?'));
                    rest = &tail[3..];
                }
                _ => {
                    out.push(byte);
                    rest = tail;
                }
            }
        }
        Some(out)
    })
}

fn gone_is_fine(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_deeper_than_descriptors_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let top = rustix::fs::open(dir.path(), DIR_FLAGS, Mode::empty()).unwrap();
        rustix::fs::mkdirat(&top, "t", Mode::RWXU).unwrap();
        let mut at = openat(&top, "t", DIR_FLAGS, Mode::empty()).unwrap();
        for _ in 0..1500 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            crate::tree::write_at(&at, Path::new("f"), b"x", 0o600).unwrap();
            at = openat(&at, "d", DIR_FLAGS, Mode::empty()).unwrap();
        }
        remove_tree(top.as_fd(), Path::new("t")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        remove_tree(top.as_fd(), Path::new("t")).unwrap();
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("t/sub")).unwrap();
        std::fs::create_dir(dir.path().join("keep")).unwrap();
        std::fs::write(dir.path().join("keep/file"), "x").unwrap();
        std::os::unix::fs::symlink("../../keep", dir.path().join("t/sub/link")).unwrap();
        let top = rustix::fs::open(dir.path(), DIR_FLAGS, Mode::empty()).unwrap();
        remove_tree(top.as_fd(), Path::new("t")).unwrap();
        assert!(dir.path().join("keep/file").exists());
        assert!(!dir.path().join("t").exists());
    }

    #[test]
    fn mount_points_are_unescaped() {
        let table = b"22 1 0:20 / /a\\040b rw - tmpfs t rw\n23 1 0:20 / /c rw - tmpfs t rw\n";
        let points: Vec<_> = mount_points(table).collect();
        assert_eq!(points, [b"/a b".to_vec(), b"/c".to_vec()]);
    }
}
