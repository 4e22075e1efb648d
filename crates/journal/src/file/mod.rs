//! One journal file, being written.

mod arrays;
mod data;

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FallocateFlags, Mode, OFlags, fallocate, ftruncate, openat, rename};
use sandbox::filemap::FileMap;

use crate::Error;
use crate::format::{self, aligned, header, kind, object};
use arrays::ArrayTail;
use data::{Item, Known, Table};

/// Disk space is taken in steps of this many bytes.
const STEP: u64 = 256 * 1024;
const FIELD_BUCKETS: u64 = 333;

/// What an entry has beside its fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) seqnum: u64,
    /// Microseconds since 1970.
    pub(crate) realtime: u64,
    /// Microseconds since the boot.
    pub(crate) monotonic: u64,
}

/// Whose file it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids {
    pub(crate) file: [u8; 16],
    pub(crate) machine: [u8; 16],
    pub(crate) boot: [u8; 16],
    pub(crate) seqnum: [u8; 16],
}

/// A file that entries are appended to.
#[derive(Debug)]
pub(crate) struct JournalFile {
    file: File,
    path: PathBuf,
    map: FileMap,
    ids: Ids,
    /// Bytes it may have.
    limit: u64,
    /// Bytes it has.
    size: u64,
    /// Where the next object goes.
    end: u64,
    n_objects: u64,
    data_table: Table,
    field_table: Table,
    n_entries: u64,
    entries: ArrayTail,
    known: Vec<Known>,
    known_by_field: HashMap<Vec<u8>, usize>,
    /// By its place, the known field that the last entry had there: the next one mostly has the same.
    recent: Vec<usize>,
    /// The objects of field names.
    names: Vec<(Vec<u8>, u64)>,
    /// Memory for the items of one entry.
    items: Vec<Item>,
}

impl JournalFile {
    /// Makes a new file of at most `limit` bytes. Whoever reads meanwhile finds all of its head, or
    /// no file.
    pub(crate) fn create(path: &Path, limit: u64, ids: Ids) -> Result<Self, Error> {
        let unfinished = path.with_extension("new");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(CWD, &unfinished, flags, Mode::from_raw_mode(0o640))
            .map_err(Error::io("create", &unfinished))?;
        let created = Self::format_file(file, path, limit, ids).and_then(|this| {
            rename(&unfinished, path).map_err(Error::io("create", path))?;
            Ok(this)
        });
        if created.is_err() {
            // Half a file is none; the failure to remove it would change nothing.
            let _ = std::fs::remove_file(&unfinished);
        }
        created
    }

    fn format_file(file: OwnedFd, path: &Path, limit: u64, ids: Ids) -> Result<Self, Error> {
        let map = FileMap::new(&file, limit).map_err(Error::io("map", path))?;
        // As journald sizes it, for entries of the usual length, three quarters full.
        let buckets = (limit * 4 / 768 / 3).max(2047);
        let mut this = Self {
            file: file.into(),
            path: path.to_owned(),
            map,
            ids,
            limit,
            size: 0,
            end: header::SIZE,
            n_objects: 0,
            data_table: Table { offset: 0, buckets },
            field_table: Table {
                offset: 0,
                buckets: FIELD_BUCKETS,
            },
            n_entries: 0,
            entries: ArrayTail::default(),
            known: Vec::new(),
            known_by_field: HashMap::new(),
            recent: Vec::new(),
            names: Vec::new(),
            items: Vec::new(),
        };
        this.format()?;
        Ok(this)
    }

    fn format(&mut self) -> Result<(), Error> {
        self.grow(header::SIZE)?;
        self.put(0, &format::SIGNATURE);
        self.put(header::INCOMPATIBLE, &format::KEYED_HASH.to_le_bytes());
        let ids = self.ids;
        self.put(header::FILE_ID, &ids.file);
        self.put(header::MACHINE_ID, &ids.machine);
        self.put(header::TAIL_BOOT_ID, &ids.boot);
        self.put(header::SEQNUM_ID, &ids.seqnum);
        self.put64(header::HEADER_SIZE, header::SIZE);
        let (at, size_at) = (header::FIELD_TABLE, header::FIELD_TABLE_SIZE);
        let buckets = self.field_table.buckets;
        self.field_table.offset = self.table(kind::FIELD_TABLE, at, size_at, buckets)?;
        let (at, size_at) = (header::DATA_TABLE, header::DATA_TABLE_SIZE);
        let buckets = self.data_table.buckets;
        self.data_table.offset = self.table(kind::DATA_TABLE, at, size_at, buckets)?;
        self.put(header::STATE, &[format::ONLINE]);
        Ok(())
    }

