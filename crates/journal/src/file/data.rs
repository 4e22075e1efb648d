//! The data objects of fields, their names and the tables that find them by hash.

use std::ops::Range;

use super::JournalFile;
use super::chain::{Chain, item};
use crate::Error;
use crate::format::{kind, object};
use crate::hash;

/// A field in two pieces, `NAME=` and its value mostly, which belong together.
pub type Field<'a> = [&'a [u8]; 2];

/// Longer fields are looked for by their hash each time.
const SHORT: usize = 256;

#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// Of its items.
    pub(super) offset: u64,
    pub(super) buckets: u64,
}

/// A data object that more than one entry has.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) offset: u64,
    /// The first entry; 0 if there is none.
    first: u64,
    n_entries: u64,
    /// The other entries.
    pub(super) chain: Chain,
    changed: bool,
}

/// The object of a field's name.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) name: Vec<u8>,
    offset: u64,
    /// The last data object that has it.
    pub(super) head: u64,
    changed: bool,
}

/// A field of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// Of its data object.
    pub(super) offset: u64,
    /// For the identity of entries.
    pub(super) jenkins: u64,
    /// Its number among those that are known; none if it was made just now.
    pub(super) known: Option<usize>,
}

/// The field that an entry had at a place of its own: the next one mostly has the same.
#[derive(Debug)]
pub(super) struct Recent {
    field: Vec<u8>,
    item: Item,
}

impl Item {
    /// As an entry names it.
    pub(super) fn bytes(&self) -> [u8; object::ITEM as usize] {
        item(self.offset)
    }
}

impl Recent {
    fn is(&self, [name, value]: Field<'_>) -> bool {
        self.field
            .strip_prefix(name)
            .is_some_and(|rest| rest == value)
    }
}

impl JournalFile {
    /// The data object of the field at a place of an entry, made if it is not there.
    pub(super) fn recent_data(&mut self, place: usize, field: Field<'_>) -> Result<Item, Error> {
        if let Some(Some(recent)) = self.recent.get(place)
            && recent.is(field)
        {
            return Ok(recent.item);
        }
        let item = self.data(field)?;
        let [name, value] = field;
        // What was there already may come again.
        if item.known.is_some() && name.len() + value.len() < SHORT {
            let recent = Recent {
                field: field.concat(),
                item,
            };
            if let Some(there) = self.recent.get_mut(place) {
                *there = Some(recent);
            }
        }
        Ok(item)
    }

    /// The data object of a field, made if it is not there.
    pub(super) fn data(&mut self, field: Field<'_>) -> Result<Item, Error> {
        let [name, value] = field;
        let size = object::DATA_PAYLOAD + (name.len() + value.len()) as u64;
        let (offset, bytes) = self.disk.object(kind::DATA, size)?;
        let payload = &mut bytes[object::DATA_PAYLOAD as usize..size as usize];
        let (start, end) = payload.split_at_mut(name.len());
        start.copy_from_slice(name);
        end.copy_from_slice(value);
        let hash = hash::keyed(&self.ids.file, payload);
        let jenkins = hash::jenkins(payload);
        bytes[object::HASH as usize..object::NEXT_HASH as usize]
            .copy_from_slice(&hash.to_le_bytes());
        let bucket = self.data_table.bucket(hash);
        if self.seen.insert(hash)
            && let Some(found) = self.find(bucket, hash, field, object::DATA_PAYLOAD)
        {
            self.disk.take_back(offset);
            return Ok(Item {
                offset: found,
                jenkins,
                known: Some(self.known(found)),
            });
        }
        let name = match self.name(field) {
            Ok(name) => name,
            Err(error) => {
                self.disk.take_back(offset);
                return Err(error);
            }
        };
        let before = self.names[name].head;
        self.disk.put64(offset + object::DATA_NEXT_FIELD, before);
        self.added(name, bucket, offset);
        Ok(Item {
            offset,
            jenkins,
            known: None,
        })
    }

    /// Notes that there is one more data object, of a field of this name.
    pub(super) fn added(&mut self, name: usize, bucket: u64, offset: u64) {
        let name = &mut self.names[name];
        name.head = offset;
        name.changed = true;
        self.numbers.object(offset);
        self.numbers.data += 1;
        self.disk.batch.links.push(bucket, offset);
    }

    /// The number of a field's name, whose object is made if it is not there.
    fn name(&mut self, [name, _]: Field<'_>) -> Result<usize, Error> {
        let name = name.split(|b| *b == b'=').next().unwrap_or_default();
        let last = self.names.get(self.last_name);
        if last.is_some_and(|last| last.name == name) {
            return Ok(self.last_name);
        }
        self.last_name = match self.names_by_name.get(name) {
            Some(known) => *known,
            None => {
                let (offset, head) = self.name_object(name)?;
                self.names_by_name.insert(name.to_vec(), self.names.len());
                self.names.push(Name {
                    name: name.to_vec(),
                    offset,
                    head,
                    changed: false,
                });
                self.names.len() - 1
            }
        };
        Ok(self.last_name)
    }

