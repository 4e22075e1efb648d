//! Any bytes as a manifest, an index and a configuration: what is accepted makes a valid manifest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{Config, Digest, Document, Origin, Platform};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Document::Index(index)) = Document::parse(bytes) {
        let _ = index.choose(&Platform::host());
    }
    let digest = Digest::from_sha256(&[7; 32]);
    let Ok(name) = appc::AcIdentifier::parse("example.com/app") else {
        return;
    };
    let origin = Origin {
        name,
        tag: Some("latest".to_owned()),
        repository: None,
        original: "fuzz".to_owned(),
    };
    if let Ok(config) = Config::parse(bytes)
        && let Ok(manifest) = oci::to_appc(&config, &digest, &digest, &origin)
    {
        assert!(appc::ImageManifest::parse(&manifest.to_json()).is_ok());
    }
});
