//! What an extractor remembers of the files it wrote.

use std::collections::HashMap;

use rustix::fs::Stat;

/// What is known of written files by their inodes, so that a checksum needs not look again.
pub(crate) type Digests = HashMap<u64, Known>;

/// What is known of a file since it was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) content: blake3::Hash,
    /// It has no extended attribute that a checksum counts.
    pub(crate) plain: bool,
    /// As the file system had it at the end, of a file that has no second name.
    pub(crate) looks: Option<Looks>,
}

/// What a checksum counts of a file's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Looks {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) modified: (i64, u64),
    pub(crate) size: u64,
}

impl Looks {
    pub(crate) fn of(stat: &Stat) -> Self {
        Looks {
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            size: stat.st_size.cast_unsigned(),
        }
    }
}
