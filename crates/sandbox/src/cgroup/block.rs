//! Block devices, for the limits that hold on every one of them.

use std::path::Path;

use crate::error::{Context, Error};

/// `MAJOR:MINOR` of every block device that holds something now. One that is plugged in later is
/// not among them.
pub(super) fn devices() -> Result<Vec<String>, Error> {
    const DIR: &str = "/sys/block";
    let mut devices = Vec::new();
    for entry in std::fs::read_dir(DIR).context("read", DIR)? {
        let device = entry.context("read", DIR)?.path();
        // Loop devices that nothing is attached to have no size.
        if text(&device, "size").is_none_or(|size| size == "0") {
            continue;
        }
        devices.extend(text(&device, "dev"));
    }
    devices.sort_unstable();
    Ok(devices)
}

/// One that goes away meanwhile has nothing to limit.
fn text(device: &Path, file: &str) -> Option<String> {
    let text = std::fs::read_to_string(device.join(file)).ok()?;
    Some(text.trim().to_owned())
}
