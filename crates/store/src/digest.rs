//! SHA-512, as image IDs are made (specification, types.md, "Image ID Type"), and SHA-256, as
//! registries name things.

use appc::Hash;
use oci::Digest;

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
        sha512(&self.0.finish())
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

/// A running SHA-256.
pub(crate) struct Sha256(ring::digest::Context);

impl Sha256 {
    pub(crate) fn new() -> Self {
        Sha256(ring::digest::Context::new(&ring::digest::SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        sha256(&self.0.finish())
    }

    /// The digest of some bytes.
    pub(crate) fn of(bytes: &[u8]) -> Digest {
        sha256(&ring::digest::digest(&ring::digest::SHA256, bytes))
    }
}

/// The finished digest of a pass that made a SHA-256.
pub(crate) fn sha256(digest: &ring::digest::Digest) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    Digest::from_sha256(&out)
}

/// The finished digest of a pass that made a SHA-512.
pub(crate) fn sha512(digest: &ring::digest::Digest) -> [u8; 64] {
    let mut out = [0; 64];
    out.copy_from_slice(digest.as_ref());
    out
}

/// The SHA-256 of a whole stream.
pub fn sha256_of(source: &mut impl std::io::Read) -> std::io::Result<Digest> {
    let mut hash = Sha256::new();
    each_piece(source, |bytes| hash.update(bytes))?;
    Ok(hash.finish())
}

/// The SHA-512 of a whole stream.
pub(crate) fn sha512_of(source: &mut impl std::io::Read) -> std::io::Result<[u8; 64]> {
    let mut hash = Sha512::new();
    each_piece(source, |bytes| hash.update(bytes))?;
    Ok(hash.finish())
}

fn each_piece(source: &mut impl std::io::Read, mut sink: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => sink(&buffer[..read]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The SHA-256 of some bytes.
pub fn sha256_bytes(bytes: &[u8]) -> Digest {
    Sha256::of(bytes)
}
