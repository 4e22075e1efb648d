//! Any text as an image reference: refused, or a distribution point whose URI means the same.
#![no_main]

use distribution::{Distribution, Reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(Reference::Distribution(point)) = Reference::parse(text, |_| false) {
        let uri = point.to_uri();
        if let Ok(again) = Distribution::from_uri(&uri) {
            assert_eq!(again.to_uri(), uri);
        }
    }
});
