//! Where the bytes of a journal file go. New objects are gathered and written with one call; what is
//! in the file already is changed through a memory map or, where it is much, with a call.
//!
//! A page that is first touched through a map costs as much as writing twenty with a call: the
//! kernel clears it, reserves its block and maps it, one at a time.

mod publish;

use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate};
use sandbox::filemap::FileMap;

use super::Spare;
use super::batch::{self, Batch};
use super::seen::Seen;
use super::writer::{Outcome, Writer};
use crate::Error;
use crate::format::{aligned, header, object};

/// Disk space is taken in steps of this many bytes, or of this part of what the file may have.
const STEP: u64 = 256 * 1024;
const STEPS: u64 = 64;
/// Or of this one, if much is written, when there is no more left than for so many batches.
const PARTS: u64 = 4;
const AHEAD: u64 = 6;
/// A batch of more bytes is published by a thread, while the next one is gathered.
const LARGE: usize = 128 * 1024;

#[derive(Debug)]
pub(super) struct Disk {
    file: Arc<File>,
    path: PathBuf,
    /// The name it is going to have.
    name: Option<PathBuf>,
    /// Bytes the file may have.
    limit: u64,
    /// Bytes it has, all with disk space.
    size: u64,
    /// What is gathered.
    pub(super) batch: Batch,
    /// Of the file that had its name before.
    spare: Spare,
    /// The map of the file; it is away while the thread publishes.
    map: Option<FileMap>,
    writer: Option<Writer>,
    outcome: Outcome,
}

impl Disk {
    pub(super) fn new(
        file: OwnedFd,
        path: PathBuf,
        name: &Path,
        limit: u64,
        spare: &mut Spare,
    ) -> Result<(Self, Seen), Error> {
        let limit = limit.min(u64::from(u32::MAX));
        let map = FileMap::new(&file, limit).map_err(Error::io("map", &path))?;
        let mut spare = std::mem::take(spare);
        let mut seen = std::mem::take(&mut spare.seen);
        seen.begin(limit);
        let disk = Self {
            file: Arc::new(file.into()),
            path,
            name: Some(name.to_owned()),
            limit,
            size: 0,
            batch: spare.batches.pop().unwrap_or_default(),
            spare,
            map: Some(map),
            writer: None,
            outcome: Outcome::default(),
        };
        Ok((disk, seen))
    }

    /// Makes room for the header; objects come after it.
    pub(super) fn room_for_head(&mut self) -> Result<(), Error> {
        self.grow(header::SIZE)?;
        self.batch.base = header::SIZE;
        Ok(())
    }

    /// Bytes on disk.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// How many entries could not be published, as far as it is known, since it was asked last.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.outcome.lost) + self.spare.take_lost()
    }

    /// A new object, all zero but for its header, and its bytes.
    pub(super) fn object(&mut self, kind: u8, size: u64) -> Result<(u64, &mut [u8]), Error> {
        let offset = self.batch.end();
        let length = aligned(size);
        self.grow(offset + length)?;
        self.batch.lay_out();
        let fresh = &mut self.batch.fresh;
        let start = fresh.len();
        fresh.resize(start + length as usize, 0);
        let bytes = &mut fresh[start..];
        object::put(bytes, 0, &object::head(kind, size));
        Ok((offset, bytes))
    }

    /// Whether new objects of so many bytes need no more disk space.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.batch.end() + bytes as u64 <= self.size
    }

    /// An object that is all zero but for its header, and too large to gather.
    pub(super) fn zeros(&mut self, kind: u8, size: u64) -> Result<u64, Error> {
        if self.batch.length() > 0 {
            self.write_fresh()?;
        }
        let offset = self.batch.end();
        let end = offset + aligned(size);
        self.grow(end)?;
        self.batch.put(offset, &object::head(kind, size));
        // Nothing was ever written there, so zeros is what is there.
        self.batch.base = end;
        Ok(offset)
    }

    /// Writes new objects that nothing names yet.
    fn write_fresh(&mut self) -> Result<(), Error> {
        self.batch.lay_out();
        self.here();
        if let Some(map) = &self.map
            && let Err(errno) = self.batch.write_fresh(&self.file, map)
        {
            self.outcome.fault = Some(errno);
        }
        self.batch.base = self.batch.end();
        self.batch.fresh.clear();
        self.check()
    }

    /// Whether what is there is not in the file yet, so that nobody sees it change.
    pub(super) fn is_fresh(&self, offset: u64) -> bool {
        offset >= self.batch.base
    }

    /// Changes bytes: new ones at once, those in the file when the batch is published.
    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) {
        if self.is_fresh(at) {
            let at = self.index(at);
            if let Some(there) = self.batch.fresh.get_mut(at..at + bytes.len()) {
                there.copy_from_slice(bytes);
            }
        } else {
            self.batch.put(at, bytes);
        }
    }

    pub(super) fn put64(&mut self, at: u64, number: u64) {
        self.put(at, &number.to_le_bytes());
    }

    /// Writes some of the gathered entries into an array.
    pub(super) fn put_entries(&mut self, at: u64, entries: Range<usize>) {
        if self.is_fresh(at) {
            self.batch.lay_out();
            let at = self.index(at);
            let items = self.batch.entries.items(entries);
            if let Some(there) = self.batch.fresh.get_mut(at..at + items.len()) {
                there.copy_from_slice(items);
            }
        } else {
            self.batch.run(at, entries);
        }
    }

    /// A number, of a new object or of what is in the file. It does not see what was
    /// [put](Self::put) into the file and is not published.
    pub(super) fn get64(&mut self, at: u64) -> u64 {
        if self.is_fresh(at) {
            let at = self.index(at);
            let bytes = self
                .batch
                .fresh
                .get(at..)
                .and_then(|rest| rest.first_chunk());
            return bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
        }
        self.here().map_or(0, |map| batch::get64(map, at))
    }

    /// Adds bytes that are in the file to others.
    pub(super) fn read(&mut self, at: u64, length: u64, into: &mut Vec<u8>) {
        let start = into.len();
        into.resize(start + length as usize, 0);
        if let Some(map) = self.here() {
            batch::get(map, at, &mut into[start..]);
        }
    }

    pub(super) fn equals(&mut self, at: u64, bytes: &[u8]) -> bool {
        if self.is_fresh(at) {
            let at = self.index(at);
            return self.batch.fresh.get(at..at + bytes.len()) == Some(bytes);
        }
        let Some(map) = self.here() else {
            return false;
        };
        let mut there = [0; 64];
        let mut at = at;
        bytes.chunks(there.len()).all(|chunk| {
            let there = &mut there[..chunk.len()];
            let got = map.get(at, there);
            at += chunk.len() as u64;
            got && there == chunk
        })
    }

    /// Where a new object is in memory.
    fn index(&mut self, offset: u64) -> usize {
        let index = (offset - self.batch.base) as usize;
        if index >= self.batch.fresh.len() {
            self.batch.lay_out();
        }
        index
    }

    /// Disk space that more of such batches need: who writes this one takes it, since two are in each
    /// other's way.
    fn need(&self) -> u64 {
        let length = self.batch.length();
        if length >= LARGE && self.batch.end() + AHEAD * length as u64 > self.size {
            return (self.size + self.limit / PARTS).min(self.limit);
        }
        self.size
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
        fallocate(&*self.file, FallocateFlags::empty(), self.size, more)
            .map_err(Error::io("extend", &self.path))?;
        self.size = size;
        self.set_valid();
        Ok(())
    }

    fn set_valid(&mut self) {
        if let Some(map) = &mut self.map {
            map.set_valid(self.size);
        }
    }
}
