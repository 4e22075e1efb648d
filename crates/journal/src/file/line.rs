//! The entries that there are most of: one new field, behind those that it has in common with others.

use super::chain::item;
use super::data::Field;
use super::{JournalFile, Stamp};
use crate::format::{aligned, kind, object};
use crate::hash;

/// A data object up to its payload.
const HEAD: usize = object::DATA_PAYLOAD as usize;
/// Longer fields take the long way, on which this one's work is little.
const SHORT: usize = 1024;

impl JournalFile {
    /// Gathers an entry that has one field of its own, which no other has. `false`, and nothing done,
    /// if that is not so for sure, or if there is no room.
    pub(super) fn append_line(&mut self, stamp: Stamp, field: Field<'_>) -> bool {
        let [name, value] = field;
        let payload = name.len() + value.len();
        let last = self.names.get(self.last_name);
        let is_last = last.is_some_and(|last| name.strip_suffix(b"=") == Some(&last.name));
        if payload > SHORT || !is_last {
            return false;
        }
        let size = HEAD + payload;
        let length = aligned(size as u64) as usize;
        let template = &self.common.entry;
        let Some((offset, fresh)) = self.disk.objects(length + template.len()) else {
            return false;
        };
        let start = fresh.len();
        let entry = offset + length as u64;
        let mut head = [0; HEAD];
        let mut put =
            |at: u64, bytes: &[u8]| head[at as usize..][..bytes.len()].copy_from_slice(bytes);
        put(0, &object::head(kind::DATA, size as u64));
        put(
            object::DATA_NEXT_FIELD,
            &self.names[self.last_name].head.to_le_bytes(),
        );
        put(object::DATA_ENTRY, &entry.to_le_bytes());
        put(object::DATA_N_ENTRIES, &1u64.to_le_bytes());
        fresh.extend_from_slice(&head);
        fresh.extend_from_slice(name);
        fresh.extend_from_slice(value);
        let payload = &fresh[start + HEAD..];
        let hash = hash::keyed(&self.ids.file, payload);
        let jenkins = hash::jenkins(payload);
        if self.seen.insert(hash) {
            fresh.truncate(start);
            return false;
        }
        fresh[start + object::HASH as usize..][..8].copy_from_slice(&hash.to_le_bytes());
        fresh.extend_from_slice(&[0; 8][..length - size]);
        fresh.extend_from_slice(template);
        let bytes = &mut fresh[start + length..];
        stamp.put(bytes, self.common.xor ^ jenkins);
        bytes[self.common.next_item() as usize..][..object::ITEM as usize]
            .copy_from_slice(&item(offset));

        self.added(self.last_name, self.data_table.bucket(hash), offset);
        self.common.room -= 1;
        self.numbers.object(entry);
        self.numbers.entry(stamp);
        self.disk.batch.entries.push(entry);
        true
    }
}
