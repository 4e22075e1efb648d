//! What is published together, and how: first the new objects, then whatever names them, and the
//! number of entries last.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;
use sandbox::filemap::FileMap;

use super::chain::Gathered;
use super::links::Links;
use crate::format::{header, object};

/// More than this is written with a call.
const MUCH: usize = 512;
/// When this much was written, its pages are mapped: the tables' chains are going to pass there.
const POPULATED: usize = 16 * 1024;

/// A batch of entries.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// New objects, and where they begin in the file.
    pub(super) fresh: Vec<u8>,
    pub(super) base: u64,
    pub(super) entries: Gathered,
    /// Which entries belong into arrays that are in the file, and where.
    runs: Vec<(u64, Range<usize>)>,
    /// Objects that the tables do not find yet.
    pub(super) links: Links,
    /// Changes of what is in the file: where, and up to which of the bytes.
    puts: Vec<(u64, usize)>,
    bytes: Vec<u8>,
    /// Of all entries then.
    pub(super) n_entries: u64,
}

impl Batch {
    /// An array that is in the file gets these entries.
    pub(super) fn run(&mut self, at: u64, entries: Range<usize>) {
        self.runs.push((at, entries));
    }

    /// Bytes that are in the file become these.
    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.puts.push((at, self.bytes.len()));
    }

    /// Writes the new objects.
    ///
    /// # Errors
    /// As pwrite(2).
    pub(super) fn write_fresh(&self, file: &File, map: &FileMap) -> Result<(), Errno> {
        write(file, self.base, &self.fresh)?;
        if self.fresh.len() >= POPULATED {
            map.populate(self.base, self.fresh.len());
        }
        Ok(())
    }

    /// Writes all of it. Allocates nothing.
    ///
    /// # Errors
    /// As pwrite(2); the entries are not there then.
    pub(super) fn write(&self, file: &File, map: &mut FileMap) -> Result<(), Errno> {
        self.write_fresh(file, map)?;
        for (at, entries) in &self.runs {
            let items = self.entries.items(entries.clone());
            match items.len() > MUCH {
                true => write(file, *at, items)?,
                false => put(map, *at, items),
            }
        }
        self.link(map);
        let mut start = 0;
        for (at, end) in &self.puts {
            put(map, *at, &self.bytes[start..*end]);
            start = *end;
        }
        // With a call: whoever waits for the file to change (inotify) is told of no other write.
        write(file, header::N_ENTRIES, &self.n_entries.to_le_bytes())
    }

    /// Lets the tables find what is in the file now: each object behind the others of its bucket.
    fn link(&self, map: &mut FileMap) {
        for (bucket, object) in self.links.iter() {
            match get64(map, bucket + 8) {
                0 => put(map, bucket, &object.to_le_bytes()),
                tail => put(map, tail + object::NEXT_HASH, &object.to_le_bytes()),
            }
            put(map, bucket + 8, &object.to_le_bytes());
        }
    }

    pub(super) fn clear(&mut self) {
        self.fresh.clear();
        self.entries.clear();
        self.runs.clear();
        self.links.clear();
        self.puts.clear();
        self.bytes.clear();
    }

    /// Lets go of memory.
    pub(super) fn rest(&mut self) {
        self.fresh.shrink_to(0);
        self.entries.rest();
        self.links.rest();
        self.runs.shrink_to(0);
        self.puts.shrink_to(0);
        self.bytes.shrink_to(0);
    }
}

fn write(file: &File, at: u64, bytes: &[u8]) -> Result<(), Errno> {
    let outcome = file.write_all_at(bytes, at);
    outcome.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Changes bytes. All offsets come from the file's own bookkeeping, so they are inside it.
pub(super) fn put(map: &mut FileMap, at: u64, bytes: &[u8]) {
    let done = map.put(at, bytes);
    debug_assert!(done, "offset {at} is outside the file");
}

pub(super) fn get64(map: &FileMap, at: u64) -> u64 {
    let mut bytes = [0; 8];
    let done = map.get(at, &mut bytes);
    debug_assert!(done, "offset {at} is outside the file");
    u64::from_le_bytes(bytes)
}
