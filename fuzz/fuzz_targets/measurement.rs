//! Any bytes as an answer of a TPM, to each command, and as a log of measurements.
#![no_main]

use std::io::{self, Read, Write};

use libfuzzer_sys::fuzz_target;
use measure::log::Log;

/// A TPM that gives one answer to everything.
struct Answering<'a>(&'a [u8]);

impl Read for Answering<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.0.len().min(into.len());
        into[..length].copy_from_slice(&self.0[..length]);
        Ok(length)
    }
}

impl Write for Answering<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let _ = measure::parse_response(bytes);
    if let Ok(banks) = measure::banks(&mut Answering(bytes), measure::PCR) {
        assert!(!banks.is_empty());
    }
    for bank in measure::Algorithm::ALL {
        if let Ok(values) = measure::read(&mut Answering(bytes), measure::PCR, &[bank]) {
            assert_eq!(values[0].1.len(), bank.size());
        }
    }
    if let Ok(log) = Log::parse(bytes) {
        assert!(log.length <= bytes.len());
        assert_eq!(log.replay().len(), log.banks.len());
        // What is whole is read again to the same.
        assert_eq!(Log::parse(&bytes[..log.length]), Ok(log));
    }
});
