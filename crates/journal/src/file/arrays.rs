//! Chains of arrays that name entries.

use super::JournalFile;
use crate::Error;
use crate::format::{header, kind, object};

/// Array of entries: the first one's and the longest one's number of items.
const ARRAY_MIN: u64 = 4;
const ARRAY_MAX: u64 = 1 << 16;

/// The end of a chain of entry arrays.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ArrayTail {
    pub(super) offset: u64,
    pub(super) used: u64,
    pub(super) capacity: u64,
}

impl JournalFile {
    /// The end of a chain of arrays with that many items.
    pub(super) fn tail(&self, first: u64, mut items: u64) -> ArrayTail {
        let mut tail = ArrayTail::default();
        let mut next = self.get64(first);
        while next != 0 {
            let capacity = (self.get64(next + object::SIZE) - object::ARRAY_ITEMS) / 8;
            tail = ArrayTail {
                offset: next,
                used: items.min(capacity),
                capacity,
            };
            items -= tail.used;
            next = self.get64(next + object::ARRAY_NEXT);
        }
        tail
    }

    /// Appends an item to a chain of arrays whose first is named at `first`.
    pub(super) fn link(
        &mut self,
        first: u64,
        mut tail: ArrayTail,
        item: u64,
    ) -> Result<ArrayTail, Error> {
        if tail.used == tail.capacity {
            let capacity = (tail.capacity * 2).clamp(ARRAY_MIN, ARRAY_MAX);
            let size = object::ARRAY_ITEMS + 8 * capacity;
            let offset = self.allocate(kind::ENTRY_ARRAY, size)?;
            self.increment(header::N_ENTRY_ARRAYS);
            match tail.offset {
                0 => self.put64(first, offset),
                last => self.put64(last + object::ARRAY_NEXT, offset),
            }
            tail = ArrayTail {
                offset,
                used: 0,
                capacity,
            };
        }
        self.put64(tail.offset + object::ARRAY_ITEMS + 8 * tail.used, item);
        tail.used += 1;
        Ok(tail)
    }
}
