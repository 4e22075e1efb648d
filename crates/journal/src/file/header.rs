//! The head of a file: whose it is, its tables, and the numbers of what is in it.

use std::fs::File;
use std::path::PathBuf;

use rustix::fs::{ftruncate, rename};
use sandbox::filemap::FileMap;

use super::data::Table;
use super::disk::Disk;
use super::{Ids, Stamp, batch};
use crate::Error;
use crate::format::{self, header, kind, object};

const FIELD_BUCKETS: u64 = 333;

/// How many objects there are, and the last ones.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    objects: u64,
    last_object: u64,
    pub(super) data: u64,
    pub(super) fields: u64,
    pub(super) arrays: u64,
    entries: u64,
    head: Stamp,
    tail: Stamp,
}

impl Numbers {
    /// There is one more object.
    pub(super) fn object(&mut self, offset: u64) {
        self.objects += 1;
        self.last_object = self.last_object.max(offset);
    }

    /// There is one more entry, which is not laid out yet.
    pub(super) fn line(&mut self, stamp: Stamp) {
        self.objects += 1;
        self.entry(stamp);
    }

    /// There is one more entry.
    pub(super) fn entry(&mut self, stamp: Stamp) {
        if self.entries == 0 {
            self.head = stamp;
        }
        self.entries += 1;
        self.tail = stamp;
    }

    /// Publishes what was gathered, with these numbers in the header.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn publish(&mut self, disk: &mut Disk, first_array: u64) -> Result<(), Error> {
        self.last_object = self.last_object.max(disk.batch.last_line());
        let numbers = [
            (header::ARENA_SIZE, disk.size() - header::SIZE),
            (header::TAIL_OBJECT, self.last_object),
            (header::N_OBJECTS, self.objects),
            (header::N_DATA, self.data),
            (header::N_FIELDS, self.fields),
            (header::N_ENTRY_ARRAYS, self.arrays),
            (header::ENTRY_ARRAY, first_array),
            (header::HEAD_SEQNUM, self.head.seqnum),
            (header::HEAD_REALTIME, self.head.realtime),
            (header::TAIL_SEQNUM, self.tail.seqnum),
            (header::TAIL_REALTIME, self.tail.realtime),
            (header::TAIL_MONOTONIC, self.tail.monotonic),
        ];
        for (at, number) in numbers {
            disk.put64(at, number);
        }
        disk.publish(self.entries)
    }
}

/// Writes the head of a new file; returns the tables of field names and of data.
pub(super) fn format(
    disk: &mut Disk,
    numbers: &mut Numbers,
    limit: u64,
    ids: &Ids,
) -> Result<(Table, Table), Error> {
    disk.room_for_head()?;
    let mut table = |kind, buckets| {
        let object = disk.zeros(kind, object::HEADER + buckets * 16)?;
        numbers.object(object);
        Ok::<_, Error>(Table {
            offset: object + object::HEADER,
            buckets,
        })
    };
    let field_table = table(kind::FIELD_TABLE, FIELD_BUCKETS)?;
    let data_table = table(kind::DATA_TABLE, data_buckets(limit))?;
    let flags = format::KEYED_HASH | format::COMPACT;
    disk.put(0, &format::SIGNATURE);
    disk.put(header::INCOMPATIBLE, &flags.to_le_bytes());
    disk.put(header::STATE, &[format::ONLINE]);
    disk.put(header::FILE_ID, &ids.file);
    disk.put(header::MACHINE_ID, &ids.machine);
    disk.put(header::TAIL_BOOT_ID, &ids.boot);
    disk.put(header::SEQNUM_ID, &ids.seqnum);
    disk.put64(header::HEADER_SIZE, header::SIZE);
    disk.put64(header::FIELD_TABLE, field_table.offset);
    disk.put64(header::FIELD_TABLE_SIZE, field_table.buckets * 16);
    disk.put64(header::DATA_TABLE, data_table.offset);
    disk.put64(header::DATA_TABLE_SIZE, data_table.buckets * 16);
    numbers.publish(disk, 0)?;
    Ok((field_table, data_table))
}

fn data_buckets(limit: u64) -> u64 {
    // As journald sizes it, for entries of the usual length, three quarters full.
    (limit * 4 / 768 / 3).max(2047)
}

/// How a file ends: nothing will be written any more.
#[derive(Debug)]
pub(super) struct End {
    /// Behind the last object.
    pub(super) at: u64,
    /// Its name, and another one if it is put aside.
    pub(super) path: PathBuf,
    pub(super) aside: Option<PathBuf>,
}

impl End {
    /// Gives back what the file has beyond its last object, and says that it has ended.
    pub(super) fn write(self, file: &File, map: &mut FileMap) {
        // What is too much of the file only takes room.
        if ftruncate(file, self.at).is_ok() {
            map.set_valid(self.at);
        }
        let state = match self.aside {
            Some(_) => format::ARCHIVED,
            None => format::OFFLINE,
        };
        let arena = self.at - header::SIZE;
        batch::put(map, header::ARENA_SIZE, &arena.to_le_bytes());
        batch::put(map, header::STATE, &[state]);
        if let Some(aside) = self.aside {
            // If it cannot be put aside, the next file takes its name.
            let _ = rename(self.path, aside);
        }
    }
}
