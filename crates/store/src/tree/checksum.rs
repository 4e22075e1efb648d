//! The checksum of a rendered tree: names, types, owners, modes, times, extended attributes, link
//! targets, device numbers and contents.

use std::collections::HashMap;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, lgetxattr,
    llistxattr, openat, openat2, readlinkat, statat,
};
use rustix::io::Errno;

use crate::extract::{Digests, Known, Looks, is_label};
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// What a walk over a tree found.
pub(crate) struct Measured {
    /// `blake3-` and 64 hexadecimal digits.
    pub(crate) checksum: String,
    /// Bytes of all files, an inode counted once.
    pub(crate) size: u64,
}

/// Walks a tree in the order of its names. Contents whose digests are known by inode are not read
/// again; files that are known whole are not even looked at where a listing tells which they are.
pub(crate) fn measure(root: &Path, known: &Digests) -> Result<Measured> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::open(root, flags, Mode::empty()).map_err(Error::io("open", root))?;
    let mut walk = Walk {
        hash: Gathered::default(),
        known,
        told: !known.is_empty() && tells(&top),
        read: HashMap::new(),
        size: 0,
        buffer: vec![0; 64 << 10],
        path: Vec::new(),
    };
    let mut waiting: Vec<Vec<u8>> = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        walk.path.clone_from(&path);
        let found = walk.directory(&top, &path, &mut waiting);
        found.map_err(|e| {
            let name = String::from_utf8_lossy(&walk.path).into_owned();
            Error::io("read", &root.join(name))(e)
        })?;
    }
    Ok(Measured {
        checksum: format!("blake3-{}", walk.hash.finish().to_hex()),
        size: walk.size,
    })
}

/// Whether the listings of a file system give the inodes and types that a look at each file gives.
/// A network's, user space's, or one over others may have numbers of its own there.
fn tells(directory: &OwnedFd) -> bool {
    /// ext2 to ext4, XFS, btrfs, tmpfs (linux/magic.h).
    const KNOWN: [u32; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];
    // The type's size differs between machines; the numbers have 32 bits.
    fstatfs(directory).is_ok_and(|found| KNOWN.contains(&(found.f_type as u32)))
}

struct Walk<'a> {
    hash: Gathered,
    known: &'a Digests,
    /// Listings tell inodes and types as a look at each file does.
    told: bool,
    /// Contents read in this walk that have several names.
    read: HashMap<u64, blake3::Hash>,
    size: u64,
    buffer: Vec<u8>,
    /// What is being looked at, for errors.
    path: Vec<u8>,
}

