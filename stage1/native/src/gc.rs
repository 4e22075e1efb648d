//! The gc entrypoint: takes away what a pod may have left outside its directory, also after its
//! main process was killed. The run entrypoint ends with the same steps.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use stage1_abi::{GcArgs, path};

use crate::error::Error;
use crate::host;
use crate::network::{self, End};

/// Cleans up after the exited pod in the working directory.
pub(crate) fn gc(args: impl IntoIterator<Item = OsString>) -> Result<u8, Error> {
    let args = GcArgs::parse(args)?;
    host::unlink_journal(&args.uuid);
    Ok(
        match clean_up(&args.uuid, args.local_config.as_deref(), End::LongAgo) {
            true => 0,
            false => crate::FAILURE,
        },
    )
}

/// Removes networks and cgroups; tells what could not be removed and goes on. Whether all went.
pub(crate) fn clean_up(uuid: &str, local_config: Option<&Path>, end: End<'_>) -> bool {
    let mut errors = network::tear_down(uuid, local_config, end);
    errors.extend(remove_cgroups());
    for error in &errors {
        eprintln!("rkt: pod {uuid}: {error}");
    }
    errors.is_empty()
}

/// The pod's cgroup directories.
pub(crate) fn cgroups() -> Vec<PathBuf> {
    let text = std::fs::read_to_string(path::CGROUPS).unwrap_or_default();
    text.lines().map(PathBuf::from).collect()
}

fn remove_cgroups() -> Vec<String> {
    let removed = cgroups().into_iter().map(|d| sandbox::cgroup::remove(&d));
    removed
        .filter_map(|result| result.err().map(|e| e.to_string()))
        .collect()
}
