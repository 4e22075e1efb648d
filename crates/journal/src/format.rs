//! Offsets and numbers of the format. All numbers in a file are little-endian.

pub(crate) const SIGNATURE: [u8; 8] = *b"LPKSHHRH";
/// Tables are hashed with a key of the file's own.
pub(crate) const KEYED_HASH: u32 = 1 << 2;
/// Objects name others by 32 bits, and entries do not repeat the hashes of their fields: what journald
/// writes since systemd 252.
pub(crate) const COMPACT: u32 = 1 << 4;
/// Flags of files that this crate reads.
pub(crate) const READABLE: u32 = KEYED_HASH | COMPACT;

pub(crate) const OFFLINE: u8 = 0;
pub(crate) const ONLINE: u8 = 1;
pub(crate) const ARCHIVED: u8 = 2;

/// Offsets in the header.
pub(crate) mod header {
    pub(crate) const INCOMPATIBLE: u64 = 12;
    pub(crate) const STATE: u64 = 16;
    pub(crate) const FILE_ID: u64 = 24;
    pub(crate) const MACHINE_ID: u64 = 40;
    pub(crate) const TAIL_BOOT_ID: u64 = 56;
    pub(crate) const SEQNUM_ID: u64 = 72;
    pub(crate) const HEADER_SIZE: u64 = 88;
    pub(crate) const ARENA_SIZE: u64 = 96;
    pub(crate) const DATA_TABLE: u64 = 104;
    pub(crate) const DATA_TABLE_SIZE: u64 = 112;
    pub(crate) const FIELD_TABLE: u64 = 120;
    pub(crate) const FIELD_TABLE_SIZE: u64 = 128;
    pub(crate) const TAIL_OBJECT: u64 = 136;
    pub(crate) const N_OBJECTS: u64 = 144;
    pub(crate) const N_ENTRIES: u64 = 152;
    pub(crate) const TAIL_SEQNUM: u64 = 160;
    pub(crate) const HEAD_SEQNUM: u64 = 168;
    pub(crate) const ENTRY_ARRAY: u64 = 176;
    pub(crate) const HEAD_REALTIME: u64 = 184;
    pub(crate) const TAIL_REALTIME: u64 = 192;
    pub(crate) const TAIL_MONOTONIC: u64 = 200;
    pub(crate) const N_DATA: u64 = 208;
    pub(crate) const N_FIELDS: u64 = 216;
    pub(crate) const N_ENTRY_ARRAYS: u64 = 232;
    /// What this crate writes.
    pub(crate) const SIZE: u64 = 256;
}

/// Kinds of object.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 1;
    pub(crate) const FIELD: u8 = 2;
    pub(crate) const ENTRY: u8 = 3;
    pub(crate) const DATA_TABLE: u8 = 4;
    pub(crate) const FIELD_TABLE: u8 = 5;
    pub(crate) const ENTRY_ARRAY: u8 = 6;
}

/// Offsets in objects.
pub(crate) mod object {
    pub(crate) const SIZE: u64 = 8;
    /// Of the header that every object has.
    pub(crate) const HEADER: u64 = 16;

    pub(crate) const HASH: u64 = 16;
    pub(crate) const NEXT_HASH: u64 = 24;

    pub(crate) const DATA_NEXT_FIELD: u64 = 32;
    pub(crate) const DATA_ENTRY: u64 = 40;
    pub(crate) const DATA_ENTRY_ARRAY: u64 = 48;
    pub(crate) const DATA_N_ENTRIES: u64 = 56;
    /// The last array, and its items that are used: 32 bits each, in compact files.
    pub(crate) const DATA_TAIL: u64 = 64;
    /// In compact files; in others it is where the tail is here.
    pub(crate) const DATA_PAYLOAD: u64 = 72;

    pub(crate) const FIELD_HEAD_DATA: u64 = 32;
    pub(crate) const FIELD_PAYLOAD: u64 = 40;

    pub(crate) const ENTRY_SEQNUM: u64 = 16;
    pub(crate) const ENTRY_REALTIME: u64 = 24;
    pub(crate) const ENTRY_MONOTONIC: u64 = 32;
    pub(crate) const ENTRY_BOOT: u64 = 40;
    pub(crate) const ENTRY_XOR: u64 = 56;
    pub(crate) const ENTRY_ITEMS: u64 = 64;

    pub(crate) const ARRAY_NEXT: u64 = 16;
    pub(crate) const ARRAY_ITEMS: u64 = 24;

    /// The header of an object of so many bytes.
    pub(crate) fn head(kind: u8, size: u64) -> [u8; HEADER as usize] {
        let mut head = [0; HEADER as usize];
        head[0] = kind;
        head[SIZE as usize..].copy_from_slice(&size.to_le_bytes());
        head
    }

    /// Puts bytes into an object.
    pub(crate) fn put(object: &mut [u8], at: u64, bytes: &[u8]) {
        object[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Bytes of an offset in an entry or an array, of compact files.
    pub(crate) const ITEM: u64 = 4;
    /// The same of others: an offset, and in an entry the hash behind it.
    pub(crate) const LONG_ITEM: u64 = 8;
    pub(crate) const LONG_ENTRY_ITEM: u64 = 16;
}

/// Objects begin at multiples of eight.
pub(crate) fn aligned(size: u64) -> u64 {
    size.next_multiple_of(8)
}
