//! How much of anything an image may have.

/// Bounds on what is accepted from outside. The defaults fit the largest images in use and stop
/// what only an attacker would send.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of the uncompressed archive.
    pub bytes: u64,
    /// How many times as large as its compressed form the archive may be; looked at once the
    /// archive has more than [`Limits::RATIO_FROM`] bytes.
    pub ratio: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// Apparent size of a single (sparse) file in bytes.
    pub file_bytes: u64,
    /// Names between a path's slashes.
    pub depth: usize,
}

impl Limits {
    /// Archives of up to this many bytes may be as compressible as they like.
    pub const RATIO_FROM: u64 = 1 << 30;
    /// No bounds but those of the kernel: for what was accepted once and is not refused for its
    /// size any more.
    pub(crate) fn none() -> Self {
        Limits {
            bytes: u64::MAX,
            ratio: u64::MAX,
            entries: u64::MAX,
            file_bytes: u64::MAX,
            depth: usize::MAX,
        }
    }

    /// The longest path, as the kernel has it.
    pub(crate) const PATH: usize = 4095;
    /// The longest name, as the kernel has it.
    pub(crate) const NAME: usize = 255;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bytes: 64 << 30,
            ratio: 1000,
            entries: 1_000_000,
            file_bytes: 1 << 43,
            depth: 1000,
        }
    }
}
