//! Data objects that more than one entry has, and which entries those are.

use std::ops::Range;

use super::JournalFile;
use super::chain::{Chain, item};
use super::data::Item;
use crate::Error;
use crate::format::object;

/// Data objects that the same entries have: the fields of an app come together. They name the same
/// arrays, which are written once.
#[derive(Debug)]
pub(super) struct Known {
    objects: Vec<u64>,
    /// The first entry; 0 if there is none.
    first: u64,
    n_entries: u64,
    /// The other entries.
    pub(super) chain: Chain,
    changed: bool,
}

impl Known {
    /// How many more entries find room.
    pub(super) fn room(&self) -> u64 {
        self.chain.room() + u64::from(self.first == 0)
    }

    /// Whether there is more than one of them, so that what is known of them is not in the file alone.
    fn is_shared(&self) -> bool {
        self.objects.len() > 1
    }
}

impl JournalFile {
    /// The number of a data object among those that are known.
    pub(super) fn known(&mut self, offset: u64) -> usize {
        if let Some(known) = self.known_by_offset.get(&offset) {
            return *known;
        }
        let n_entries = self.disk.get64(offset + object::DATA_N_ENTRIES);
        let array = self.disk.get64(offset + object::DATA_ENTRY_ARRAY);
        let first = self.disk.get64(offset + object::DATA_ENTRY);
        let chain = Chain::find(&mut self.disk, array, n_entries.saturating_sub(1));
        self.add_known(Known {
            objects: vec![offset],
            first,
            n_entries,
            chain,
            changed: false,
        })
    }

    fn add_known(&mut self, known: Known) -> usize {
        let number = self.known.len();
        let objects = known.objects.iter().map(|object| (*object, number));
        self.known_by_offset.extend(objects);
        self.known.push(known);
        number
    }

    /// The numbers of data objects that entries have together from now on.
    ///
    /// # Errors
    /// As [`Self::split`].
    pub(super) fn known_together(&mut self, items: &[Item]) -> Result<Vec<usize>, Error> {
        let mut numbers = Vec::new();
        let mut new = Vec::new();
        for item in items {
            if item.is_new && !self.known_by_offset.contains_key(&item.offset) {
                new.push(item.offset);
                continue;
            }
            let known = self.known(item.offset);
            let is_inside = |object: u64| items.iter().any(|item| item.offset == object);
            let inside = self.split(known, is_inside)?;
            if !numbers.contains(&inside) {
                numbers.push(inside);
            }
        }
        if !new.is_empty() {
            numbers.push(self.add_known(Known {
                objects: new,
                first: 0,
                n_entries: 0,
                chain: Chain::default(),
                changed: false,
            }));
        }
        Ok(numbers)
    }

    /// Makes sure that an entry can have this one, and not the others that came with it so far.
    ///
    /// # Errors
    /// As [`Self::split`].
    pub(super) fn known_alone(&mut self, offset: u64) -> Result<usize, Error> {
        let known = self.known(offset);
        self.split(known, |object| object == offset)
    }

    /// Parts the data objects inside from the others: those get arrays of their own, with the entries
    /// that both had. Returns the number of those inside.
    ///
    /// # Errors
    /// [`Error::Full`], the disk's; nothing has changed then.
    fn split(&mut self, known: usize, is_inside: impl Fn(u64) -> bool) -> Result<usize, Error> {
        if self.known[known]
            .objects
            .iter()
            .all(|object| is_inside(*object))
        {
            return Ok(known);
        }
        // The entries are in the file then.
        self.publish()?;
        self.disk.settle()?;
        let chain = self.known[known].chain.clone();
        let chain = self.copy(&chain, self.known[known].n_entries.saturating_sub(1))?;
        let whole = &mut self.known[known];
        let objects = std::mem::take(&mut whole.objects);
        let (inside, others) = objects.into_iter().partition(|object| is_inside(*object));
        whole.objects = others;
        let part = Known {
            objects: inside,
            first: whole.first,
            n_entries: whole.n_entries,
            chain,
            changed: true,
        };
        let number = self.add_known(part);
        let commons = self.commons.values_mut().chain([&mut self.common]);
        for common in commons {
            common.has_split(known, number);
        }
        Ok(number)
    }

    /// Notes which gathered entries have known data objects. There is room for them.
    pub(super) fn refer(&mut self, known: usize, mut entries: Range<usize>) {
        let known = &mut self.known[known];
        if entries.is_empty() {
            return;
        }
        known.changed = true;
        known.n_entries += entries.len() as u64;
        if known.first == 0 {
            self.disk.batch.lay_out();
            known.first = self.disk.batch.entries.get(entries.start);
            entries.start += 1;
        }
        if !entries.is_empty() {
            known.chain.extend(entries, &mut self.disk);
        }
    }

    /// Lets data objects know what is there when the batch is published.
    pub(super) fn tell_known(&mut self) {
        for known in self.known.iter_mut().filter(|known| known.changed) {
            known.chain.settle(&mut self.disk);
            let numbers = [known.first, known.chain.first, known.n_entries];
            let mut bytes = [0; (object::DATA_PAYLOAD - object::DATA_ENTRY) as usize];
            bytes[..24].copy_from_slice(numbers.map(u64::to_le_bytes).as_flattened());
            bytes[24..28].copy_from_slice(&item(known.chain.last));
            bytes[28..].copy_from_slice(&item(known.chain.used));
            for object in &known.objects {
                self.disk.put(object + object::DATA_ENTRY, &bytes);
            }
            known.changed = false;
        }
    }

    /// Forgets what the file knows as well.
    pub(super) fn forget_known(&mut self) {
        self.known_by_offset.clear();
        let shared = std::mem::take(&mut self.known);
        for known in shared.into_iter().filter(Known::is_shared) {
            self.add_known(known);
        }
        self.kept = self.known.len();
    }
}
