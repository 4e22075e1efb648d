//! The data objects of fields, their names and the tables that find them by hash.

use super::JournalFile;
use super::chain::item;
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
    /// It was made just now.
    pub(super) is_new: bool,
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
        if !item.is_new && name.len() + value.len() < SHORT {
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
        let (hash, jenkins) = hash::both(&self.ids.file, field);
        let bucket = self.data_table.bucket(hash);
        if self.seen.insert(hash)
            && let Some(found) = self.find(bucket, hash, field, object::DATA_PAYLOAD)
        {
            return Ok(Item {
                offset: found,
                jenkins,
                is_new: false,
            });
        }
        let number = self.name(field)?;
        let before = self.names[number].head;
        let start = object::DATA_PAYLOAD + name.len() as u64;
        let size = start + value.len() as u64;
        let (offset, bytes) = self.disk.object(kind::DATA, size)?;
        object::put(bytes, object::HASH, &hash.to_le_bytes());
        object::put(bytes, object::DATA_NEXT_FIELD, &before.to_le_bytes());
        object::put(bytes, object::DATA_PAYLOAD, name);
        object::put(bytes, start, value);
        self.added(number, bucket, offset);
        Ok(Item {
            offset,
            jenkins,
            is_new: true,
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
        object::put(bytes, object::HASH, &hash.to_le_bytes());
        object::put(bytes, object::FIELD_PAYLOAD, name);
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

    /// Lets names know what is there when the batch is published.
    pub(super) fn tell_names(&mut self) {
        for name in self.names.iter_mut().filter(|name| name.changed) {
            let at = name.offset + object::FIELD_HEAD_DATA;
            self.disk.put64(at, name.head);
            name.changed = false;
        }
    }
}

impl Table {
    pub(super) fn bucket(&self, hash: u64) -> u64 {
        self.offset + hash % self.buckets * 16
    }
}
