//! A directory held open, and small files read and written below it.
//!
//! Everything is relative to the descriptor, so a rename of the pod between two calls does no harm.
//! Symbolic links are never followed: a pod's files are partly written by what runs inside it.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, chownat, mkdirat, openat, openat2,
    statat,
};
use rustix::io::Errno;

use crate::error::Error;

/// No file that stage0 reads in a pod directory may be larger.
const MAX_FILE: u64 = 4 << 20;

/// An open directory and the path it had when it was opened (for messages).
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    pub(crate) fn new(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path }
    }

    /// Opens a directory by its path.
    ///
    /// # Errors
    /// It is missing, no directory, or not accessible.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty())
            .map_err(|e| Error::io("open directory", path, e))?;
        Ok(Self::new(fd, path.to_path_buf()))
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// The whole content of a file, which must be regular and at most 4 MiB.
    ///
    /// # Errors
    /// It is missing, too large, reached through a symbolic link, or not readable.
    pub fn read(&self, name: impl AsRef<Path>) -> Result<Vec<u8>, Error> {
        let name = name.as_ref();
        let error = |e: std::io::Error| Error::io("read", self.path.join(name), e);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let fd =
            openat2(&self.fd, name, flags, Mode::empty(), resolve).map_err(|e| error(e.into()))?;
        let mut bytes = Vec::with_capacity(1024);
        std::fs::File::from(fd)
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(error)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(error(Errno::FBIG.into()));
        }
        Ok(bytes)
    }

    /// A file's text without the white space around it; `None` when the file is not there.
    ///
    /// # Errors
    /// As [`Dir::read`], and text that is not UTF-8.
    pub fn read_text(&self, name: impl AsRef<Path>) -> Result<Option<String>, Error> {
        let name = name.as_ref();
        match self.read(name) {
            Ok(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) => Ok(Some(text.trim().to_owned())),
                Err(_) => Err(Error::io("read", self.path.join(name), Errno::ILSEQ)),
            },
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The attributes of what is at `name` itself; `None` when nothing is.
    ///
    /// # Errors
    /// The kernel refuses to look.
    pub fn stat(&self, name: impl AsRef<Path>) -> Result<Option<Stat>, Error> {
        let name = name.as_ref();
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(Error::io("inspect", self.path.join(name), error)),
        }
    }

    /// Makes a directory; one that is there already is kept.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn mkdir(&self, name: impl AsRef<Path>, mode: u32) -> Result<(), Error> {
        let name = name.as_ref();
        match mkdirat(&self.fd, name, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(Error::io("create directory", self.path.join(name), error)),
        }
    }

    /// Gives what is at `name` itself to a user and the group of the same number.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn give(&self, name: impl AsRef<Path>, id: u32) -> Result<(), Error> {
        let name = name.as_ref();
        let owner = (Uid::from_raw(id), Gid::from_raw(id));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        chownat(&self.fd, name, Some(owner.0), Some(owner.1), flags)
            .map_err(|e| Error::io("change the owner of", self.path.join(name), e))
    }

    /// Writes a new file, or replaces what a file held.
    ///
    /// # Errors
    /// The kernel refuses, or the disk is full.
    pub fn write(&self, name: impl AsRef<Path>, content: &[u8], mode: u32) -> Result<(), Error> {
        let name = name.as_ref();
        write_at(self.fd(), name, content, mode)
            .map_err(|e| Error::io("write", self.path.join(name), e))
    }
}

/// Writes a file below a directory without following a symbolic link at its end.
///
/// # Errors
/// The kernel's.
pub fn write_at(dir: impl AsFd, name: &Path, content: &[u8], mode: u32) -> Result<(), Errno> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = openat(dir, name, flags, Mode::from_raw_mode(mode))?;
    let mut rest = content;
    while !rest.is_empty() {
        match rustix::io::write(&fd, rest) {
            Ok(n) => rest = &rest[n..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Dir {
    /// Writes a file through a temporary name, so that readers find all of it or what was before.
    ///
    /// # Errors
    /// The kernel refuses, or the disk is full.
    pub fn write_whole(&self, name: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        let temporary = format!(".{name}");
        self.write(&temporary, content, mode)?;
        rustix::fs::renameat(&self.fd, temporary, &self.fd, name)
            .map_err(|e| Error::io("write", self.path.join(name), e))
    }
}
