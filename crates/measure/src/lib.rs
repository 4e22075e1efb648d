//! Measurements of pods in a Trusted Platform Module (page "rkt and the Trusted Platform Module").
//!
//! Before a pod runs, what it is made of is one event in PCR 15, of type 0x1000, whose data is a
//! line of text ([`description`]). The module is a TPM 2.0 of this machine's ([`Module::Device`]), or
//! one that go-tspi's `tpmd` speaks to ([`Module::Tpmd`]).
//!
//! The events are in a log ([`log`]) for each start of the machine, in `measurements/<boot ID>` of
//! the data directory, in the crypto-agile format of the TCG ("PC Client Platform Firmware Profile",
//! 10.4). Replaying it gives the PCR's value.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

mod error;
mod hash;
pub mod log;
mod module;
mod tpm;
mod tpmd;

pub use error::Error;
pub use hash::{Algorithm, hex};
pub use module::{Module, measure};
pub use tpm::{Bank, banks, extend, parse_response, read};

/// What operations of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// The register that is extended.
pub const PCR: u32 = 15;
/// The type of a pod's event.
pub const EVENT_TYPE: u32 = 0x1000;
/// Where a `tpmd` listens.
pub const TPMD: &str = "127.0.0.1:12041";
/// The directory of the logs, below the data directory.
pub const DIRECTORY: &str = "measurements";
/// The kernel gives every TPM 2.0 this device, through which programs share it.
pub const DEVICE: &str = "/dev/tpmrm0";

/// What is measured of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement<'a> {
    /// The pod.
    pub uuid: &'a str,
    /// The names of stage1 and of the apps, and the hashes that were recorded when their trees were
    /// rendered: one for each layer that is a tree of its own, the highest first.
    pub trees: &'a [(String, Vec<String>)],
    /// The bytes of the pod's manifest.
    pub manifest: &'a [u8],
    /// What stage1 is told, one argument after the other.
    pub arguments: &'a [OsString],
}

/// The data of an event. Every part of it is a word, so that no name can pretend to be another part.
pub fn description(of: &Measurement<'_>) -> String {
    use std::fmt::Write;
    let mut text = format!("rkt: Pod: {} Rootfs:", of.uuid);
    for (name, hashes) in of.trees {
        // Writing into a String cannot fail.
        let _ = write!(text, " {}={}", name, hashes.join("+"));
    }
    let mut arguments = Vec::new();
    for argument in of.arguments {
        arguments.extend_from_slice(argument.as_bytes());
        arguments.push(0);
    }
    let sha256 = |bytes: &[u8]| hash::hex(&Algorithm::Sha256.of(&[bytes]));
    let _ = write!(
        text,
        " Manifest: sha256-{} Stage1 args: sha256-{}",
        sha256(of.manifest),
        sha256(&arguments)
    );
    text
}
