//! Kernel parameters under `/proc/sys`, those of the calling thread's network namespace.

use std::fs;

use crate::error::{Error, Result};

/// Sets a parameter unless it has the value already: reading is cheap, and under some hosts'
/// policies all that is allowed.
pub(crate) fn set(path: &str, value: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old.trim_end() == value) {
        return Ok(());
    }
    fs::write(path, value).map_err(Error::io("write", path))
}
