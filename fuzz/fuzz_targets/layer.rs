//! Any bytes as a layer of an OCI image.
#![no_main]

use libfuzzer_sys::fuzz_target;
use store::Limits;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        bytes: 1 << 24,
        entries: 1000,
        ..Limits::default()
    };
    let _ = store::check_layer(bytes, &limits);
    let _ = store::list_archive(bytes);
});
