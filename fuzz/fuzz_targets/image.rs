//! Any bytes as an image, plain or compressed: refused, or an archive whose manifest is sound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use store::{Limits, check_image};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        bytes: 64 << 20,
        ..Limits::default()
    };
    if let Ok(manifest) = check_image(bytes, &limits) {
        manifest.validate().expect("what was accepted is valid");
    }
});
