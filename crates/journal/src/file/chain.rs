//! Chains of arrays that name entries: all of the file, and those that have a field.

use std::ops::Range;

use super::JournalFile;
use super::disk::Disk;
use crate::Error;
use crate::format::{kind, object};

/// Items of a chain's first array and of the longest ones.
const ARRAY_MIN: u64 = 4;
const ARRAY_MAX: u64 = 1 << 16;
/// Longer arrays are not gathered in memory.
const GATHERED: u64 = 1024;

const ITEM: usize = object::ITEM as usize;

/// An offset as arrays and entries name it. Files are too small for more than 32 bits.
pub(super) fn item(offset: u64) -> [u8; ITEM] {
    (offset as u32).to_le_bytes()
}

/// A chain's end, and what belongs behind it.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    /// The first array; 0 if there is none.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Items of the last array.
    pub(super) used: u64,
    capacity: u64,
    /// So many more items the first array gets.
    ahead: u64,
    /// Which of the gathered entries are not in the last array yet, though there is room for them.
    run: Range<usize>,
}

/// Where the entries are that were gathered, as arrays name them.
#[derive(Debug, Default)]
pub(super) struct Gathered(Vec<u8>);

impl Gathered {
    pub(super) fn push(&mut self, entry: u64) {
        self.0.extend_from_slice(&item(entry));
    }

    pub(super) fn reserve(&mut self, entries: usize) {
        self.0.reserve(ITEM * entries);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len() / ITEM
    }

    pub(super) fn get(&self, n: usize) -> u64 {
        let bytes = self.0.get(ITEM * n..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
    }

    pub(super) fn items(&self, run: Range<usize>) -> &[u8] {
        let bytes = ITEM * run.start..ITEM * run.end;
        self.0.get(bytes).unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn rest(&mut self) {
        self.0.shrink_to(0);
    }
}

impl Chain {
    /// The chain of all entries. Those of the fields that all entries have are one shorter, since a
    /// data object itself names its first entry: so all are full at the same time.
    pub(super) fn of_all() -> Self {
        Self {
            ahead: 1,
            ..Self::default()
        }
    }

    /// The chain that begins with this array and has that many items.
    pub(super) fn find(disk: &mut Disk, first: u64, mut items: u64) -> Self {
        let mut chain = Chain {
            first,
            ..Chain::default()
        };
        let mut next = first;
        while next != 0 {
            chain.last = next;
            chain.capacity = (disk.get64(next + object::SIZE) - object::ARRAY_ITEMS) / object::ITEM;
            chain.used = items.min(chain.capacity);
            items -= chain.used;
            next = disk.get64(next + object::ARRAY_NEXT);
        }
        chain
    }

    /// Whether it is full, and goes on in an array that is not gathered.
    pub(super) fn grows_much(&self) -> bool {
        self.room() == 0 && self.next_capacity() > GATHERED
    }

    /// Items of the next array: a power of two.
    fn next_capacity(&self) -> u64 {
        match self.capacity {
            0 => ARRAY_MIN + self.ahead,
            n => (n + 1).next_power_of_two().min(ARRAY_MAX),
        }
    }

    /// How many more entries find room.
    pub(super) fn room(&self) -> u64 {
        self.capacity - self.used - self.run.len() as u64
    }

    /// Takes in gathered entries, for which there is room.
    pub(super) fn extend(&mut self, run: Range<usize>, disk: &mut Disk) {
        if run.is_empty() {
            return;
        }
        if self.run.end != run.start {
            self.settle(disk);
            self.run.start = run.start;
        }
        self.run.end = run.end;
    }

    /// Writes what belongs to the last array.
    pub(super) fn settle(&mut self, disk: &mut Disk) {
        let run = std::mem::take(&mut self.run);
        if !run.is_empty() {
            let at = self.last + object::ARRAY_ITEMS + object::ITEM * self.used;
            self.used += run.len() as u64;
            disk.put_entries(at, run);
        }
    }
}

impl JournalFile {
    /// A chain of the same items, which are in the file, and with as much room.
    pub(super) fn copy(&mut self, chain: &Chain, items: u64) -> Result<Chain, Error> {
        let mut copy = Chain::default();
        if chain.first == 0 {
            return Ok(copy);
        }
        let mut bytes = Vec::with_capacity(items as usize * ITEM);
        let mut next = chain.first;
        while next != 0 {
            let size = self.disk.get64(next + object::SIZE) - object::ARRAY_ITEMS;
            let left = items * object::ITEM - bytes.len() as u64;
            self.disk
                .read(next + object::ARRAY_ITEMS, size.min(left), &mut bytes);
            next = self.disk.get64(next + object::ARRAY_NEXT);
        }
        self.array(&mut copy, items + chain.room())?;
        copy.used = items;
        self.disk.put(copy.first + object::ARRAY_ITEMS, &bytes);
        Ok(copy)
    }

    /// Makes sure that an entry finds room in a chain. A [large](Chain::grows_much) chain must have
    /// nothing gathered.
    pub(super) fn lengthen(&mut self, chain: &mut Chain) -> Result<(), Error> {
        if chain.room() > 0 {
            return Ok(());
        }
        chain.settle(&mut self.disk);
        let capacity = chain.next_capacity();
        self.array(chain, capacity)
    }

    /// Puts an array of so many items behind a chain.
    fn array(&mut self, chain: &mut Chain, capacity: u64) -> Result<(), Error> {
        let size = object::ARRAY_ITEMS + object::ITEM * capacity;
        let array = match capacity > GATHERED {
            true => self.disk.zeros(kind::ENTRY_ARRAY, size)?,
            false => self.disk.object(kind::ENTRY_ARRAY, size)?.0,
        };
        self.numbers.object(array);
        self.numbers.arrays += 1;
        match chain.last {
            0 => chain.first = array,
            last => self.disk.put64(last + object::ARRAY_NEXT, array),
        }
        chain.last = array;
        chain.used = 0;
        chain.capacity = capacity;
        Ok(())
    }
}
