//! The two hashes of the format: SipHash-2-4 with the file's ID as key for its tables, and Bob
//! Jenkins' lookup3 for the identity of entries across files.

/// The hash of a data or field object in a file with this ID.
pub(crate) fn keyed(file_id: &[u8; 16], bytes: &[u8]) -> u64 {
    siphasher::sip::SipHasher24::new_with_key(file_id).hash(bytes)
}

/// lookup3's `hashlittle2` with both seeds zero, as one number.
pub(crate) fn jenkins(bytes: &[u8]) -> u64 {
    let start = 0xdead_beef_u32.wrapping_add(bytes.len() as u32);
    let (mut a, mut b, mut c) = (start, start, start);
    let mut rest = bytes;
    // The last block is another's, even if it is whole.
    while let Some((block, tail)) = rest.split_first_chunk::<12>()
        && !tail.is_empty()
    {
        let words = words(block);
        a = a.wrapping_add(words[0]);
        b = b.wrapping_add(words[1]);
        c = c.wrapping_add(words[2]);
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
        rest = tail;
    }
    if !rest.is_empty() {
        let mut block = [0; 12];
        block[..rest.len()].copy_from_slice(rest);
        let words = words(&block);
        a = a.wrapping_add(words[0]);
        b = b.wrapping_add(words[1]);
        c = c.wrapping_add(words[2]);
        c = (c ^ b).wrapping_sub(b.rotate_left(14));
        a = (a ^ c).wrapping_sub(c.rotate_left(11));
        b = (b ^ a).wrapping_sub(a.rotate_left(25));
        c = (c ^ b).wrapping_sub(b.rotate_left(16));
        a = (a ^ c).wrapping_sub(c.rotate_left(4));
        b = (b ^ a).wrapping_sub(a.rotate_left(14));
        c = (c ^ b).wrapping_sub(b.rotate_left(24));
    }
    (u64::from(c) << 32) | u64::from(b)
}

fn words(block: &[u8; 12]) -> [u32; 3] {
    let [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11] = *block;
    [[b0, b1, b2, b3], [b4, b5, b6, b7], [b8, b9, b10, b11]].map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup3_agrees_with_its_authors_examples() {
        // From the driver of lookup3.c.
        assert_eq!(jenkins(b""), 0xdead_beef_dead_beef);
        let text = b"Four score and seven years ago";
        assert_eq!(jenkins(text), 0x1777_0551_ce72_26e6);
    }

    #[test]
    fn siphash_agrees_with_its_authors_example() {
        let key: [u8; 16] = std::array::from_fn(|n| n as u8);
        let text: Vec<u8> = (0..15).collect();
        assert_eq!(keyed(&key, &text), 0xa129_ca61_49be_45e5);
    }
}