impl Walk<'_> {
    fn directory(
        &mut self,
        top: &OwnedFd,
        path: &[u8],
        waiting: &mut Vec<Vec<u8>>,
    ) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = if path.is_empty() {
            openat(top, ".", flags, Mode::empty())?
        } else {
            let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            openat2(top, path, flags, Mode::empty(), how)?
        };
        self.field(b"directory");
        self.field(path);
        self.looks(&Looks::of(&fstat(&directory)?));
        self.extended(&directory, b"")?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                entries.push((name.to_vec(), entry.file_type(), entry.ino()));
            }
        }
        entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let first = waiting.len();
        for (name, kind, inode) in entries {
            let mut inner = path.to_vec();
            if !inner.is_empty() {
                inner.push(b'/');
            }
            inner.extend_from_slice(&name);
            self.path.clone_from(&inner);
            if self.told && kind == FileType::Directory {
                waiting.push(inner);
                continue;
            }
            if self.told
                && kind == FileType::RegularFile
                && let Some(known) = self.known.get(&inode)
                && let Some(looks) = &known.looks
            {
                self.whole(&directory, &name, known, looks)?;
                continue;
            }
            let stat = statat(&directory, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                waiting.push(inner);
            } else {
                self.entry(&directory, &name, &stat)?;
            }
        }
        // The first name is walked first.
        waiting[first..].reverse();
        Ok(())
    }

    /// A file of which everything is known.
    fn whole(
        &mut self,
        directory: &OwnedFd,
        name: &[u8],
        known: &Known,
        looks: &Looks,
    ) -> Result<(), Errno> {
        self.field(name);
        self.looks(looks);
        self.hash.update(&looks.size.to_le_bytes());
        self.hash.update(known.content.as_bytes());
        self.size += looks.size;
        match known.plain {
            true => Ok(()),
            false => self.extended(directory, name),
        }
    }

    fn entry(&mut self, directory: &OwnedFd, name: &[u8], stat: &Stat) -> Result<(), Errno> {
        self.field(name);
        self.looks(&Looks::of(stat));
        let mut plain = false;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let known = self.known.get(&stat.st_ino);
                plain = known.is_some_and(|known| known.plain);
                let digest = self.content(directory, name, stat, known)?;
                self.hash.update(digest.as_bytes());
            }
            FileType::Symlink => {
                let target = readlinkat(directory, name, Vec::new())?;
                self.field(target.as_bytes());
            }
            _ => {
                self.hash.update(&stat.st_rdev.to_le_bytes());
            }
        }
        match plain {
            true => Ok(()),
            false => self.extended(directory, name),
        }
    }

    fn content(
        &mut self,
        directory: &OwnedFd,
        name: &[u8],
        stat: &Stat,
        known: Option<&Known>,
    ) -> Result<blake3::Hash, Errno> {
        let size = stat.st_size.cast_unsigned();
        self.hash.update(&size.to_le_bytes());
        if let Some(digest) = self.read.get(&stat.st_ino) {
            return Ok(*digest);
        }
        self.size += size;
        let digest = match known {
            Some(known) => known.content,
            None => self.read_content(directory, name)?,
        };
        if stat.st_nlink > 1 {
            self.read.insert(stat.st_ino, digest);
        }
        Ok(digest)
    }

    fn read_content(&mut self, directory: &OwnedFd, name: &[u8]) -> Result<blake3::Hash, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::empty())?;
        let mut file = std::fs::File::from(file);
        let mut hash = blake3::Hasher::new();
        loop {
            let read = file.read(&mut self.buffer);
            match read.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))? {
                0 => return Ok(hash.finalize()),
                read => hash.update(&self.buffer[..read]),
            };
        }
    }

    /// Extended attributes, sorted by name; an empty name stands for the directory itself.
    fn extended(&mut self, directory: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
        if name.is_empty() {
            path.push(b'.');
        } else {
            path.extend_from_slice(name);
        }
        let length = match llistxattr(path.as_slice(), &mut self.buffer[..]) {
            Err(Errno::OPNOTSUPP) => 0,
            other => other?,
        };
        let mut keys: Vec<Vec<u8>> = self.buffer[..length]
            .split(|b| *b == 0)
            .filter(|key| !key.is_empty() && !is_label(key))
            .map(<[u8]>::to_vec)
            .collect();
        keys.sort_unstable();
        for key in keys {
            let length = lgetxattr(path.as_slice(), key.as_slice(), &mut self.buffer[..])?;
            self.field(&key);
            self.hash.update(&(length as u64).to_le_bytes());
            self.hash.update(&self.buffer[..length]);
        }
        Ok(())
    }

    fn looks(&mut self, looks: &Looks) {
        let mut fields = [0; 28];
        fields[0..4].copy_from_slice(&looks.mode.to_le_bytes());
        fields[4..8].copy_from_slice(&looks.owner.0.to_le_bytes());
        fields[8..12].copy_from_slice(&looks.owner.1.to_le_bytes());
        fields[12..20].copy_from_slice(&looks.modified.0.to_le_bytes());
        fields[20..28].copy_from_slice(&looks.modified.1.to_le_bytes());
        self.hash.update(&fields);
    }

    /// A text with its length, so that two never look like one.
    fn field(&mut self, text: &[u8]) {
        self.hash.update(&(text.len() as u64).to_le_bytes());
        self.hash.update(text);
    }
}
/// A hash that is given a few bytes at a time: BLAKE3 is four times as fast with many.
#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    hash: blake3::Hasher,
}

impl Gathered {
    const MANY: usize = 16 << 10;

    fn update(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= Self::MANY {
            self.hash.update(&self.bytes);
            self.bytes.clear();
        }
    }

    fn finish(mut self) -> blake3::Hash {
        self.hash.update(&self.bytes);
        self.hash.finalize()
    }
}
