//! Fields that many entries have: looked up once.

use std::sync::atomic::{AtomicU64, Ordering};

use super::JournalFile;
use super::data::Item;
use crate::Error;

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
}

/// Such fields in one file, together with those that all entries have.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    number: u64,
    /// By their offsets.
    pub(super) items: Vec<Item>,
    /// Of the fields, for the identity of entries.
    pub(super) xor: u64,
    /// The numbers of their data objects.
    known: Vec<usize>,
    /// The first gathered entry that the data objects were not told of.
    pub(super) from: usize,
    /// How many more entries find room in all chains of arrays.
    pub(super) room: u64,
}

impl JournalFile {
    /// Makes these fields those of the entries that follow, for one of which there is room then.
    pub(super) fn have(&mut self, all: &Common, common: &Common) -> Result<(), Error> {
        if self.common.number != common.number {
            self.tell_common();
            self.common = Resolved::default();
            let mut resolved = Resolved::default();
            for field in all.fields.iter().chain(&common.fields) {
                let item = self.data([field, b""])?;
                resolved.xor ^= item.jenkins;
                resolved.items.push(item);
            }
            resolved.items.sort_unstable_by_key(|item| item.offset);
            resolved.items.dedup_by_key(|item| item.offset);
            resolved.known = resolved
                .items
                .iter()
                .map(|i| self.known(i.offset))
                .collect();
            resolved.number = common.number;
            resolved.from = self.gathered.len();
            self.common = resolved;
        }
        match self.common.room {
            0 => self.make_room(),
            _ => Ok(()),
        }
    }

    /// Tells the data objects of the common fields which entries have them.
    pub(super) fn tell_common(&mut self) {
        let entries = self.common.from..self.gathered.len();
        self.common.from = entries.end;
        let numbers = std::mem::take(&mut self.common.known);
        for known in &numbers {
            self.refer(*known, entries.clone());
        }
        self.common.known = numbers;
    }

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

    /// Makes room in a data object's chain; returns for how many.
    pub(super) fn lengthen_known(&mut self, known: usize) -> Result<u64, Error> {
        if self.known[known].room() == 0 {
            let mut chain = std::mem::take(&mut self.known[known].chain);
            let outcome = self.lengthen(&mut chain);
            self.known[known].chain = chain;
            outcome?;
        }
        Ok(self.known[known].room())
    }
}
