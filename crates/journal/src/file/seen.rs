//! Which data objects a file may have: most fields of a busy app are new, and to learn that from the
//! file costs looks at pages that nobody has looked at for long, once those are published.

use super::links::has;

const PARTS: usize = 256;
/// More of it is given back when nothing happens.
const KEPT: usize = 8 * 1024;

/// Two looks. The first is at three bits by each one's hash (a Bloom filter), in one word: nearly always
/// enough, and what follows is nearly always the same. The second compares half of the hash: of a
/// file's hundred thousand objects hardly two have that and their part in common.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    bits: Vec<u64>,
    parts: Vec<Vec<u32>>,
    /// Whether there are objects whose hashes were forgotten.
    forgotten: bool,
}

impl Seen {
    /// Forgets all, for a new file of so many bytes: a bit for every 32, of which a short line with all
    /// it takes has seven.
    pub(super) fn begin(&mut self, limit: u64) {
        let words = (limit / 32 / 64).next_power_of_two();
        self.bits.clear();
        self.bits.resize(words as usize, 0);
        self.parts.iter_mut().for_each(Vec::clear);
        self.parts.resize_with(PARTS, Vec::new);
        self.forgotten = false;
    }

    /// Notes a hash; returns whether it, or one like it, may have been there.
    pub(super) fn insert(&mut self, hash: u64) -> bool {
        // The tables go by the rest of the division; this by the other end.
        let at = (hash >> 6) as usize & (self.bits.len() - 1);
        let bits = [hash, hash >> 52, hash >> 58].map(|place| 1 << (place & 63));
        let bits = bits.into_iter().fold(0, |all, bit: u64| all | bit);
        let may_be_there = self.bits[at] & bits == bits;
        self.bits[at] |= bits;
        let part = &mut self.parts[(hash >> 26) as usize % PARTS];
        let half = (hash >> 32) as u32;
        if may_be_there && has(part, half) {
            return true;
        }
        part.push(half);
        self.forgotten && may_be_there
    }

    /// Lets go of much memory.
    pub(super) fn rest(&mut self) {
        let length: usize = self.parts.iter().map(Vec::len).sum();
        if length > KEPT {
            self.parts.fill_with(Vec::new);
            self.forgotten = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_known_and_little_else() {
        let hash = |n: u64| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(21);
        let mut seen = Seen::default();
        seen.begin(32 << 20);
        let wrong = (0..100_000).filter(|n| seen.insert(hash(*n))).count();
        assert!(wrong < 10, "{wrong}");
        assert!((0..100_000).all(|n| seen.insert(hash(n))));
        assert!(!seen.insert(0) && seen.insert(0));
        seen.rest();
        assert!((0..100_000).all(|n| seen.insert(hash(n))));
    }
}
