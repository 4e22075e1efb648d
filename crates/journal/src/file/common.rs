//! Fields that many entries have: looked up once.

use std::sync::atomic::{AtomicU64, Ordering};

use super::JournalFile;
use super::data::Item;
use crate::Error;
use crate::format::{aligned, kind, object};

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// Fields `NAME=value` that many entries have in common.
#[derive(Debug)]
pub struct Common {
    /// No other's.
    number: u64,
    fields: Vec<Vec<u8>>,
}

impl Common {
    /// These fields.
    pub fn new(fields: Vec<Vec<u8>>) -> Self {
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            fields,
        }
    }

    /// These fields and another one.
    pub fn with(&self, field: &str) -> Self {
        let mut fields = self.fields.clone();
        fields.push(field.as_bytes().to_vec());
        Self::new(fields)
    }
}

/// Such fields in one file, together with those that all entries have.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    pub(super) number: u64,
    /// By their offsets, and as an entry names them.
    items: Vec<Item>,
    bytes: Vec<u8>,
    /// An entry that has one more field, behind them.
    pub(super) entry: Vec<u8>,
    /// Of the fields, for the identity of entries.
    pub(super) xor: u64,
    /// The numbers of their data objects.
    known: Vec<usize>,
    /// How many more entries find room in all chains of arrays.
    pub(super) room: u64,
}

impl Resolved {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn has(&self, item: &Item) -> bool {
        if self.are_before(item.offset) {
            return false;
        }
        let is_it = |there: &Item| there.offset.cmp(&item.offset);
        self.items.binary_search_by(is_it).is_ok()
    }

    /// Whether all of them are, as most often: an entry's own fields are younger.
    fn are_before(&self, offset: u64) -> bool {
        self.items.last().is_none_or(|last| last.offset < offset)
    }

    /// Some of what is known by a number are known by another one now.
    pub(super) fn has_split(&mut self, known: usize, part: usize) {
        if self.known.contains(&known) {
            self.known.push(part);
        }
    }

    /// Where in an entry the item behind them is.
    pub(super) fn next_item(&self) -> u64 {
        object::ENTRY_ITEMS + self.bytes.len() as u64
    }

    /// Those before an offset, as an entry names them.
    pub(super) fn before(&self, offset: u64) -> &[u8] {
        if self.are_before(offset) {
            return &self.bytes;
        }
        let before = self.items.partition_point(|item| item.offset < offset);
        &self.bytes[..before * object::ITEM as usize]
    }
}

impl JournalFile {
    /// Makes these fields those of the entries that follow, for one of which there is room then.
    pub(super) fn have(&mut self, all: &Common, common: &Common) -> Result<(), Error> {
        if self.common.number != common.number {
            self.tell_common();
            let mut resolved = match self.commons.remove(&common.number) {
                Some(resolved) => resolved,
                None => self.resolve(all, common)?,
            };
            // Others may have filled chains that it has.
            resolved.room = 0;
            let last = std::mem::replace(&mut self.common, resolved);
            self.commons.insert(last.number, last);
        }
        match self.common.room {
            0 => self.make_room(),
            _ => Ok(()),
        }
    }

    #[cold]
    fn resolve(&mut self, all: &Common, common: &Common) -> Result<Resolved, Error> {
        let mut resolved = Resolved::default();
        for field in all.fields.iter().chain(&common.fields) {
            let item = self.data([field, b""])?;
            resolved.xor ^= item.jenkins;
            resolved.items.push(item);
        }
        resolved.items.sort_unstable_by_key(|item| item.offset);
        resolved.items.dedup_by_key(|item| item.offset);
        resolved.bytes = resolved.items.iter().flat_map(Item::bytes).collect();
        resolved.entry = self.entry_of(&resolved.bytes);
        resolved.known = self.known_together(&resolved.items)?;
        resolved.number = common.number;
        Ok(resolved)
    }

    /// An entry object of these items and room for another one.
    fn entry_of(&self, items: &[u8]) -> Vec<u8> {
        let size = object::ENTRY_ITEMS + items.len() as u64 + object::ITEM;
        let mut entry = vec![0; aligned(size) as usize];
        object::put(&mut entry, 0, &object::head(kind::ENTRY, size));
        object::put(&mut entry, object::ENTRY_BOOT, &self.ids.boot);
        object::put(&mut entry, object::ENTRY_ITEMS, items);
        entry
    }

    /// Tells the chain of all entries, and the data objects of the common fields, which entries there
    /// are.
    pub(super) fn tell_common(&mut self) {
        let entries = self.told..self.disk.batch.count();
        self.told = entries.end;
        self.entries.extend(entries.clone(), &mut self.disk);
        let numbers = std::mem::take(&mut self.common.known);
        for known in &numbers {
            self.refer(*known, entries.clone());
        }
        self.common.known = numbers;
    }

    #[cold]
    fn make_room(&mut self) -> Result<(), Error> {
        self.tell_common();
        let chains = self.common.known.iter().map(|known| &self.known[*known]);
        let much = chains
            .filter(|known| known.room() == 0)
            .any(|known| known.chain.grows_much());
        if much || self.entries.grows_much() {
            self.publish()?;
        }
        let numbers = std::mem::take(&mut self.common.known);
        let mut room = self.lengthen_entries();
        for known in &numbers {
            room = room.and_then(|room| Ok(room.min(self.lengthen_known(*known)?)));
        }
        self.common.known = numbers;
        self.common.room = room?;
        Ok(())
    }

    /// Makes room in the chain of all entries; returns for how many.
    fn lengthen_entries(&mut self) -> Result<u64, Error> {
        let mut chain = std::mem::take(&mut self.entries);
        let outcome = self.lengthen(&mut chain);
        self.entries = chain;
        outcome.map(|()| self.entries.room())
    }

    /// Makes room in a data object's chain, which may take publishing what is gathered.
    pub(super) fn make_room_for(&mut self, known: usize) -> Result<(), Error> {
        if self.known[known].room() == 0 {
            if self.known[known].chain.grows_much() {
                self.publish()?;
            }
            self.lengthen_known(known)?;
        }
        Ok(())
    }

    /// Makes room in a data object's chain; returns for how many.
    fn lengthen_known(&mut self, known: usize) -> Result<u64, Error> {
        if self.known[known].room() == 0 {
            let mut chain = std::mem::take(&mut self.known[known].chain);
            let outcome = self.lengthen(&mut chain);
            self.known[known].chain = chain;
            outcome?;
        }
        Ok(self.known[known].room())
    }
}
