//! Any bytes as a detached signature and as public keys: a signature that nobody made verifies
//! nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::{CosignKey, Key, Signatures};

/// An Ed25519 key of cosign whose owner signs nothing here.
const COSIGN: &[u8] = b"-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=
-----END PUBLIC KEY-----
";

fuzz_target!(|bytes: &[u8]| {
    let keys = Key::parse_all(bytes).unwrap_or_default();
    for key in &keys {
        let _ = (key.shown_fingerprint(), key.user_ids(), key.armoured());
    }
    if let Ok(mut hashing) = Signatures::parse(bytes).and_then(Signatures::hashing) {
        hashing.update(b"what nobody signed");
        let _ = hashing.verify(&keys, None);
    }
    let _ = CosignKey::parse(bytes);
    if let (Ok(key), Some((signature, payload))) =
        (CosignKey::parse(COSIGN), bytes.split_at_checked(64))
    {
        assert!(!matches!(key.verify(payload, signature), Ok(Some(_))));
    }
});
