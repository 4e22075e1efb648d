//! Which data objects a file may have: most fields of a busy app are new, and to learn that from the
//! tables costs a look at a page that nobody has looked at for long.

/// Two bits by each one's hash (a Bloom filter), in one word, which is one look at memory.
#[derive(Debug)]
pub(super) struct Seen {
    bits: Vec<u64>,
}

impl Seen {
    /// For a file of so many bytes: a bit for every 32, of which a short line with all it takes has seven.
    pub(super) fn new(limit: u64) -> Self {
        let words = (limit / 32 / 64).next_power_of_two();
        Self {
            bits: vec![0; words as usize],
        }
    }

    /// Notes a hash; returns whether it, or one like it, was there.
    pub(super) fn insert(&mut self, hash: u64) -> bool {
        // The tables go by the rest of the division; this by the other end.
        let at = (hash >> 6) as usize & (self.bits.len() - 1);
        let bits = 1 << (hash & 63) | 1 << (hash >> 58);
        let seen = self.bits[at] & bits == bits;
        self.bits[at] |= bits;
        seen
    }
}
