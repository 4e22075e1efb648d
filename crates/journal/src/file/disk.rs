//! Where the bytes of a journal file go. New objects are gathered and written with one call; what is
//! in the file already is changed through a memory map or, where it is much, with a call.
//!
//! A page that is first touched through a map costs as much as writing twenty with a call: the
//! kernel clears it, reserves its block and maps it, one at a time.

use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, ftruncate};
use rustix::io::Errno;
use sandbox::filemap::FileMap;

use super::batch::{self, Batch};
use super::writer::{Job, Writer};
use crate::Error;
use crate::format::{aligned, header, object};

/// Disk space is taken in steps of this many bytes, or of this part of what the file may have.
const STEP: u64 = 256 * 1024;
const STEPS: u64 = 64;
/// A batch of more bytes is published by a thread, while the next one is gathered.
const LARGE: usize = 128 * 1024;

#[derive(Debug)]
pub(super) struct Disk {
    file: Arc<File>,
    path: PathBuf,
    /// Bytes the file may have.
    limit: u64,
    /// Bytes it has, all with disk space.
    size: u64,
    /// What is gathered.
    pub(super) batch: Batch,
    /// The map of the file, and the batch before, which is empty; they are away while that one is
    /// being published.
    job: Option<Box<Job>>,
    writer: Option<Writer>,
    /// Entries that could not be published, and why the file takes no more.
    lost: u64,
    fault: Option<Errno>,
}

impl Disk {
    pub(super) fn new(
        file: OwnedFd,
        path: &Path,
        limit: u64,
        [batch, other]: [Batch; 2],
    ) -> Result<Self, Error> {
        let limit = limit.min(u64::from(u32::MAX));
        let map = FileMap::new(&file, limit).map_err(Error::io("map", path))?;
        let job = Job {
            batch: other,
            map,
            outcome: Ok(()),
        };
        Ok(Self {
            file: Arc::new(file.into()),
            path: path.to_owned(),
            limit,
            size: 0,
            batch,
            job: Some(Box::new(job)),
            writer: None,
            lost: 0,
            fault: None,
        })
    }

    /// Makes room for the header; objects come after it.
    pub(super) fn room_for_head(&mut self) -> Result<(), Error> {
        self.grow(header::SIZE)?;
        self.batch.base = header::SIZE;
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
        self.batch.base + self.batch.fresh.len() as u64
    }

