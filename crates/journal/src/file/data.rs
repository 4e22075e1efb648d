//! The data objects of fields, their names and the tables that find them by hash.

use super::JournalFile;
use super::arrays::ArrayTail;
use crate::Error;
use crate::format::{header, kind, object};
use crate::hash;

/// Fields whose objects are remembered: those that come with every entry.
const REMEMBERED: usize = 128;
/// The longest of them.
const SHORT: usize = 256;

#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// Of its items.
    pub(super) offset: u64,
    pub(super) buckets: u64,
}

/// A data object that comes with every entry.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) field: Vec<u8>,
    pub(super) offset: u64,
    pub(super) hash: u64,
    /// For the identity of entries.
    pub(super) jenkins: u64,
    pub(super) n_entries: u64,
    pub(super) tail: ArrayTail,
}

/// A field of an entry that is being made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// Of its data object.
    pub(super) offset: u64,
    pub(super) hash: u64,
    pub(super) jenkins: u64,
    /// Its place among the fields of the entry.
    pub(super) place: usize,
    /// Among those that are known.
    pub(super) known: Option<usize>,
}

impl JournalFile {
    /// The known field at a place of an entry.
    fn known(&mut self, place: usize, field: &[u8]) -> Option<usize> {
        let recent = self.recent.get(place).copied();
        let is_it = |&known: &usize| self.known.get(known).is_some_and(|k| k.field == field);
        if let Some(known) = recent.filter(is_it) {
            return Some(known);
        }
        let known = *self.known_by_field.get(field)?;
        if place >= self.recent.len() {
            self.recent.resize(place + 1, 0);
        }
        self.recent[place] = known;
        Some(known)
    }

    /// The data object of the field at a place of an entry, made if it is not there.
    pub(super) fn data(&mut self, place: usize, field: &[u8]) -> Result<Item, Error> {
        if let Some(known) = self.known(place, field) {
            let Known {
                offset,
                hash,
                jenkins,
                ..
            } = self.known[known];
            return Ok(Item {
                offset,
                hash,
                jenkins,
                place,
                known: Some(known),
            });
        }
        let hash = hash::keyed(&self.ids.file, field);
        let table = self.data_table;
        let offset = match self.find(table, hash, field, object::DATA_PAYLOAD) {
            Some(offset) => offset,
            None => self.new_data(hash, field)?,
        };
        Ok(Item {
            offset,
            hash,
            jenkins: hash::jenkins(field),
            place,
            known: None,
        })
    }

    fn new_data(&mut self, hash: u64, field: &[u8]) -> Result<u64, Error> {
        let name_end = field.iter().position(|&b| b == b'=').unwrap_or(field.len());
        let name = self.field(&field[..name_end])?;
        let offset = self.add(
            self.data_table,
            hash,
            kind::DATA,
            field,
            object::DATA_PAYLOAD,
        )?;
        self.increment(header::N_DATA);
        let first = self.get64(name + object::FIELD_HEAD_DATA);
        self.put64(offset + object::DATA_NEXT_FIELD, first);
        self.put64(name + object::FIELD_HEAD_DATA, offset);
        Ok(offset)
    }

    fn field(&mut self, name: &[u8]) -> Result<u64, Error> {
        if let Some((_, offset)) = self.names.iter().find(|(known, _)| known == name) {
            return Ok(*offset);
        }
        let hash = hash::keyed(&self.ids.file, name);
        let table = self.field_table;
        let found = self.find(table, hash, name, object::FIELD_PAYLOAD);
        let offset = match found {
            Some(offset) => offset,
            None => {
                let offset = self.add(table, hash, kind::FIELD, name, object::FIELD_PAYLOAD)?;
                self.increment(header::N_FIELDS);
                offset
            }
        };
        if self.names.len() < REMEMBERED && name.len() < SHORT {
            self.names.push((name.to_vec(), offset));
        }
        Ok(offset)
    }

    fn find(&self, table: Table, hash: u64, payload: &[u8], at: u64) -> Option<u64> {
        let mut next = self.get64(table.offset + hash % table.buckets * 16);
        let mut there = Vec::new();
        while next != 0 {
            let alike = self.get64(next + object::HASH) == hash
                && self.get64(next + object::SIZE) == at + payload.len() as u64;
            if alike {
                there.resize(payload.len(), 0);
            }
            if alike && self.map.get(next + at, &mut there) && there == payload {
                return Some(next);
            }
            next = self.get64(next + object::NEXT_HASH);
        }
        None
    }

    /// A new object at the end of its bucket.
    fn add(
        &mut self,
        table: Table,
        hash: u64,
        kind: u8,
        payload: &[u8],
        at: u64,
    ) -> Result<u64, Error> {
        let offset = self.allocate(kind, at + payload.len() as u64)?;
        self.put64(offset + object::HASH, hash);
        self.put(offset + at, payload);
        let bucket = table.offset + hash % table.buckets * 16;
        match self.get64(bucket + 8) {
            0 => self.put64(bucket, offset),
            tail => self.put64(tail + object::NEXT_HASH, offset),
        }
        self.put64(bucket + 8, offset);
        Ok(offset)
    }

    /// Notes at a data object that an entry has it.
    pub(super) fn refer(&mut self, item: &Item, entry: u64, field: &[u8]) -> Result<(), Error> {
        let data = item.offset;
        let first = data + object::DATA_ENTRY_ARRAY;
        let (n_entries, tail) = match item.known {
            Some(known) => (self.known[known].n_entries, self.known[known].tail),
            None => match self.get64(data + object::DATA_N_ENTRIES) {
                0 => (0, ArrayTail::default()),
                some => (some, self.tail(first, some - 1)),
            },
        };
        let tail = match n_entries {
            0 => {
                self.put64(data + object::DATA_ENTRY, entry);
                tail
            }
            _ => self.link(first, tail, entry)?,
        };
        self.put64(data + object::DATA_N_ENTRIES, n_entries + 1);
        if let Some(known) = item.known {
            self.known[known].n_entries += 1;
            self.known[known].tail = tail;
        } else if n_entries == 1 && self.known.len() < REMEMBERED && field.len() < SHORT {
            // What comes twice comes with every entry.
            self.known_by_field.insert(field.to_vec(), self.known.len());
            self.known.push(Known {
                field: field.to_vec(),
                offset: data,
                hash: item.hash,
                jenkins: item.jenkins,
                n_entries: n_entries + 1,
                tail,
            });
        }
        Ok(())
    }
}
