//! The two hashes of the format: SipHash-2-4 with the file's ID as key for its tables, and Bob
//! Jenkins' lookup3 for the identity of entries across files. The former has a key, since an app that
//! chose its lines could make any other collide.
//!
//! Each line of an app's output passes here, and they take most of what that costs: both at once they
//! take two thirds of what they take one after the other.

/// Bytes that both take in whole: three words of SipHash's, two blocks of lookup3's.
const STEP: usize = 24;

/// The hash of a data or field object in a file with this ID.
pub(crate) fn keyed(file_id: &[u8; 16], bytes: &[u8]) -> u64 {
    both(file_id, [b"", bytes]).0
}

/// That hash, and lookup3's `hashlittle2` with both seeds zero, as one number: of two pieces that
/// belong together. At once, since each of them keeps the processor waiting for its last step.
pub(crate) fn both(file_id: &[u8; 16], [start, rest]: [&[u8]; 2]) -> (u64, u64) {
    if !start.len().is_multiple_of(8) {
        return both(file_id, [b"", &[start, rest].concat()]);
    }
    let length = start.len() + rest.len();
    let word = |at: usize| match at.checked_sub(start.len()) {
        Some(at) => word(rest, at),
        None => word(start, at),
    };
    let mut sip = Sip::new(file_id);
    let mut look = Lookup::new(length);
    let mut at = 0;
    // The last block is lookup3's end, even if it is whole.
    while length - at > STEP {
        let [first, second, third] = [0, 8, 16].map(|n| word(at + n));
        sip.mix(first);
        look.mix(first, second as u32);
        sip.mix(second);
        look.mix(second >> 32 | third << 32, (third >> 32) as u32);
        sip.mix(third);
        at += STEP;
    }
    let left = length - at;
    let words = [0, 8, 16, 24].map(|n| word(at + n));
    let [first, second, third, _] = words;
    if left > 12 {
        look.mix(first, second as u32);
        look.end(second >> 32 | third << 32, (third >> 32) as u32);
    } else if left > 0 {
        look.end(first, second as u32);
    }
    let (whole, rest) = words.split_at(left / 8);
    for word in whole {
        sip.mix(*word);
    }
    // The length's last byte comes behind them.
    sip.mix(rest[0] | (length as u64) << 56);
    (sip.end(), look.value())
}

/// Eight bytes as a little-endian number; those behind the end are zero.
#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    if let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        return u64::from_le_bytes(*word);
    }
    match bytes.last_chunk() {
        _ if at >= bytes.len() => 0,
        Some(last) => u64::from_le_bytes(*last) >> (8 * (at + 8 - bytes.len())),
        None => {
            let bytes = bytes[at..].iter().rev();
            bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
        }
    }
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012).
struct Sip([u64; 4]);

impl Sip {
    fn new(key: &[u8; 16]) -> Self {
        let [low, high] = [0, 8].map(|at| word(key, at));
        let start = *b"somepseudorandomlygeneratedbytes";
        let start = [0, 8, 16, 24].map(|at| word(&start, at).swap_bytes());
        Self([
            low ^ start[0],
            high ^ start[1],
            low ^ start[2],
            high ^ start[3],
        ])
    }

    #[inline]
    fn round(&mut self) {
        let [a, b, c, d] = &mut self.0;
        *a = a.wrapping_add(*b);
        *c = c.wrapping_add(*d);
        *b = b.rotate_left(13) ^ *a;
        *d = d.rotate_left(16) ^ *c;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*b);
        *a = a.wrapping_add(*d);
        *b = b.rotate_left(17) ^ *c;
        *d = d.rotate_left(21) ^ *a;
        *c = c.rotate_left(32);
    }

    #[inline]
    fn mix(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    fn end(mut self) -> u64 {
        self.0[2] ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        self.0.into_iter().fold(0, |all, part| all ^ part)
    }
}

/// lookup3 (Jenkins, 2006), of blocks of twelve bytes: the first eight, and the others.
struct Lookup([u32; 3]);

impl Lookup {
    fn new(length: usize) -> Self {
        Self([0xdead_beef_u32.wrapping_add(length as u32); 3])
    }

    #[inline]
    fn add(&mut self, low: u64, high: u32) -> [u32; 3] {
        let [a, b, c] = self.0;
        [
            a.wrapping_add(low as u32),
            b.wrapping_add((low >> 32) as u32),
            c.wrapping_add(high),
        ]
    }

    #[inline]
    fn mix(&mut self, low: u64, high: u32) {
        let [mut a, mut b, mut c] = self.add(low, high);
        a = a.wrapping_sub(c) ^ c.rotate_left(4);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(6);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(8);
        b = b.wrapping_add(a);
        a = a.wrapping_sub(c) ^ c.rotate_left(16);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(19);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(4);
        b = b.wrapping_add(a);
        self.0 = [a, b, c];
    }

    #[inline]
    fn end(&mut self, low: u64, high: u32) {
        let [mut a, mut b, mut c] = self.add(low, high);
        c = (c ^ b).wrapping_sub(b.rotate_left(14));
        a = (a ^ c).wrapping_sub(c.rotate_left(11));
        b = (b ^ a).wrapping_sub(a.rotate_left(25));
        c = (c ^ b).wrapping_sub(b.rotate_left(16));
        a = (a ^ c).wrapping_sub(c.rotate_left(4));
        b = (b ^ a).wrapping_sub(a.rotate_left(14));
        c = (c ^ b).wrapping_sub(b.rotate_left(24));
        self.0 = [a, b, c];
    }

    fn value(&self) -> u64 {
        let [_, low, high] = self.0.map(u64::from);
        high << 32 | low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use siphasher::sip::SipHasher24;

    #[test]
    fn lookup3_agrees_with_its_authors_examples() {
        // From the driver of lookup3.c.
        let jenkins = |text: &str| {
            // Whatever the pieces.
            let all: Vec<u64> = (0..=text.len())
                .map(|n| text.as_bytes().split_at(n))
                .map(|(start, rest)| both(&[0; 16], [start, rest]).1)
                .collect();
            assert!(all.iter().all(|one| *one == all[0]));
            all[0]
        };
        assert_eq!(jenkins(""), 0xdead_beef_dead_beef);
        assert_eq!(
            jenkins("Four score and seven years ago"),
            0x1777_0551_ce72_26e6
        );
    }

    /// The block that ends at each place: bytes behind the end are zeros, and they count.
    #[test]
    fn lookup3_ends_anywhere() {
        let bytes: Vec<u8> = (1..=100).collect();
        for length in 1..=100_usize {
            let mut plain = Lookup::new(length);
            let last = (length - 1) / 12 * 12;
            for at in (0..last).step_by(12) {
                plain.mix(word(&bytes, at), word(&bytes, at + 8) as u32);
            }
            let mut end = [0; 12];
            end[..length - last].copy_from_slice(&bytes[last..length]);
            plain.end(word(&end, 0), word(&end, 8) as u32);
            assert_eq!(
                both(&[0; 16], [b"", &bytes[..length]]).1,
                plain.value(),
                "{length}"
            );
        }
    }

    #[test]
    fn siphash_agrees_with_its_authors_example_and_another_implementation() {
        let key: [u8; 16] = std::array::from_fn(|n| n as u8);
        let bytes: Vec<u8> = (0..100).collect();
        assert_eq!(keyed(&key, &bytes[..15]), 0xa129_ca61_49be_45e5);
        for length in 0..=bytes.len() {
            let bytes = &bytes[..length];
            let other = SipHasher24::new_with_key(&key).hash(bytes);
            assert_eq!(keyed(&key, bytes), other, "{length}");
        }
    }
}
