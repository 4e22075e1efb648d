//! Checksums of rendered trees (page "rkt image", verify).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::error::At;
use crate::extract::Contents;
use crate::tree::HASH;
use crate::{ImageId, Result, Store, copy};

/// What verifying an image's tree found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// The tree is what was rendered.
    Intact,
    /// There is no tree, so there is nothing to verify.
    NotRendered,
    /// The tree was changed.
    Changed,
}

/// Digest of a tree's names, metadata and contents, and the bytes of its files.
pub(crate) struct Checksum {
    pub(crate) digest: String,
    pub(crate) size: u64,
}

impl Store {
    /// Compares an image's tree with what was rendered.
    ///
    /// # Errors
    /// No such image, an unreadable tree.
    pub fn verify(&self, image: &ImageId) -> Result<Verified> {
        let Some(tree) = self.tree_by_id(&self.tree_id(image)?) else {
            return Ok(Verified::NotRendered);
        };
        let path = self.tree_dir(&tree.id).join(HASH);
        let recorded = std::fs::read_to_string(&path).at("read", &path)?;
        let root = openat(
            rustix::fs::CWD,
            &tree.rootfs,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .at("open", &tree.rootfs)?;
        let found = checksum(&root, &tree.rootfs, &Contents::new())?;
        Ok(match found.digest == recorded {
            true => Verified::Intact,
            false => Verified::Changed,
        })
    }
}

/// The checksum of what is on disk; contents whose digests are known are not read again.
pub(crate) fn checksum(root: &OwnedFd, path: &Path, known: &Contents) -> Result<Checksum> {
    let mut walk = Walk {
        known,
        hash: blake3::Hasher::new(),
        size: 0,
    };
    let stat = rustix::fs::fstat(root).at("inspect", path)?;
    walk.metadata(c"", &stat);
    walk.directory(root.as_fd()).at("verify", path)?;
    Ok(Checksum {
        digest: format!("blake3-{}", walk.hash.finalize().to_hex()),
        size: walk.size,
    })
}

struct Walk<'a> {
    known: &'a Contents,
    hash: blake3::Hasher,
    size: u64,
}

impl Walk<'_> {
    fn directory(&mut self, dir: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
        let mut names = copy::names(dir)?;
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (name, _) in names {
            let stat = statat(dir, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
            self.metadata(&name, &stat);
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let fd = open(dir, &name)?;
                    self.xattrs(fd.as_fd())?;
                    self.directory(fd.as_fd())?;
                    self.hash.update(b"..");
                }
                FileType::RegularFile => self.file(dir, &name, &stat)?,
                FileType::Symlink => {
                    let target = readlinkat(dir, &*name, Vec::new())?;
                    self.field(target.as_bytes());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn metadata(&mut self, name: &CStr, stat: &Stat) {
        self.field(name.to_bytes());
        // A directory's size is the file system's business.
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let size = if is_file { stat.st_size } else { 0 };
        for number in [
            i64::from(stat.st_mode),
            i64::from(stat.st_uid),
            i64::from(stat.st_gid),
            size,
            stat.st_rdev as i64,
            stat.st_mtime,
            stat.st_mtime_nsec as i64,
        ] {
            self.hash.update(&number.to_le_bytes());
        }
    }

    fn field(&mut self, bytes: &[u8]) {
        self.hash.update(&(bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }

    fn file(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
    ) -> std::result::Result<(), Errno> {
        self.size += stat.st_size as u64;
        let fd = open(dir, name)?;
        self.xattrs(fd.as_fd())?;
        let digest = match self.known.get(&stat.st_ino) {
            Some(digest) => *digest,
            None => {
                let mut hasher = blake3::Hasher::new();
                hasher
                    .update_reader(std::fs::File::from(fd))
                    .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
                hasher.finalize()
            }
        };
        self.hash.update(digest.as_bytes());
        Ok(())
    }

    fn xattrs(&mut self, fd: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
        for name in copy::xattr_names(fd)? {
            let value = copy::xattr(fd, &name)?;
            self.field(name.to_bytes());
            self.field(&value);
        }
        Ok(())
    }
}

fn open(dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<OwnedFd, Errno> {
    openat(
        dir,
        name,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}
