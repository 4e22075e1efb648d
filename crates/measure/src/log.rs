//! The log: a header that names the banks, then one record for each event. All numbers are
//! little-endian ("PC Client Platform Firmware Profile", 10.2 and 10.4).

use crate::hash::hex;
use crate::tpm::Bank;
use crate::{Algorithm, EVENT_TYPE, PCR, tpmd};

/// The type of records that extend nothing.
const NO_ACTION: u32 = 3;
const SIGNATURE: &[u8; 16] = b"Spec ID Event03\0";
/// Client platforms; version 2.0 of the format, with 64-bit sizes.
const PLATFORM: [u8; 8] = [0, 0, 0, 0, 0, 2, 0, 2];
/// Before the values that a PCR had when the log, or a new part of it, began.
const VALUE: &str = "rkt: PCR 15 is";
/// No event is longer.
const EVENT_MAX: u32 = 1 << 20;
/// More banks than any TPM has.
const BANKS_MAX: u32 = 16;

/// What makes a log unreadable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {reason}")]
pub struct Fault {
    /// Where.
    pub offset: usize,
    /// Why.
    pub reason: &'static str,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The register.
    pub pcr: u32,
    /// What kind of event it is.
    pub kind: u32,
    /// What the register is extended by, in each bank.
    pub digests: Vec<Bank>,
    /// The event itself.
    pub data: Vec<u8>,
}

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The banks.
    pub banks: Vec<Algorithm>,
    /// The events, in order.
    pub events: Vec<Event>,
    /// Bytes of what is whole: a record that a crash cut short follows at most.
    pub length: usize,
}

impl Event {
    /// A pod's, for these banks of a TPM 2.0.
    pub(crate) fn of_pod(text: &str, banks: &[Algorithm]) -> Self {
        let digest = |bank: &Algorithm| (*bank, bank.of(&[text.as_bytes()]));
        Self {
            pcr: PCR,
            kind: EVENT_TYPE,
            digests: banks.iter().map(digest).collect(),
            data: text.into(),
        }
    }

    /// A pod's, for the one bank behind `tpmd`.
    pub(crate) fn of_tpmd(text: &str) -> Self {
        Self {
            digests: vec![(Algorithm::Sha1, tpmd::digest(text.as_bytes()))],
            ..Self::of_pod(text, &[])
        }
    }

    /// Says what the PCR was extended to by others.
    pub(crate) fn value(values: &[Bank]) -> Self {
        let words = values
            .iter()
            .map(|(bank, value)| format!(" {}={}", bank.name(), hex(value)));
        let zeros = |(bank, _): &Bank| (*bank, vec![0; bank.size()]);
        Self {
            pcr: PCR,
            kind: NO_ACTION,
            digests: values.iter().map(zeros).collect(),
            data: format!("{VALUE}{}", words.collect::<String>()).into(),
        }
    }

    /// Whether it extends its register.
    pub fn extends(&self) -> bool {
        self.kind != NO_ACTION
    }

    /// Whether the digests are those of the data.
    pub fn is_consistent(&self) -> bool {
        let tpmd = self.digests.len() == 1 && self.digests[0].1 == tpmd::digest(&self.data);
        let own = |(bank, digest): &Bank| *digest == bank.of(&[&self.data]);
        !self.extends() || tpmd || self.digests.iter().all(own)
    }

    /// The values that the register has from here on, if the event says so.
    fn values(&self) -> Option<Vec<Bank>> {
        let text = std::str::from_utf8(&self.data).ok()?;
        let words = text.strip_prefix(VALUE).filter(|_| !self.extends())?;
        let value = |word: &str| {
            let (name, digits) = word.split_once('=')?;
            let bank = Algorithm::ALL.into_iter().find(|a| a.name() == name)?;
            let bytes: Option<Vec<u8>> = digits
                .as_bytes()
                .chunks(2)
                .map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok())
                .collect();
            Some((bank, bytes.filter(|bytes| bytes.len() == bank.size())?))
        };
        words.split_whitespace().map(value).collect()
    }

    /// As a record of the log.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [self.pcr, self.kind, self.digests.len() as u32] {
            bytes.extend(number.to_le_bytes());
        }
        for (bank, digest) in &self.digests {
            bytes.extend(bank.id().to_le_bytes());
            bytes.extend(digest);
        }
        bytes.extend((self.data.len() as u32).to_le_bytes());
        bytes.extend(&self.data);
        bytes
    }
}

