//! What a signature's bytes are hashed with.

use digest::consts::U64;
use digest::{DynDigest, FixedOutput, FixedOutputReset, Output, OutputSizeUser, Reset, Update};
use sha::{Running, Sha512};

/// A hash under way.
pub(crate) enum Hasher {
    /// SHA-512 that nothing was put before: the hash that image IDs are made with.
    Sha512(Sha512),
    /// The same, computed by somebody else.
    Elsewhere,
    /// As rPGP computes it.
    Other(Box<dyn DynDigest + Send>),
}

impl Hasher {
    /// Takes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha512(hash) => hash.update(bytes),
            Hasher::Elsewhere => {}
            Hasher::Other(hash) => hash.update(bytes),
        }
    }

    /// In the form that rPGP adds a signature's own data to. `elsewhere` is what somebody else has
    /// computed: without it there is a hash of nothing, which vouches for no file.
    pub(crate) fn finished(self, elsewhere: Option<&Sha512>) -> Box<dyn DynDigest + Send> {
        match self {
            Hasher::Sha512(hash) => Box::new(Adapter(hash)),
            Hasher::Elsewhere => Box::new(Adapter(elsewhere.cloned().unwrap_or_else(Sha512::new))),
            Hasher::Other(hash) => hash,
        }
    }
}

#[derive(Clone)]
struct Adapter(Sha512);

impl OutputSizeUser for Adapter {
    type OutputSize = U64;
}

impl Update for Adapter {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

impl Reset for Adapter {
    fn reset(&mut self) {
        self.0 = Sha512::new();
    }
}

impl FixedOutputReset for Adapter {
    fn finalize_into_reset(&mut self, out: &mut Output<Self>) {
        let seen = std::mem::replace(&mut self.0, Sha512::new());
        out.copy_from_slice(&seen.finish());
    }
}

impl FixedOutput for Adapter {
    fn finalize_into(self, out: &mut Output<Self>) {
        out.copy_from_slice(&self.0.finish());
    }
}
