//! Trees without overlay: copied whole, and removed whole. Everything is relative to descriptors.

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, Uid, XattrFlags,
    chmodat, chownat, fchmod, fgetxattr, flistxattr, fsetxattr, fstat, futimens, linkat, mkdirat,
    mknodat, openat, readlinkat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::Result;
use crate::error::At;

type Done = std::result::Result<(), Errno>;

/// Removes a file or a directory with all in it; what is gone already is fine.
pub(crate) fn remove(path: &Path) -> Done {
    match unlinkat(CWD, path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno),
    }
    let fd = openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    empty(fd.as_fd())?;
    match unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Removes all in a directory. Depth costs descriptors, which hostile depth is bounded by.
pub(crate) fn empty(dir: BorrowedFd<'_>) -> Done {
    for (name, kind) in names(dir)? {
        let done = match kind {
            FileType::Directory => remove_directory(dir, &name),
            _ => match unlinkat(dir, &*name, AtFlags::empty()) {
                Err(Errno::ISDIR) => remove_directory(dir, &name),
                other => other,
            },
        };
        match done {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn remove_directory(dir: BorrowedFd<'_>, name: &CStr) -> Done {
    let fd = open_directory(dir, name)?;
    empty(fd.as_fd())?;
    unlinkat(dir, name, AtFlags::REMOVEDIR)
}

fn open_directory(dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<OwnedFd, Errno> {
    openat(
        dir,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// The entries of a directory.
pub(crate) fn names(dir: BorrowedFd<'_>) -> std::result::Result<Vec<(Box<CStr>, FileType)>, Errno> {
    // Opened anew: the caller's position in the directory is its own.
    let fd = open_directory(dir, c".")?;
    let mut space = Vec::with_capacity(32 << 10);
    let mut entries = RawDir::new(fd, space.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push((entry.file_name().into(), entry.file_type()));
        }
    }
    Ok(names)
}

/// Copies the directory `from` with all in it to the existing directory `to`: owners, modes,
/// times, extended attributes, hard links. Contents are shared where the file system can.
pub(crate) fn tree(from: &Path, to: &Path) -> Result<()> {
    let open = |path: &Path| {
        openat(
            CWD,
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    };
    let source = open(from).at("open", from)?;
    let target = open(to).at("open", to)?;
    let mut copier = Copier {
        linked: HashMap::new(),
        privileged: rustix::process::geteuid().is_root(),
    };
    copier
        .directory(source.as_fd(), target.as_fd())
        .at("copy the tree", from)
}

struct Copier {
    /// Copies of files with several links, by inode: descriptor of the directory is not kept, the
    /// copy's own is.
    linked: HashMap<u64, OwnedFd>,
    privileged: bool,
}

impl Copier {
    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Done {
        for (name, _) in names(from)? {
            self.entry(from, to, &name)?;
        }
        let stat = fstat(from)?;
        self.attributes(from, to, &stat)
    }

    fn entry(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Done {
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                mkdirat(to, name, Mode::from_raw_mode(0o700))?;
                let (source, target) = (open_directory(from, name)?, open_directory(to, name)?);
                self.directory(source.as_fd(), target.as_fd())
            }
            FileType::RegularFile => self.file(from, to, name, &stat),
            FileType::Symlink => {
                let target = readlinkat(from, name, Vec::new())?;
                symlinkat(&target, to, name)?;
                self.unopened(to, name, &stat, false)
            }
            kind if self.privileged || kind == FileType::Fifo => {
                mknodat(to, name, kind, Mode::from_raw_mode(0o600), stat.st_rdev)?;
                self.unopened(to, name, &stat, true)
            }
            _ => Ok(()),
        }
    }

    fn file(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Done {
        if let Some(first) = self.linked.get(&stat.st_ino) {
            return link(first, to, name);
        }
        let source = openat(
            from,
            name,
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let target = openat(to, name, flags, Mode::from_raw_mode(0o600))?;
        content(&source, &target, stat.st_size as u64)?;
        self.attributes(source.as_fd(), target.as_fd(), stat)?;
        if stat.st_nlink > 1 {
            self.linked.insert(stat.st_ino, target);
        }
        Ok(())
    }

    fn attributes(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> Done {
        if self.privileged {
            rustix::fs::fchown(
                to,
                Some(Uid::from_raw(stat.st_uid)),
                Some(Gid::from_raw(stat.st_gid)),
            )?;
        }
        fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        xattrs(from, to)?;
        futimens(to, &times(stat))
    }

    fn unopened(&self, to: BorrowedFd<'_>, name: &CStr, stat: &Stat, has_mode: bool) -> Done {
        if self.privileged {
            let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if has_mode {
            chmodat(
                to,
                name,
                Mode::from_raw_mode(stat.st_mode & 0o7777),
                AtFlags::empty(),
            )?;
        }
        utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// Gives the copied file another name, through its descriptor.
fn link(file: &OwnedFd, to: BorrowedFd<'_>, name: &CStr) -> Done {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, path.as_str(), to, name, AtFlags::SYMLINK_FOLLOW)
}

fn content(from: &OwnedFd, to: &OwnedFd, size: u64) -> Done {
    if size == 0 || rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let mut left = size;
    while left > 0 {
        match rustix::fs::copy_file_range(from, None, to, None, left.min(1 << 30) as usize) {
            Ok(0) => break,
            Ok(n) => left -= n as u64,
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) if left == size => {
                return by_hand(from, to);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn by_hand(from: &OwnedFd, to: &OwnedFd) -> Done {
    let mut buffer = vec![0; 128 << 10];
    loop {
        let n = rustix::io::read(from, &mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..n];
        while !rest.is_empty() {
            let written = rustix::io::write(to, rest)?;
            rest = &rest[written..];
        }
    }
}

fn xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Done {
    for name in xattr_names(from)? {
        let value = xattr(from, &name)?;
        fsetxattr(to, &*name, &value, XattrFlags::empty())?;
    }
    Ok(())
}

/// Names of a file's extended attributes, sorted; none where the file system has none.
pub(crate) fn xattr_names(fd: BorrowedFd<'_>) -> std::result::Result<Vec<Box<CStr>>, Errno> {
    let mut list = vec![0u8; 64 << 10];
    let length = match flistxattr(fd, &mut list) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno),
    };
    let mut names: Vec<Box<CStr>> = list[..length]
        .split_inclusive(|&b| b == 0)
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok().map(Into::into))
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// Value of an extended attribute.
pub(crate) fn xattr(fd: BorrowedFd<'_>, name: &CStr) -> std::result::Result<Vec<u8>, Errno> {
    let mut value = vec![0u8; 64 << 10];
    let length = fgetxattr(fd, name, &mut value)?;
    value.truncate(length);
    Ok(value)
}

fn times(stat: &Stat) -> Timestamps {
    let spec = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds as i64,
    };
    Timestamps {
        last_access: spec(stat.st_atime, stat.st_atime_nsec),
        last_modification: spec(stat.st_mtime, stat.st_mtime_nsec),
    }
}
