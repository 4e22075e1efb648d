//! Any bytes as a pod manifest: refused, or written back to the same manifest.
#![no_main]

use appc::PodManifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = PodManifest::parse(bytes) {
        let written = manifest.to_json();
        let again = PodManifest::parse(&written).expect("what was written is valid");
        assert_eq!(manifest, again);
        assert_eq!(written, again.to_json());
    }
});
