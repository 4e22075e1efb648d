//! Image IDs and what registries name things by, from streams and from bytes.

use std::io::{self, Read};

use appc::Hash;
use oci::Digest;
use sha::{Running, Sha256, Sha512};

/// The store's key of some bytes: `sha512-` and 64 digits.
pub(crate) fn key(bytes: &[u8]) -> Hash {
    Hash::from_sha512(&Sha512::of(bytes))
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

/// The SHA-256 of a whole stream.
pub fn sha256_of(source: &mut impl Read) -> io::Result<Digest> {
    Ok(Digest::from_sha256(&whole::<Sha256>(source)?.finish()))
}

/// The SHA-512 of a whole stream.
pub(crate) fn sha512_of(source: &mut impl Read) -> io::Result<[u8; 64]> {
    Ok(whole::<Sha512>(source)?.finish())
}

fn whole<H: Running>(source: &mut impl Read) -> io::Result<H> {
    let mut hash = H::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(hash),
            Ok(read) => hash.update(&buffer[..read]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The SHA-256 of some bytes.
pub fn sha256_bytes(bytes: &[u8]) -> Digest {
    Digest::from_sha256(&Sha256::of(bytes))
}
