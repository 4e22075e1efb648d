//! The head of a file: whose it is, its tables, and the numbers of what is in it.

use super::data::Table;
use super::disk::Disk;
use super::{Ids, Stamp};
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
    pub(super) fn publish(&self, disk: &mut Disk, first_array: u64) -> Result<(), Error> {
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

/// Says that nothing will be written any more.
pub(super) fn end(disk: &mut Disk, archived: bool) {
    let state = match archived {
        true => format::ARCHIVED,
        false => format::OFFLINE,
    };
    disk.cut();
    let end = disk.end();
    disk.put_now(header::ARENA_SIZE, &(end - header::SIZE).to_le_bytes());
    disk.put_now(header::STATE, &[state]);
}
