//! A directory that stands for `/`: every path below it is resolved by the kernel, which never
//! leaves it, whatever symlinks a hostile image holds.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat2, symlinkat};
use rustix::io::Errno;

use crate::error::{Context, Error};

/// An open root directory.
#[derive(Debug)]
pub struct Root(OwnedFd);

/// What a mount target must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// Anything but a directory.
    File,
}

impl Root {
    /// Opens a directory of the caller's own namespace as a root.
    ///
    /// # Errors
    /// As openat(2).
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map(Self)
            .context("open directory", path.display())
    }

    /// Opens `path` below the root, following symlinks inside it only.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn open_file(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        open_in(&self.0, path, flags, Mode::empty())
    }

    /// Opens what a mount will cover, `None` if it does not exist.
    ///
    /// # Errors
    /// As openat2(2), but for a path that does not exist.
    pub fn target(&self, path: &Path) -> Result<Option<OwnedFd>, Errno> {
        match self.open_file(path, OFlags::PATH) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Opens a directory of the root, making it and its parents (mode 0755) where they are missing.
    ///
    /// # Errors
    /// As openat2(2) and mkdirat(2).
    pub fn directory(&self, path: &Path, mode: Mode) -> Result<OwnedFd, Errno> {
        if let Some(fd) = self.target(path)? {
            return Ok(fd);
        }
        let (parent, name) = split(path)?;
        let parent = self.directory(parent, Mode::from_raw_mode(0o755))?;
        match mkdirat(&parent, name, mode) {
            // mkdir(2) applies the umask; the mode asked for is the mode meant.
            Ok(()) => {
                let made = open_in(
                    &parent,
                    Path::new(name),
                    OFlags::RDONLY | OFlags::DIRECTORY,
                    Mode::empty(),
                )?;
                rustix::fs::fchmod(&made, mode)?;
                Ok(made)
            }
            Err(Errno::EXIST) => open_in(&parent, Path::new(name), OFlags::PATH, Mode::empty()),
            Err(errno) => Err(errno),
        }
    }

    /// Opens a mount target of the given kind, making it where it is missing.
    ///
    /// # Errors
    /// As openat2(2); `ENOTDIR` or `EISDIR` when something of the other kind is there.
    pub fn mount_target(&self, path: &Path, kind: Kind) -> Result<OwnedFd, Errno> {
        let fd = match (self.target(path)?, kind) {
            (Some(fd), _) => fd,
            (None, Kind::Directory) => self.directory(path, Mode::from_raw_mode(0o755))?,
            (None, Kind::File) => self.create(path, Mode::from_raw_mode(0o644))?,
        };
        let is_directory =
            FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) == FileType::Directory;
        match (kind, is_directory) {
            (Kind::Directory, false) => Err(Errno::NOTDIR),
            (Kind::File, true) => Err(Errno::ISDIR),
            _ => Ok(fd),
        }
    }

    /// Makes a symbolic link, unless something is there or its directory is not.
    ///
    /// # Errors
    /// As openat2(2) and symlinkat(2).
    pub fn symlink(&self, path: &Path, to: &Path) -> Result<(), Errno> {
        let (parent, name) = split(path)?;
        let Some(parent) = self.target(parent)? else {
            return Ok(());
        };
        match symlinkat(to, &parent, name) {
            Err(Errno::EXIST | Errno::NOTDIR) => Ok(()),
            other => other,
        }
    }

    /// Makes an empty file, and its parents where they are missing.
    fn create(&self, path: &Path, mode: Mode) -> Result<OwnedFd, Errno> {
        let (parent, name) = split(path)?;
        let parent = self.directory(parent, Mode::from_raw_mode(0o755))?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW;
        open_in(&parent, Path::new(name), flags, mode)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Root {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

fn open_in(dir: impl AsFd, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(&dir, path, flags | OFlags::CLOEXEC, mode, resolve) {
            // A rename raced the resolution; the kernel asks to try again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Parent and last component; `EINVAL` for a path without a plain last component.
fn split(path: &Path) -> Result<(&Path, &OsStr), Errno> {
    match path.components().next_back() {
        Some(Component::Normal(name)) => Ok((path.parent().unwrap_or(Path::new("/")), name)),
        _ => Err(Errno::INVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn scratch() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn symlinks_do_not_lead_outside() {
        let (outside, inside) = (scratch(), scratch());
        symlink(outside.path(), inside.path().join("abs")).unwrap();
        symlink("../../../../../..", inside.path().join("up")).unwrap();
        let root = Root::open(inside.path()).unwrap();
        root.directory(Path::new("/up/made"), Mode::from_raw_mode(0o755))
            .unwrap();
        assert!(inside.path().join("made").is_dir());
        // The absolute link is read inside the root, where its target does not exist.
        assert!(root.mount_target(Path::new("/abs/x"), Kind::File).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn targets_are_made_with_their_mode() {
        let inside = scratch();
        let root = Root::open(inside.path()).unwrap();
        let fd = root
            .directory(Path::new("/a/tmp"), Mode::from_raw_mode(0o1777))
            .unwrap();
        assert_eq!(rustix::fs::fstat(&fd).unwrap().st_mode & 0o7777, 0o1777);
        root.mount_target(Path::new("/a/b/file"), Kind::File)
            .unwrap();
        assert!(inside.path().join("a/b/file").is_file());
        assert_eq!(
            root.mount_target(Path::new("/a/b"), Kind::File)
                .unwrap_err(),
            Errno::ISDIR
        );
        assert_eq!(
            root.mount_target(Path::new("/a/b/file"), Kind::Directory)
                .unwrap_err(),
            Errno::NOTDIR
        );
    }
}
