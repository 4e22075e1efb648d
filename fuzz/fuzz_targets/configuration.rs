//! Any bytes as a configuration file: refused or understood, and no secret in what is said.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = config::check(bytes) {
        assert!(!error.to_string().is_empty());
    }
});
