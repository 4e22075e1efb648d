//! The kind `tpm`: where pods are measured.

use std::path::PathBuf;

use crate::Result;
use crate::dirs::{Dirs, Layer, load};
use crate::entry::Entry;

/// How pods are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measuring {
    /// With the machine's TPM 2.0 if it has one.
    Auto,
    /// With it, and no pod runs without.
    Device,
    /// By a `tpmd`, and no pod runs without.
    Tpmd,
    /// Not at all.
    None,
}

impl Measuring {
    const ALL: [Self; 4] = [Self::Auto, Self::Device, Self::Tpmd, Self::None];

    /// The word in the configuration.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Device => "device",
            Self::Tpmd => "tpmd",
            Self::None => "none",
        }
    }
}

/// How pods are measured, as far as it is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tpm {
    /// Where measurements go.
    pub measure: Option<Measuring>,
    /// The host and port of `tpmd`.
    pub address: Option<String>,
    /// The files that define them.
    sources: [Option<PathBuf>; 2],
}

impl Tpm {
    /// Reads the kind.
    ///
    /// # Errors
    /// As [`Credentials::load`](crate::Credentials::load).
    pub fn load(dirs: &Dirs) -> Result<Self> {
        load(dirs)
    }
}

impl Layer for Tpm {
    const DIRECTORY: &'static str = "tpm.d";

    fn add(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind() != "tpm" {
            return Err(entry.misplaced(Self::DIRECTORY));
        }
        let [measure_source, address_source] = &mut self.sources;
        if let Some(word) = entry.optional("measure")? {
            let found = Measuring::ALL.into_iter().find(|how| how.word() == word);
            let how =
                found.ok_or_else(|| entry.bad("measure", "must be auto, device, tpmd or none"))?;
            if let Some(earlier) = measure_source.replace(entry.path.clone()) {
                return Err(entry.duplicate("\"measure\"", &earlier));
            }
            self.measure = Some(how);
        }
        if let Some(address) = entry.optional("address")? {
            let port = address
                .rsplit_once(':')
                .map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(_))) || !crate::entry::is_host(address) {
                return Err(entry.bad("address", "must be a host and a port"));
            }
            if let Some(earlier) = address_source.replace(entry.path.clone()) {
                return Err(entry.duplicate("\"address\"", &earlier));
            }
            self.address = Some(address.to_owned());
        }
        Ok(())
    }

    fn supersede(&mut self, higher: Self) {
        self.measure = higher.measure.or(self.measure);
        self.address = higher.address.or(self.address.take());
    }
}
