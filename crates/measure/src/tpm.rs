//! The commands of a TPM 2.0 that are needed ("Trusted Platform Module Library", parts 2 and 3):
//! which banks a PCR is in, its value, and its extension. All numbers are big-endian.

use std::io::{Read, Write};

use crate::{Algorithm, Error, Result};

/// A bank and what the PCR has or gets in it.
pub type Bank = (Algorithm, Vec<u8>);

/// Tags of commands without and with an authorization, and of their answers.
const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
/// A session that is a password, here an empty one.
const PASSWORD: u32 = 0x4000_0009;
/// The longest answer of any TPM.
const ANSWER_MAX: usize = 4096;
/// More banks than any TPM has.
const BANKS_MAX: u32 = 16;
/// Bytes that select among 24 PCRs.
const SELECTION: u8 = 3;

const GET_CAPABILITY: (u32, &str) = (0x17a, "ask the TPM for its banks");
const PCR_READ: (u32, &str) = (0x17e, "read the PCR");
const PCR_EXTEND: (u32, &str) = (0x182, "extend the PCR");
const CAP_PCRS: u32 = 5;

/// The banks that a PCR is in.
///
/// # Errors
/// The TPM does not answer as it should, or has a bank of an unknown algorithm.
pub fn banks(tpm: &mut (impl Read + Write), pcr: u32) -> Result<Vec<Algorithm>> {
    let mut body = Vec::new();
    for number in [CAP_PCRS, 0, 1] {
        body.extend(number.to_be_bytes());
    }
    let answer = command(tpm, GET_CAPABILITY, NO_SESSIONS, &body)?;
    let mut answer = Answer(&answer);
    let mut parse = || -> Option<Vec<(u16, bool)>> {
        // Whether there is more, and the capability.
        answer.take(5)?;
        selections(&mut answer, pcr)
    };
    let all = parse().ok_or(Error::Malformed(GET_CAPABILITY.1))?;
    let active = all.into_iter().filter(|(_, selected)| *selected);
    let known = active.map(|(id, _)| Algorithm::from_id(id).ok_or(Error::Bank(id)));
    let banks: Vec<_> = known.collect::<Result<_>>()?;
    match banks.is_empty() {
        true => Err(Error::NoBank),
        false => Ok(banks),
    }
}

/// The value of a PCR in each of these banks.
///
/// # Errors
/// The TPM does not answer as it should.
pub fn read(tpm: &mut (impl Read + Write), pcr: u32, banks: &[Algorithm]) -> Result<Vec<Bank>> {
    // One by one: the order of several is the TPM's choice.
    let one = |bank: &Algorithm| {
        let mut body = 1u32.to_be_bytes().to_vec();
        body.extend(bank.id().to_be_bytes());
        body.push(SELECTION);
        body.extend((1u32 << pcr).to_le_bytes().iter().take(SELECTION.into()));
        let answer = command(tpm, PCR_READ, NO_SESSIONS, &body)?;
        let mut answer = Answer(&answer);
        let mut parse = || -> Option<Vec<u8>> {
            // How often any PCR was changed.
            answer.take(4)?;
            selections(&mut answer, pcr)?;
            let one = answer.u32()? == 1 && usize::from(answer.u16()?) == bank.size();
            one.then(|| answer.take(bank.size()))?.map(<[u8]>::to_vec)
        };
        let value = parse().ok_or(Error::Malformed(PCR_READ.1))?;
        Ok((*bank, value))
    };
    banks.iter().map(one).collect()
}

/// Extends a PCR by these digests.
///
/// # Errors
/// The TPM refuses or does not answer as it should.
pub fn extend(tpm: &mut (impl Read + Write), pcr: u32, digests: &[Bank]) -> Result<()> {
    let mut body = pcr.to_be_bytes().to_vec();
    // The size of the authorization: a handle, no nonce, no attributes, no password.
    body.extend(9u32.to_be_bytes());
    body.extend(PASSWORD.to_be_bytes());
    body.extend([0; 5]);
    body.extend((digests.len() as u32).to_be_bytes());
    for (bank, digest) in digests {
        body.extend(bank.id().to_be_bytes());
        body.extend(digest);
    }
    command(tpm, PCR_EXTEND, SESSIONS, &body).map(drop)
}

/// Sends a command; what its answer holds after the header.
fn command(
    tpm: &mut (impl Read + Write),
    (code, what): (u32, &'static str),
    tag: u16,
    body: &[u8],
) -> Result<Vec<u8>> {
    let mut bytes = tag.to_be_bytes().to_vec();
    bytes.extend((body.len() as u32 + 10).to_be_bytes());
    bytes.extend(code.to_be_bytes());
    bytes.extend(body);
    tpm.write_all(&bytes)
        .map_err(|source| Error::Silent(what, source))?;
    // The device gives an answer whole, to one call.
    let mut answer = [0; ANSWER_MAX];
    let length = tpm
        .read(&mut answer)
        .map_err(|source| Error::Silent(what, source))?;
    match parse_response(&answer[..length]) {
        Some((0, rest)) => Ok(rest.to_vec()),
        Some((code, _)) => Err(Error::Refused(what, code)),
        None => Err(Error::Malformed(what)),
    }
}

/// The code of an answer and what follows it; `None` if it is no answer or not whole.
pub fn parse_response(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut answer = Answer(bytes);
    let tag = answer.u16()?;
    let size = answer.u32()?;
    let code = answer.u32()?;
    let whole = size as usize == bytes.len() && [NO_SESSIONS, SESSIONS].contains(&tag);
    whole.then_some((code, answer.0))
}

/// A list of banks, and whether the PCR is selected in each.
fn selections(answer: &mut Answer<'_>, pcr: u32) -> Option<Vec<(u16, bool)>> {
    let count = Some(answer.u32()?).filter(|count| *count <= BANKS_MAX)?;
    let one = |_| {
        let id = answer.u16()?;
        let size = answer.take(1)?[0];
        let bits = answer.take(size.into())?;
        let byte = bits.get(pcr as usize / 8).copied().unwrap_or(0);
        Some((id, byte >> (pcr % 8) & 1 == 1))
    };
    (0..count).map(one).collect()
}

/// What is left of an answer.
struct Answer<'a>(&'a [u8]);

impl<'a> Answer<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
}