    /// Makes a hash table that the header names at `at`, and its bytes at `size_at`: where its items
    /// are.
    fn table(&mut self, kind: u8, at: u64, size_at: u64, buckets: u64) -> Result<u64, Error> {
        let bytes = buckets * 16;
        let offset = self.allocate(kind, object::HEADER + bytes)? + object::HEADER;
        self.put64(at, offset);
        self.put64(size_at, bytes);
        Ok(offset)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Bytes that it takes on disk.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Lets go of memory.
    pub(crate) fn rest(&self) {
        self.map.rest();
    }

    /// Appends an entry of fields `NAME=value`.
    ///
    /// # Errors
    /// [`Error::Full`], after which no other entry is there or half there; the disk's.
    pub(crate) fn append(&mut self, stamp: Stamp, fields: &[&[u8]]) -> Result<(), Error> {
        let mut items = std::mem::take(&mut self.items);
        items.clear();
        let appended = self.append_items(stamp, fields, &mut items);
        self.items = items;
        appended
    }

    fn append_items(
        &mut self,
        stamp: Stamp,
        fields: &[&[u8]],
        items: &mut Vec<Item>,
    ) -> Result<(), Error> {
        for (place, field) in fields.iter().enumerate() {
            items.push(self.data(place, field)?);
        }
        let xor = items.iter().fold(0, |xor, item| xor ^ item.jenkins);
        items.sort_unstable_by_key(|item| item.offset);
        items.dedup_by_key(|item| item.offset);
        let entry = self.entry(stamp, xor, items)?;
        self.entries = self.link(header::ENTRY_ARRAY, self.entries, entry)?;
        for item in items {
            self.refer(item, entry, fields[item.place])?;
        }
        self.count(stamp);
        Ok(())
    }

    fn entry(&mut self, stamp: Stamp, xor: u64, items: &[Item]) -> Result<u64, Error> {
        let size = object::ENTRY_ITEMS + object::ENTRY_ITEM_SIZE * items.len() as u64;
        let entry = self.allocate(kind::ENTRY, size)?;
        let boot = self.ids.boot;
        self.put64(entry + object::ENTRY_SEQNUM, stamp.seqnum);
        self.put64(entry + object::ENTRY_REALTIME, stamp.realtime);
        self.put64(entry + object::ENTRY_MONOTONIC, stamp.monotonic);
        self.put(entry + object::ENTRY_BOOT_ID, &boot);
        self.put64(entry + object::ENTRY_XOR_HASH, xor);
        let mut at = entry + object::ENTRY_ITEMS;
        for item in items {
            self.put64(at, item.offset);
            self.put64(at + 8, item.hash);
            at += object::ENTRY_ITEM_SIZE;
        }
        Ok(entry)
    }

    /// The numbers of the header, last: a reader sees whole entries.
    fn count(&mut self, stamp: Stamp) {
        if self.n_entries == 0 {
            self.put64(header::HEAD_SEQNUM, stamp.seqnum);
            self.put64(header::HEAD_REALTIME, stamp.realtime);
        }
        self.put64(header::TAIL_SEQNUM, stamp.seqnum);
        self.put64(header::TAIL_REALTIME, stamp.realtime);
        self.put64(header::TAIL_MONOTONIC, stamp.monotonic);
        self.n_entries += 1;
        self.put64(header::N_ENTRIES, self.n_entries);
    }

    /// Room for an object; its header is written, the rest is zero.
    fn allocate(&mut self, kind: u8, size: u64) -> Result<u64, Error> {
        let offset = self.end;
        let end = offset + aligned(size);
        self.grow(end)?;
        self.put(offset, &[kind]);
        self.put64(offset + object::SIZE, size);
        self.end = end;
        self.n_objects += 1;
        self.put64(header::TAIL_OBJECT, offset);
        self.put64(header::N_OBJECTS, self.n_objects);
        Ok(offset)
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
        let size = end.next_multiple_of(STEP).min(self.limit);
        let more = size - self.size;
        fallocate(&self.file, FallocateFlags::empty(), self.size, more)
            .map_err(Error::io("extend", &self.path))?;
        self.size = size;
        self.map.set_valid(size);
        self.put64(header::ARENA_SIZE, size - header::SIZE);
        Ok(())
    }

    /// Ends the file: another one takes what comes next, or nothing comes any more.
    pub(crate) fn close(mut self, archived: bool) {
        let state = match archived {
            true => format::ARCHIVED,
            false => format::OFFLINE,
        };
        self.put64(header::ARENA_SIZE, self.end - header::SIZE);
        self.put(header::STATE, &[state]);
        // What is too much of the file only takes room.
        let _ = ftruncate(&self.file, self.end);
    }

    /// All offsets come from this file's own bookkeeping, so they are inside it.
    fn put(&mut self, at: u64, bytes: &[u8]) {
        let done = self.map.put(at, bytes);
        debug_assert!(done, "offset {at} is outside the file");
    }

    fn put64(&mut self, at: u64, number: u64) {
        self.put(at, &number.to_le_bytes());
    }

    fn get64(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        let done = self.map.get(at, &mut bytes);
        debug_assert!(done, "offset {at} is outside the file");
        u64::from_le_bytes(bytes)
    }

    fn increment(&mut self, at: u64) {
        let number = self.get64(at);
        self.put64(at, number + 1);
    }
}
