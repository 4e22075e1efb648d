//! Where the bytes of a journal file go. New objects are gathered and written with one call; what is
//! in the file already is changed through a memory map or, where it is much, with a call.
//!
//! A page that is first touched through a map costs as much as writing twenty with a call: the
//! kernel clears it, reserves its block and maps it, one at a time.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, ftruncate};
use rustix::io::Errno;
use sandbox::filemap::FileMap;

use crate::Error;
use crate::format::{aligned, header, object};

/// Disk space is taken in steps of this many bytes, or of this part of what the file may have.
const STEP: u64 = 256 * 1024;
const STEPS: u64 = 64;
/// More than this is written with a call.
const MUCH: usize = 512;
/// When this much was written, its pages are mapped: the tables' chains are going to pass there.
const POPULATED: usize = 16 * 1024;
/// Memory that is kept from one batch to the next.
const KEPT: usize = 512 * 1024;

#[derive(Debug)]
pub(super) struct Disk {
    file: File,
    path: PathBuf,
    map: FileMap,
    /// Bytes the file may have.
    limit: u64,
    /// Bytes it has, all with disk space.
    size: u64,
    /// New objects, which begin at `base` in the file.
    fresh: Vec<u8>,
    base: u64,
    /// Why the file takes no more.
    fault: Option<Errno>,
}

impl Disk {
    pub(super) fn new(file: OwnedFd, path: &Path, limit: u64) -> Result<Self, Error> {
        let limit = limit.min(u64::from(u32::MAX));
        Ok(Self {
            map: FileMap::new(&file, limit).map_err(Error::io("map", path))?,
            file: file.into(),
            path: path.to_owned(),
            limit,
            size: 0,
            fresh: Vec::new(),
            base: 0,
            fault: None,
        })
    }

    /// Makes room for the header; objects come after it.
    pub(super) fn room_for_head(&mut self) -> Result<(), Error> {
        self.grow(header::SIZE)?;
        self.base = header::SIZE;
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Bytes on disk.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Where the next object goes.
    pub(super) fn end(&self) -> u64 {
        self.base + self.fresh.len() as u64
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.fresh.len()
    }

    /// Begins an object, for all of which there is room then: its header. Its other bytes are to be
    /// [pushed](Self::push), and it is to be [ended](Self::align).
    pub(super) fn object(&mut self, kind: u8, size: u64) -> Result<u64, Error> {
        let offset = self.end();
        self.grow(offset + aligned(size))?;
        let mut head = [0; object::HEADER as usize];
        head[0] = kind;
        head[object::SIZE as usize..].copy_from_slice(&size.to_le_bytes());
        self.fresh.extend_from_slice(&head);
        Ok(offset)
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.fresh.extend_from_slice(bytes);
    }

    pub(super) fn push64(&mut self, number: u64) {
        self.push(&number.to_le_bytes());
    }

    /// Pushes zeros.
    pub(super) fn clear(&mut self, bytes: u64) {
        let length = self.fresh.len() + bytes as usize;
        self.fresh.resize(length, 0);
    }

    pub(super) fn align(&mut self) {
        let length = self.fresh.len().next_multiple_of(8);
        self.fresh.resize(length, 0);
    }

    /// An object that is all zero but for its header, and too large to gather.
    pub(super) fn zeros(&mut self, kind: u8, size: u64) -> Result<u64, Error> {
        let offset = self.object(kind, size)?;
        self.flush()?;
        // Nothing was ever written there, so zeros is what is there.
        let end = offset + aligned(size);
        self.base = end;
        Ok(offset)
    }

    /// Takes back the objects from an offset on.
    pub(super) fn take_back(&mut self, offset: u64) {
        self.fresh.truncate(self.index(offset));
    }

    /// What was pushed from an offset on.
    pub(super) fn pushed(&self, offset: u64) -> &[u8] {
        self.fresh.get(self.index(offset)..).unwrap_or_default()
    }

    /// Whether what is there is not in the file yet, so that nobody sees it change.
    pub(super) fn is_fresh(&self, offset: u64) -> bool {
        offset >= self.base
    }

    /// Writes the new objects to the file.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if self.fault.is_none() && !self.fresh.is_empty() {
            match self.file.write_all_at(&self.fresh, self.base) {
                Ok(()) => {
                    if self.fresh.len() >= POPULATED {
                        self.map.populate(self.base, self.fresh.len());
                    }
                    self.base = self.end();
                }
                Err(error) => {
                    self.fault = Some(Errno::from_io_error(&error).unwrap_or(Errno::IO));
                }
            }
            self.fresh.clear();
            self.fresh.shrink_to(KEPT);
        }
        match self.fault {
            Some(errno) => Err(Error::io("write", &self.path)(errno)),
            None => Ok(()),
        }
    }

    /// Changes bytes, new ones or such as are in the file. All offsets come from the file's own
    /// bookkeeping, so they are inside it.
    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) {
        if self.is_fresh(at) {
            let at = self.index(at);
            if let Some(there) = self.fresh.get_mut(at..at + bytes.len()) {
                there.copy_from_slice(bytes);
            }
        } else if bytes.len() > MUCH {
            self.write(at, bytes);
        } else {
            let done = self.map.put(at, bytes);
            debug_assert!(done, "offset {at} is outside the file");
        }
    }

    pub(super) fn put64(&mut self, at: u64, number: u64) {
        self.put(at, &number.to_le_bytes());
    }

    /// Changes bytes that are in the file, with a call.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        if let Err(error) = self.file.write_all_at(bytes, at) {
            self.fault = Some(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        }
    }

    pub(super) fn get64(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.get(at, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    pub(super) fn equals(&self, at: u64, bytes: &[u8]) -> bool {
        let mut there = [0; 64];
        let mut at = at;
        bytes.chunks(there.len()).all(|chunk| {
            let there = &mut there[..chunk.len()];
            self.get(at, there);
            at += chunk.len() as u64;
            there == chunk
        })
    }

    fn get(&self, at: u64, bytes: &mut [u8]) {
        if self.is_fresh(at) {
            let at = self.index(at);
            if let Some(there) = self.fresh.get(at..at + bytes.len()) {
                bytes.copy_from_slice(there);
            }
        } else {
            let done = self.map.get(at, bytes);
            debug_assert!(done, "offset {at} is outside the file");
        }
    }

    fn index(&self, offset: u64) -> usize {
        // What is gathered is in memory.
        (offset - self.base) as usize
    }

    /// Makes sure that the file has disk space up to `end`: a write into a map of a file without it
    /// would be this process's death.
    fn grow(&mut self, end: u64) -> Result<(), Error> {
        if end <= self.size {
            return Ok(());
        }
        if end > self.limit {
            return Err(Error::Full);
        }
        let step = (self.limit / STEPS).next_multiple_of(STEP);
        let size = end.next_multiple_of(step).min(self.limit);
        let more = size - self.size;
        fallocate(&self.file, FallocateFlags::empty(), self.size, more)
            .map_err(Error::io("extend", &self.path))?;
        self.size = size;
        self.map.set_valid(size);
        Ok(())
    }

    /// Lets go of memory.
    pub(super) fn rest(&mut self) {
        self.fresh.shrink_to(0);
        self.map.rest();
    }

    /// Gives back what the file has beyond its last object, and what was not written.
    pub(super) fn cut(&mut self) {
        self.fresh.clear();
        // What is too much of the file only takes room.
        if ftruncate(&self.file, self.base).is_ok() {
            self.size = self.base;
        }
        self.map.set_valid(self.size);
    }
}
