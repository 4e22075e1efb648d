//! The two hashes that everything from outside goes through: SHA-512, as image IDs are made
//! (specification, types.md, "Image ID Type"), and SHA-256, as registries name things.

/// A hash that takes bytes as they come.
pub trait Running: Clone + Send {
    /// A hash that has seen nothing.
    fn new() -> Self;
    /// Takes the next bytes.
    fn update(&mut self, bytes: &[u8]);
}

/// A running SHA-512.
#[derive(Clone)]
pub struct Sha512(openssl::sha::Sha512);

/// A running SHA-256.
#[derive(Clone)]
pub struct Sha256(ring::digest::Context);

impl Running for Sha512 {
    fn new() -> Self {
        Sha512(openssl::sha::Sha512::new())
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

impl Running for Sha256 {
    fn new() -> Self {
        Sha256(ring::digest::Context::new(&ring::digest::SHA256))
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

impl Sha512 {
    /// The digest of all that was seen.
    pub fn finish(self) -> [u8; 64] {
        self.0.finish()
    }

    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> [u8; 64] {
        // Not `openssl::sha::sha512`: it goes through OpenSSL's providers, which fill 3 MB.
        let mut hash = Self::new();
        hash.update(bytes);
        hash.finish()
    }
}

impl Sha256 {
    /// The digest of all that was seen.
    pub fn finish(self) -> [u8; 32] {
        sized(&self.0.finish())
    }

    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> [u8; 32] {
        sized(&ring::digest::digest(&ring::digest::SHA256, bytes))
    }
}

fn sized(digest: &ring::digest::Digest) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

impl std::fmt::Debug for Sha512 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sha512").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sha256").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Running, Sha256, Sha512};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// FIPS 180-2, appendices B.1 and C.1.
    #[test]
    fn the_standards_examples() {
        assert_eq!(
            hex(&Sha256::of(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex(&Sha512::of(b"abc")),
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        );
    }

    #[test]
    fn pieces_and_copies_make_no_difference() {
        let bytes: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let (mut long, mut short) = (Sha512::new(), Sha256::new());
        for piece in bytes.chunks(777) {
            long = long.clone();
            long.update(piece);
            short = short.clone();
            short.update(piece);
        }
        let before_the_end = long.clone();
        long.update(b"more");
        assert_eq!(before_the_end.finish(), Sha512::of(&bytes));
        assert_ne!(long.finish(), Sha512::of(&bytes));
        assert_eq!(short.finish(), Sha256::of(&bytes));
    }
}
