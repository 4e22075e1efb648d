//! Any bytes as a detached signature and as public keys: a signature that nobody made verifies
//! nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::{Key, Signatures};

fuzz_target!(|bytes: &[u8]| {
    let keys = Key::parse_all(bytes).unwrap_or_default();
    for key in &keys {
        let _ = (key.shown_fingerprint(), key.user_ids(), key.armoured());
    }
    if let Ok(mut hashing) = Signatures::parse(bytes).and_then(Signatures::hashing) {
        hashing.update(b"what nobody signed");
        let _ = hashing.verify(&keys);
    }
});
