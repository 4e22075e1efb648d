//! One measurement: a record in the log and the extension of the PCR, in step.
//!
//! The record is written and synced first, so that the PCR never holds what the log does not. Who is
//! killed between the two leaves a record too many at the end, which the next measurement sees by
//! the PCR's value, and extends.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::log::{self, Event, Log};
use crate::tpm::Bank;
use crate::{Algorithm, DEVICE, DIRECTORY, Error, PCR, Result, tpm, tpmd};

/// Which start of the machine this is.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// No log is larger.
const LOG_MAX: u64 = 1 << 28;

/// A Trusted Platform Module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Module {
    /// A TPM 2.0, by its device.
    Device(PathBuf),
    /// Whatever is behind the `tpmd` at this address.
    Tpmd(String),
}

impl Module {
    /// This machine's TPM 2.0, if it has one. One system call.
    pub fn of_host() -> Option<Self> {
        let there = rustix::fs::access(DEVICE, rustix::fs::Access::EXISTS).is_ok();
        there.then(|| Self::Device(DEVICE.into()))
    }
}

/// Measures a pod: adds the event to the log in the data directory and extends the PCR.
///
/// # Errors
/// The module or the log cannot be used. The pod must not run then.
pub fn measure(module: &Module, data_dir: &Path, event: &str) -> Result<()> {
    match module {
        Module::Device(path) => {
            let mut tpm = File::options()
                .read(true)
                .write(true)
                .open(path)
                .map_err(Error::io("open", path))?;
            measure_with(&mut tpm, data_dir, event)
        }
        Module::Tpmd(address) => {
            let mut log = OpenLog::open(data_dir, "-tpmd", &[Algorithm::Sha1])?;
            log.append(Event::of_tpmd(event))?;
            let extended = tpmd::extend(address, event);
            // Without an answer it may have been extended or not; nobody can ask.
            if extended.as_ref().is_err_and(Error::is_refusal) {
                log.take_back()?;
            }
            extended
        }
    }
}

/// The same with an open TPM 2.0.
pub(crate) fn measure_with(
    tpm: &mut (impl Read + Write),
    data_dir: &Path,
    event: &str,
) -> Result<()> {
    let banks = tpm::banks(tpm, PCR)?;
    let mut log = OpenLog::open(data_dir, "", &banks)?;
    settle(tpm, &mut log)?;
    let event = Event::of_pod(event, &banks);
    let digests = event.digests.clone();
    log.append(event)?;
    let extended = tpm::extend(tpm, PCR, &digests);
    if extended.as_ref().is_err_and(Error::is_refusal) {
        log.take_back()?;
    }
    extended
}

/// Brings the PCR and the log into step.
fn settle(tpm: &mut (impl Read + Write), log: &mut OpenLog) -> Result<()> {
    let value = tpm::read(tpm, PCR, &log.log.banks)?;
    if value == log.log.replay() {
        return Ok(());
    }
    match log.log.events.last() {
        // Its writer was killed before it came to that.
        Some(last) if last.extends() && log.is_one_ahead(&value) => {
            tpm::extend(tpm, PCR, &last.digests)
        }
        // Others use the register, too: systemd at boot, rkt with another data directory.
        _ => log.append(Event::value(&value)),
    }
}

/// The log of this start of the machine, locked.
struct OpenLog {
    file: File,
    path: PathBuf,
    log: Log,
}

impl OpenLog {
    fn open(data_dir: &Path, suffix: &str, banks: &[Algorithm]) -> Result<Self> {
        let boot = std::fs::read_to_string(BOOT).map_err(Error::io("read", BOOT))?;
        let directory = data_dir.join(DIRECTORY);
        let path = directory.join(format!("{}{suffix}", boot.trim()));
        match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create", directory)(error));
            }
            _ => {}
        }
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        flock(file.as_fd(), FlockOperation::LockExclusive)
            .map_err(|e| Error::io("lock", &path)(e.into()))?;
        let mut bytes = Vec::new();
        (&mut file)
            .take(LOG_MAX)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &path))?;
        let header = log::header(banks);
        // A crash may have cut even the header short, and a firmware may have changed the banks.
        let begun = header.starts_with(&bytes[..bytes.len().min(header.len())]);
        let new = begun && bytes.len() < header.len();
        let parsed = Log::parse(if new { &header } else { &bytes });
        let log = parsed.map_err(|source| Error::Log {
            path: path.clone(),
            source,
        })?;
        let mut open = Self { file, path, log };
        if new {
            open.write_at(0, &header)?;
            let synced = File::open(&directory).and_then(|directory| directory.sync_all());
            synced.map_err(Error::io("sync", directory))?;
        }
        Ok(open)
    }

    /// Whether the value is that before the last event.
    fn is_one_ahead(&self, value: &[Bank]) -> bool {
        self.log.replay_first(self.log.events.len() - 1) == value
    }

    fn append(&mut self, event: Event) -> Result<()> {
        let bytes = event.to_bytes();
        self.write_at(self.log.length, &bytes)?;
        self.log.length += bytes.len();
        self.log.events.push(event);
        Ok(())
    }

    /// Removes the last event, which did not happen.
    fn take_back(&mut self) -> Result<()> {
        if let Some(event) = self.log.events.pop() {
            self.log.length -= event.to_bytes().len();
        }
        self.write_at(self.log.length, &[])
    }

    /// Writes what the log ends with.
    fn write_at(&mut self, offset: usize, bytes: &[u8]) -> Result<()> {
        let mut write = || {
            self.file.set_len(offset as u64)?;
            self.file.seek(SeekFrom::Start(offset as u64))?;
            self.file.write_all(bytes)?;
            self.file.sync_data()
        };
        write().map_err(Error::io("write", &self.path))
    }
}

#[cfg(test)]
#[path = "module_tests.rs"]
mod tests;