    /// Where the object of a name is, and the data object that it names.
    fn name_object(&mut self, name: &[u8]) -> Result<(u64, u64), Error> {
        let hash = hash::keyed(&self.ids.file, name);
        let bucket = self.field_table.bucket(hash);
        if let Some(found) = self.find(bucket, hash, [name, b""], object::FIELD_PAYLOAD) {
            return Ok((found, self.disk.get64(found + object::FIELD_HEAD_DATA)));
        }
        let size = object::FIELD_PAYLOAD + name.len() as u64;
        let (offset, bytes) = self.disk.object(kind::FIELD, size)?;
        bytes[object::HASH as usize..object::NEXT_HASH as usize]
            .copy_from_slice(&hash.to_le_bytes());
        bytes[object::FIELD_PAYLOAD as usize..size as usize].copy_from_slice(name);
        self.numbers.object(offset);
        self.numbers.fields += 1;
        self.disk.batch.links.push(bucket, offset);
        Ok((offset, 0))
    }

    fn find(&mut self, bucket: u64, hash: u64, field: Field<'_>, at: u64) -> Option<u64> {
        let mut next = self.disk.get64(bucket);
        while next != 0 {
            if self.is_it(next, hash, field, at) {
                return Some(next);
            }
            next = self.disk.get64(next + object::NEXT_HASH);
        }
        let gathered: Vec<u64> = self.disk.batch.links.of(bucket).collect();
        gathered
            .into_iter()
            .find(|object| self.is_it(*object, hash, field, at))
    }

    /// Whether the object has that field, behind `at` bytes.
    fn is_it(&mut self, object: u64, hash: u64, [name, value]: Field<'_>, at: u64) -> bool {
        let length = (name.len() + value.len()) as u64;
        let payload = object + at;
        self.disk.get64(object + object::HASH) == hash
            && self.disk.get64(object + object::SIZE) == at + length
            && self.disk.equals(payload, name)
            && self.disk.equals(payload + name.len() as u64, value)
    }

    /// The number of a data object among those that are known.
    pub(super) fn known(&mut self, offset: u64) -> usize {
        if let Some(known) = self.known_by_offset.get(&offset) {
            return *known;
        }
        let n_entries = self.disk.get64(offset + object::DATA_N_ENTRIES);
        let array = self.disk.get64(offset + object::DATA_ENTRY_ARRAY);
        let first = self.disk.get64(offset + object::DATA_ENTRY);
        let known = self.known.len();
        self.known.push(Known {
            offset,
            first,
            n_entries,
            chain: Chain::find(&mut self.disk, array, n_entries.saturating_sub(1)),
            changed: false,
        });
        self.known_by_offset.insert(offset, known);
        known
    }

    /// Notes which gathered entries have a known data object. There is room for them.
    pub(super) fn refer(&mut self, known: usize, mut entries: Range<usize>) {
        let known = &mut self.known[known];
        if entries.is_empty() {
            return;
        }
        known.changed = true;
        known.n_entries += entries.len() as u64;
        if known.first == 0 {
            known.first = self.disk.batch.entries.get(entries.start);
            entries.start += 1;
        }
        if !entries.is_empty() {
            known.chain.extend(entries, &mut self.disk);
        }
    }

    /// Lets data objects and names know what is there when the batch is published.
    pub(super) fn tell_known(&mut self) {
        for name in self.names.iter_mut().filter(|name| name.changed) {
            let at = name.offset + object::FIELD_HEAD_DATA;
            self.disk.put64(at, name.head);
            name.changed = false;
        }
        for known in self.known.iter_mut().filter(|known| known.changed) {
            let numbers = [known.first, known.chain.first, known.n_entries];
            let mut bytes = [0; (object::DATA_PAYLOAD - object::DATA_ENTRY) as usize];
            bytes[..24].copy_from_slice(numbers.map(u64::to_le_bytes).as_flattened());
            bytes[24..28].copy_from_slice(&item(known.chain.last));
            bytes[28..].copy_from_slice(&item(known.chain.used));
            self.disk.put(known.offset + object::DATA_ENTRY, &bytes);
            known.changed = false;
        }
    }
}

impl Known {
    /// How many more entries find room.
    pub(super) fn room(&self) -> u64 {
        self.chain.room() + u64::from(self.first == 0)
    }
}

impl Table {
    pub(super) fn bucket(&self, hash: u64) -> u64 {
        self.offset + hash % self.buckets * 16
    }
}
