//! Entries to files.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, linkat, makedev, mkdirat,
    mknodat, openat2, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use tar::EntryType;

use super::Contents;
use super::archive::stream_error;
use super::attributes::Attributes;
use crate::error::At;
use crate::{Error, Result, copy};

/// Copied at a time.
const BUFFER: usize = 128 << 10;

/// Makes files below a directory from archive entries.
pub(crate) struct Extractor<'a> {
    root: BorrowedFd<'a>,
    /// The directory, for messages.
    path: PathBuf,
    /// Only root may give files away and make devices.
    privileged: bool,
    /// The parent of the last entry, which most often is that of the next.
    parent: Option<(String, OwnedFd)>,
    /// Directories get their times last: making files in them changes them.
    directories: Vec<(String, Timestamps)>,
    contents: Contents,
    buffer: Vec<u8>,
}

impl<'a> Extractor<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>, path: &Path) -> Self {
        Self {
            root,
            path: path.to_owned(),
            privileged: rustix::process::geteuid().is_root(),
            parent: None,
            directories: Vec::new(),
            contents: Contents::new(),
            buffer: vec![0; BUFFER],
        }
    }

    /// Makes what one entry says; `path` has no leading slash and is empty for the root itself.
    pub(crate) fn entry(
        &mut self,
        path: &str,
        entry: &mut tar::Entry<'_, impl Read>,
    ) -> Result<()> {
        let attributes = Attributes::of(entry)?;
        let kind = entry.header().entry_type();
        if path.is_empty() {
            return self.root_directory(kind, &attributes);
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent_fd = self.open_parent(parent)?;
        let at = self.path.join(path);
        let made = match kind {
            EntryType::Directory => self.directory(&parent_fd, name, &attributes),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(&parent_fd, name, entry, &attributes, &at)?;
                Ok(())
            }
            EntryType::Symlink => self.symlink(&parent_fd, name, entry, &attributes),
            EntryType::Link => return self.hard_link(&parent_fd, name, entry, &at),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                self.node(&parent_fd, name, kind, entry, &attributes)
            }
            other => {
                return Err(Error::archive(format!(
                    "entry {path:?} has unknown type {other:?}"
                )));
            }
        };
        made.at("create", &at)?;
        if kind == EntryType::Directory {
            self.directories.push((path.to_owned(), attributes.times()));
        }
        self.parent = Some((parent.to_owned(), parent_fd));
        Ok(())
    }

    fn root_directory(&mut self, kind: EntryType, attributes: &Attributes) -> Result<()> {
        if kind != EntryType::Directory {
            return Err(Error::archive("its rootfs is not a directory"));
        }
        let fd = rustix::io::fcntl_dupfd_cloexec(self.root, 3).at("open", &self.path)?;
        attributes
            .apply(fd.as_fd(), self.privileged)
            .at("set attributes of", &self.path)?;
        self.directories.push((String::new(), attributes.times()));
        Ok(())
    }

    /// Opens the directory of the next entry, making it and its parents where no entry did.
    fn open_parent(&mut self, path: &str) -> Result<OwnedFd> {
        if let Some((cached, fd)) = self.parent.take()
            && cached == path
        {
            return Ok(fd);
        }
        match self.open_below(path, OFlags::DIRECTORY) {
            Ok(fd) => Ok(fd),
            Err(Errno::NOENT) => self
                .make_parents(path)
                .at("create directory", self.path.join(path)),
            Err(errno) => Err(errno).at("open directory", self.path.join(path)),
        }
    }

    fn make_parents(&self, path: &str) -> std::result::Result<OwnedFd, Errno> {
        let mut made = String::new();
        for part in path.split('/') {
            let parent = self.open_below(&made, OFlags::DIRECTORY)?;
            match mkdirat(&parent, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            if !made.is_empty() {
                made.push('/');
            }
            made.push_str(part);
        }
        self.open_below(path, OFlags::DIRECTORY)
    }

    /// Opens a path inside the root; symlinks in it are followed inside the root only.
    fn open_below(&self, path: &str, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        let path = if path.is_empty() { "." } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
            match openat2(self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    fn directory(
        &mut self,
        parent: &OwnedFd,
        name: &str,
        attributes: &Attributes,
    ) -> std::result::Result<(), Errno> {
        match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(Errno::EXIST) if is_directory(parent, name)? => {}
            Err(Errno::EXIST) => {
                self.replace(parent, name)?;
                mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
            }
            Err(errno) => return Err(errno),
        }
        let fd = open_nofollow(parent, name, OFlags::DIRECTORY)?;
        attributes.apply(fd.as_fd(), self.privileged)
    }

    fn file(
        &mut self,
        parent: &OwnedFd,
        name: &str,
        entry: &mut tar::Entry<'_, impl Read>,
        attributes: &Attributes,
        at: &Path,
    ) -> Result<()> {
        let fd = self.create(parent, name).at("create", at)?;
        let (fd, digest) = self.write(fd, entry, at)?;
        attributes
            .apply(fd.as_fd(), self.privileged)
            .at("set attributes of", at)?;
        rustix::fs::futimens(&fd, &attributes.times()).at("set times of", at)?;
        let inode = rustix::fs::fstat(&fd).at("inspect", at)?.st_ino;
        self.contents.insert(inode, digest);
        Ok(())
    }

    fn create(&mut self, parent: &OwnedFd, name: &str) -> std::result::Result<OwnedFd, Errno> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600));
        match open() {
            Err(Errno::EXIST) => {
                self.replace(parent, name)?;
                open()
            }
            other => other,
        }
    }

    /// Writes an entry's bytes. Long runs of zeros, which sparse entries are read as, become holes.
    fn write(
        &mut self,
        fd: OwnedFd,
        entry: &mut impl Read,
        at: &Path,
    ) -> Result<(OwnedFd, blake3::Hash)> {
        let mut file = std::fs::File::from(fd);
        let mut hasher = blake3::Hasher::new();
        let (mut length, mut hole) = (0u64, false);
        loop {
            let n = entry.read(&mut self.buffer).map_err(stream_error)?;
            if n == 0 {
                break;
            }
            let bytes = &self.buffer[..n];
            hasher.update(bytes);
            hole = n == BUFFER && bytes.iter().all(|&b| b == 0);
            if hole {
                use std::io::{Seek, SeekFrom};
                file.seek(SeekFrom::Current(n as i64)).at("write", at)?;
            } else {
                file.write_all(bytes).at("write", at)?;
            }
            length += n as u64;
        }
        if hole {
            file.set_len(length).at("write", at)?;
        }
        Ok((file.into(), hasher.finalize()))
    }

    fn symlink(
        &mut self,
        parent: &OwnedFd,
        name: &str,
        entry: &tar::Entry<'_, impl Read>,
        attributes: &Attributes,
    ) -> std::result::Result<(), Errno> {
        let target = entry.link_name_bytes().ok_or(Errno::INVAL)?;
        let target = OsStr::from_bytes(&target);
        match symlinkat(target, parent, name) {
            Err(Errno::EXIST) => {
                self.replace(parent, name)?;
                symlinkat(target, parent, name)?;
            }
            other => other?,
        }
        attributes.apply_to_link(parent.as_fd(), name, self.privileged)
    }

    /// A hard link is to another path of the archive, resolved inside the rootfs.
    fn hard_link(
        &mut self,
        parent: &OwnedFd,
        name: &str,
        entry: &tar::Entry<'_, impl Read>,
        at: &Path,
    ) -> Result<()> {
        let target = entry
            .link_name_bytes()
            .ok_or_else(|| Error::archive("a hard link to nothing"))?;
        let text = String::from_utf8_lossy(&target).into_owned();
        let inside = text.trim_start_matches("./").strip_prefix("rootfs/");
        let inside = inside.filter(|path| !path.split('/').any(|part| part == ".."));
        let inside = inside.ok_or_else(|| {
            Error::archive(format!("hard link {at:?} to {text:?}, outside the rootfs"))
        })?;
        let (dir, file) = inside.rsplit_once('/').unwrap_or(("", inside));
        let source = self
            .open_below(dir, OFlags::DIRECTORY)
            .at("open directory", self.path.join(dir))?;
        let link = || linkat(&source, file, parent, name, AtFlags::empty());
        match link() {
            // A link to itself, as some archivers write.
            Err(Errno::EXIST) if same_file(&source, file, parent, name) => Ok(()),
            Err(Errno::EXIST) => self.replace(parent, name).and_then(|()| link()),
            other => other,
        }
        .at("link", at)
    }

    fn node(
        &mut self,
        parent: &OwnedFd,
        name: &str,
        kind: EntryType,
        entry: &tar::Entry<'_, impl Read>,
        attributes: &Attributes,
    ) -> std::result::Result<(), Errno> {
        let header = entry.header();
        let number = |field: std::io::Result<Option<u32>>| field.ok().flatten().ok_or(Errno::INVAL);
        let (file_type, device) = match kind {
            EntryType::Fifo => (FileType::Fifo, 0),
            _ if !self.privileged => return Ok(()),
            EntryType::Char => (
                FileType::CharacterDevice,
                makedev(
                    number(header.device_major())?,
                    number(header.device_minor())?,
                ),
            ),
            _ => (
                FileType::BlockDevice,
                makedev(
                    number(header.device_major())?,
                    number(header.device_minor())?,
                ),
            ),
        };
        let make = || mknodat(parent, name, file_type, Mode::from_raw_mode(0o600), device);
        match make() {
            Err(Errno::EXIST) => {
                self.replace(parent, name)?;
                make()?;
            }
            other => other?,
        }
        attributes.apply_to_node(parent.as_fd(), name, self.privileged)
    }

    /// Takes an earlier entry away.
    fn replace(&mut self, parent: &OwnedFd, name: &str) -> std::result::Result<(), Errno> {
        // Directories on cached paths may be among what goes.
        self.parent = None;
        match unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                let fd = open_nofollow(parent, name, OFlags::DIRECTORY)?;
                copy::empty(fd.as_fd())?;
                unlinkat(parent, name, AtFlags::REMOVEDIR)
            }
            other => other,
        }
    }

    /// Sets what could not be set earlier; returns the digests of the files.
    pub(crate) fn finish(mut self) -> Result<Contents> {
        self.parent = None;
        for (path, times) in self.directories.iter().rev() {
            let at = self.path.join(path);
            // What was a directory may have been replaced by a later entry.
            match self.open_below(path, OFlags::DIRECTORY) {
                Ok(fd) => rustix::fs::futimens(fd, times).at("set times of", at)?,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno).at("open", at),
            }
        }
        Ok(self.contents)
    }
}

fn open_nofollow(
    parent: &OwnedFd,
    name: &str,
    flags: OFlags,
) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::openat(
        parent,
        name,
        flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn is_directory(parent: &OwnedFd, name: &str) -> std::result::Result<bool, Errno> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn same_file(a: &OwnedFd, a_name: &str, b: &OwnedFd, b_name: &str) -> bool {
    let stat = |dir: &OwnedFd, name: &str| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    matches!((stat(a, a_name), stat(b, b_name)), (Ok(a), Ok(b)) if a.st_ino == b.st_ino && a.st_dev == b.st_dev)
}

/// Sets times without following a symlink.
pub(super) fn set_times(
    parent: BorrowedFd<'_>,
    name: &str,
    times: &Timestamps,
) -> std::result::Result<(), Errno> {
    utimensat(parent, name, times, AtFlags::SYMLINK_NOFOLLOW)
}

pub(super) const fn timespec(seconds: i64, nanoseconds: i64) -> Timespec {
    Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    }
}