    /// Bytes of new objects that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.batch.fresh.len()
    }

    /// Entries that could not be published.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// A new object, all zero but for its header, and its bytes.
    pub(super) fn object(&mut self, kind: u8, size: u64) -> Result<(u64, &mut [u8]), Error> {
        let offset = self.end();
        let length = aligned(size);
        self.grow(offset + length)?;
        let fresh = &mut self.batch.fresh;
        let start = fresh.len();
        fresh.resize(start + length as usize, 0);
        let bytes = &mut fresh[start..];
        bytes[..object::HEADER as usize].copy_from_slice(&object::head(kind, size));
        Ok((offset, bytes))
    }

    /// Room for new objects of so many bytes, if they need no more disk space.
    pub(super) fn objects(&mut self, bytes: usize) -> Option<(u64, &mut Vec<u8>)> {
        let offset = self.end();
        let fits = offset + bytes as u64 <= self.size;
        fits.then_some((offset, &mut self.batch.fresh))
    }

    /// An object that is all zero but for its header, and too large to gather.
    pub(super) fn zeros(&mut self, kind: u8, size: u64) -> Result<u64, Error> {
        if !self.batch.fresh.is_empty() {
            self.write_fresh()?;
        }
        let offset = self.end();
        let end = offset + aligned(size);
        self.grow(end)?;
        self.batch.put(offset, &object::head(kind, size));
        // Nothing was ever written there, so zeros is what is there.
        self.batch.base = end;
        Ok(offset)
    }

    /// Writes new objects that nothing names yet.
    fn write_fresh(&mut self) -> Result<(), Error> {
        self.here();
        let Some(job) = &self.job else {
            return Ok(());
        };
        if let Err(errno) = self.batch.write_fresh(&self.file, &job.map) {
            self.fault = Some(errno);
        }
        self.batch.base = self.end();
        self.batch.fresh.clear();
        self.check()
    }

    /// Takes back the objects from an offset on.
    pub(super) fn take_back(&mut self, offset: u64) {
        self.batch.fresh.truncate(self.index(offset));
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
            let at = self.index(at);
            let items = self.batch.entries.items(entries);
            if let Some(there) = self.batch.fresh.get_mut(at..at + items.len()) {
                there.copy_from_slice(items);
            }
        } else {
            self.batch.run(at, entries);
        }
    }

    /// Changes bytes that are in the file, now.
    pub(super) fn put_now(&mut self, at: u64, bytes: &[u8]) {
        if let Some(map) = self.here() {
            batch::put(map, at, bytes);
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

    fn index(&self, offset: u64) -> usize {
        // What is gathered is in memory.
        (offset - self.batch.base) as usize
    }

    /// Publishes the batch, with which the file has so many entries. One that is large goes to the
    /// thread; how that ends is told by a later call.
    ///
    /// # Errors
    /// The disk's, of this batch or the one before. Nothing more can be written then.
    pub(super) fn publish(&mut self, n_entries: u64) -> Result<(), Error> {
        self.batch.n_entries = n_entries;
        self.here();
        self.check()?;
        self.grow_ahead();
        let Some(mut job) = self.job.take() else {
            return Ok(());
        };
        std::mem::swap(&mut self.batch, &mut job.batch);
        self.batch.base = job.batch.base + job.batch.fresh.len() as u64;
        if job.batch.fresh.len() >= LARGE {
            if self.writer.is_none() {
                self.writer = Writer::start(&self.file);
            }
            if let Some(writer) = &self.writer {
                writer.hand_over(job);
                return Ok(());
            }
        }
        job.work(&self.file);
        self.done(job);
        self.check()
    }

    /// Waits until all that was handed over is published.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        self.here();
        self.check()
    }

    /// The map of the file, with all in it that was published.
    fn here(&mut self) -> Option<&mut FileMap> {
        if self.job.is_none()
            && let Some(writer) = &self.writer
            && let Some(job) = writer.take_back()
        {
            self.done(job);
        }
        self.job.as_mut().map(|job| &mut job.map)
    }

    fn done(&mut self, mut job: Box<Job>) {
        if let Err(errno) = job.outcome {
            self.fault = Some(errno);
            self.lost += job.batch.entries.len() as u64;
        }
        job.batch.clear();
        job.map.set_valid(self.size);
        self.job = Some(job);
    }

    /// # Errors
    /// The disk's, as far as it is known.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.fault {
            Some(errno) => Err(Error::io("write", &self.path)(errno)),
            None => Ok(()),
        }
    }

    /// Takes the disk space that another such batch needs, since the thread's writing would be in the
    /// way later.
    fn grow_ahead(&mut self) {
        let length = self.batch.fresh.len();
        if length >= LARGE {
            let end = self.end() + 2 * length as u64;
            // If there is none, whoever needs it finds out.
            let _ = self.grow(end.min(self.limit));
        }
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
        if let Some(job) = &mut self.job {
            job.map.set_valid(size);
        }
        Ok(())
    }

    /// Ends the thread, once what it has is published.
    pub(super) fn end_thread(&mut self) {
        self.here();
        self.writer = None;
    }

    /// Lets go of memory, and of the thread.
    pub(super) fn rest(&mut self) {
        self.end_thread();
        self.batch.rest();
        if let Some(job) = &mut self.job {
            job.batch.rest();
            job.map.rest();
        }
    }

    /// Its memory.
    pub(super) fn into_batches(mut self) -> [Batch; 2] {
        self.here();
        let other = self.job.map(|job| job.batch).unwrap_or_default();
        let mut batches = [self.batch, other];
        batches.iter_mut().for_each(Batch::clear);
        batches
    }

    /// Gives back what the file has beyond its last object, and what was not written.
    pub(super) fn cut(&mut self) {
        self.here();
        self.batch.fresh.clear();
        // What is too much of the file only takes room.
        if ftruncate(&*self.file, self.batch.base).is_ok() {
            self.size = self.batch.base;
        }
        if let Some(job) = &mut self.job {
            job.map.set_valid(self.size);
        }
    }
}