/// The header of a log for these banks.
pub(crate) fn header(banks: &[Algorithm]) -> Vec<u8> {
    let mut spec = SIGNATURE.to_vec();
    spec.extend(PLATFORM);
    spec.extend((banks.len() as u32).to_le_bytes());
    for bank in banks {
        spec.extend(bank.id().to_le_bytes());
        spec.extend((bank.size() as u16).to_le_bytes());
    }
    // No vendor's data.
    spec.push(0);
    let mut bytes = 0u32.to_le_bytes().to_vec();
    bytes.extend(NO_ACTION.to_le_bytes());
    bytes.extend([0; 20]);
    bytes.extend((spec.len() as u32).to_le_bytes());
    bytes.extend(spec);
    bytes
}

impl Log {
    /// Reads a log.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let mut rest = Rest { bytes, at: 0 };
        let banks = rest
            .header()
            .ok_or_else(|| rest.fault("there is no header of a crypto-agile log"))?;
        let mut log = Self {
            banks,
            events: Vec::new(),
            length: rest.at,
        };
        while rest.at < bytes.len() {
            match rest.event(&log.banks)? {
                Some(event) => log.events.push(event),
                None => break,
            }
            log.length = rest.at;
        }
        Ok(log)
    }

    /// The value that the PCR has after these events.
    pub fn replay(&self) -> Vec<Bank> {
        self.replay_first(self.events.len())
    }

    /// The same after the first of them.
    pub(crate) fn replay_first(&self, count: usize) -> Vec<Bank> {
        let zeros = |bank: &Algorithm| (*bank, vec![0; bank.size()]);
        let mut values: Vec<Bank> = self.banks.iter().map(zeros).collect();
        for event in self.events.iter().take(count).filter(|e| e.pcr == PCR) {
            if let Some(new) = event.values() {
                values = new;
            }
            if !event.extends() {
                continue;
            }
            for (bank, value) in &mut values {
                let digest = event.digests.iter().find(|(other, _)| other == bank);
                if let Some((_, digest)) = digest {
                    *value = bank.of(&[value, digest]);
                }
            }
        }
        values
    }
}

/// What is left of a log.
struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn fault(&self, reason: &'static str) -> Fault {
        Fault {
            offset: self.at,
            reason,
        }
    }

    fn header(&mut self) -> Option<Vec<Algorithm>> {
        let (pcr, kind) = (self.u32()?, self.u32()?);
        self.take(20)?;
        let size = self.u32()? as usize;
        let end = self.at.checked_add(size)?;
        let signature = self.take(SIGNATURE.len())?;
        self.take(PLATFORM.len())?;
        if (pcr, kind) != (0, NO_ACTION) || signature != SIGNATURE {
            return None;
        }
        let count = Some(self.u32()?).filter(|count| *count <= BANKS_MAX)?;
        let bank = |_| {
            let (bank, size) = (Algorithm::from_id(self.u16()?)?, self.u16()?);
            (usize::from(size) == bank.size()).then_some(bank)
        };
        let banks = (0..count).map(bank).collect::<Option<_>>()?;
        let vendor = self.take(1)?[0];
        self.take(vendor.into())?;
        (self.at == end).then_some(banks)
    }

    /// The next record; none if it is cut short.
    fn event(&mut self, banks: &[Algorithm]) -> Result<Option<Event>, Fault> {
        let start = self.at;
        let (Some(pcr), Some(kind), Some(count)) = (self.u32(), self.u32(), self.u32()) else {
            return Ok(None);
        };
        if count > BANKS_MAX {
            return Err(Fault {
                offset: start,
                reason: "an event has too many digests",
            });
        }
        let mut digests = Vec::new();
        for _ in 0..count {
            let Some(id) = self.u16() else {
                return Ok(None);
            };
            let bank = Algorithm::from_id(id).filter(|bank| banks.contains(bank));
            let bank = bank
                .ok_or_else(|| self.fault("an event is of a bank that the header does not name"))?;
            let Some(digest) = self.take(bank.size()) else {
                return Ok(None);
            };
            digests.push((bank, digest.to_vec()));
        }
        let Some(size) = self.u32() else {
            return Ok(None);
        };
        if size > EVENT_MAX {
            return Err(self.fault("an event is too long"));
        }
        let Some(data) = self.take(size as usize) else {
            return Ok(None);
        };
        Ok(Some(Event {
            pcr,
            kind,
            digests,
            data: data.to_vec(),
        }))
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
