//! Any text as each of the values that a command line takes: refused, or read again to the same.
#![no_main]

use appc::{
    Date, EnvironmentVariable, ExposedPort, Hash, ImageName, Mount, Quantity, SemVer, Uuid, Volume,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = (
        Volume::parse(text),
        Mount::parse(text),
        Mount::parse_with_volume(text),
    );
    let _ = (
        ExposedPort::parse(text),
        ExposedPort::parse_with_pod_port(text),
    );
    let _ = (EnvironmentVariable::parse(text), SemVer::parse(text));
    if let Ok(name) = ImageName::parse(text) {
        let again = ImageName::parse(&name.to_string()).expect("what was written is valid");
        assert_eq!(name.to_string(), again.to_string());
    }
    if let Ok(quantity) = Quantity::parse(text) {
        // Thousandths leave the range first, on either side.
        let milli = quantity.milli_value();
        let held = milli == i64::MAX || milli == i64::MIN;
        assert!(held || i128::from(quantity.value()) * 1000 >= i128::from(milli));
    }
    if let Ok(hash) = Hash::parse(text) {
        assert!(hash.same_as(&Hash::parse(hash.short()).expect("a short hash is a hash")));
    }
    if let Ok(id) = Uuid::parse(text) {
        assert_eq!(Uuid::parse(&id.simple()), Ok(id));
    }
    if let Ok(date) = Date::parse(text) {
        let (seconds, nanoseconds) = date.unix();
        // An offset can push the first and the last hours out of the years that can be written.
        if (-62_167_219_200..=253_402_300_799).contains(&seconds) {
            assert_eq!(
                Date::from_unix(seconds, nanoseconds).unix(),
                (seconds, nanoseconds)
            );
        }
    }
});
