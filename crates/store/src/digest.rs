//! SHA-512, as image IDs are made (specification, types.md, "Image ID Type").

use appc::Hash;

/// A running SHA-512.
pub(crate) struct Sha512(ring::digest::Context);

impl Sha512 {
    pub(crate) fn new() -> Self {
        Sha512(ring::digest::Context::new(&ring::digest::SHA512))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> [u8; 64] {
        let digest = self.0.finish();
        let mut out = [0; 64];
        out.copy_from_slice(digest.as_ref());
        out
    }

    /// The store's key of some bytes: `sha512-` and 64 digits.
    pub(crate) fn key(bytes: &[u8]) -> Hash {
        let mut hash = Sha512::new();
        hash.update(bytes);
        Hash::from_sha512(&hash.finish())
    }
}

/// Whether bytes with this digest are the image asked for, whose ID may have been cut.
pub(crate) fn is_image(digest: &[u8; 64], wanted: &Hash) -> bool {
    use std::fmt::Write;
    let mut full = String::with_capacity(128);
    for byte in digest {
        // Writing into a String cannot fail.
        let _ = write!(full, "{byte:02x}");
    }
    full.starts_with(wanted.digits())
}
