//! The hashes of a TPM's banks ("TCG Algorithm Registry").

use ring::digest;

/// An algorithm of a bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// The only one of a TPM 1.2.
    Sha1,
    /// Of every TPM 2.0.
    Sha256,
    /// Of some.
    Sha384,
    /// Of some.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Its number (`TPM_ALG_ID`).
    pub fn id(self) -> u16 {
        match self {
            Self::Sha1 => 0x4,
            Self::Sha256 => 0xb,
            Self::Sha384 => 0xc,
            Self::Sha512 => 0xd,
        }
    }

    /// The one with this number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.id() == id)
    }

    /// Its name, as the kernel and tpm2-tools write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Bytes of a digest.
    pub fn size(self) -> usize {
        self.ring().output_len()
    }

    /// The digest of these bytes after each other.
    pub fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = digest::Context::new(self.ring());
        parts.iter().for_each(|part| context.update(part));
        context.finish().as_ref().to_vec()
    }

    fn ring(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

/// Lower-case digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
