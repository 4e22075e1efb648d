//! What is published together, and how: first the new objects, then whatever names them, and the
//! number of entries last.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;
use sandbox::filemap::FileMap;

use super::chain::Gathered;
use super::lines::Lines;
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
    /// Entries behind them that are not laid out yet.
    pub(super) lines: Lines,
    /// The last entry that was one of them.
    last_line: u64,
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
    /// Bytes that the file has, and those that it is going to need.
    pub(super) size: u64,
    pub(super) needed: u64,
}

impl Batch {
    /// Bytes of all new objects.
    pub(super) fn length(&self) -> usize {
        self.fresh.len() + self.lines.length()
    }

    /// Where they end.
    pub(super) fn end(&self) -> u64 {
        self.base + self.length() as u64
    }

    /// How many entries there are.
    pub(super) fn count(&self) -> usize {
        self.entries.len() + self.lines.len()
    }

    /// Where the next line's data object goes.
    pub(super) fn next_line(&self) -> u64 {
        self.base + (self.fresh.len() + self.lines.data_length()) as u64
    }

    /// Where the last line's entry is; 0 if there is none.
    pub(super) fn last_line(&self) -> u64 {
        match self.lines.len() {
            0 => self.last_line,
            _ => self.end() - self.lines.last_length() as u64,
        }
    }

    /// Lays out the lines: what comes next goes behind them.
    pub(super) fn lay_out(&mut self) {
        if self.lines.len() > 0 {
            self.last_line = self.last_line();
            let at = self.base + self.fresh.len() as u64;
            self.lines.put_data(at, &mut self.fresh);
            self.lines
                .put_entries(at, &mut self.fresh, &mut self.entries);
            self.lines.clear();
        }
    }

    /// An array that is in the file gets these entries.
    pub(super) fn run(&mut self, at: u64, entries: Range<usize>) {
        self.runs.push((at, entries));
    }

    /// Bytes that are in the file become these.
    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.puts.push((at, self.bytes.len()));
    }

    /// Writes the new objects, which are laid out.
    ///
    /// # Errors
    /// As pwrite(2).
    pub(super) fn write_fresh(&self, file: &File, map: &FileMap) -> Result<(), Errno> {
        write(file, self.base, &self.fresh)?;
        populate(map, self.base, self.fresh.len());
        Ok(())
    }

    /// Takes the memory that the writing thread needs for it.
    pub(super) fn prepare(&mut self) {
        self.entries.reserve(self.lines.len());
    }

    /// Writes the lines, by way of some memory: their data objects, and then their entries.
    fn write_lines(
        &mut self,
        file: &File,
        map: &FileMap,
        piece: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let at = self.base + self.fresh.len() as u64;
        let length = self.lines.data_length();
        piece.clear();
        self.lines.put_data(at, piece);
        write(file, at, piece)?;
        populate(map, at, length);
        piece.clear();
        self.lines.put_entries(at, piece, &mut self.entries);
        write(file, at + length as u64, piece)
    }

    /// Writes all of it. Allocates nothing if it was [prepared](Self::prepare).
    ///
    /// # Errors
    /// As pwrite(2); the entries are not there then.
    pub(super) fn write(
        &mut self,
        file: &File,
        map: &mut FileMap,
        piece: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        self.write_fresh(file, map)?;
        if self.lines.len() > 0 {
            self.write_lines(file, map, piece)?;
        }
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
        self.lines.clear();
        self.last_line = 0;
        self.entries.clear();
        self.runs.clear();
        self.links.clear();
        self.puts.clear();
        self.bytes.clear();
    }

    /// Lets go of memory.
    pub(super) fn rest(&mut self) {
        self.fresh.shrink_to(0);
        self.lines.rest();
        self.entries.rest();
        self.links.rest();
        self.runs.shrink_to(0);
        self.puts.shrink_to(0);
        self.bytes.shrink_to(0);
    }
}

fn populate(map: &FileMap, at: u64, length: usize) {
    if length >= POPULATED {
        map.populate(at, length);
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
    get(map, at, &mut bytes);
    u64::from_le_bytes(bytes)
}

/// Reads bytes.
pub(super) fn get(map: &FileMap, at: u64, bytes: &mut [u8]) {
    let done = map.get(at, bytes);
    debug_assert!(done, "offset {at} is outside the file");
}
