//! Any page as one that tells where images are.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|page: &[u8]| {
    if let Ok(name) = appc::AcIdentifier::parse("example.com/app") {
        fetch::read_page(page, &name);
    }
});
