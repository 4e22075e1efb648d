//! Calling cargo, and where it puts things.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Runs cargo in the workspace, its output shown.
pub(crate) fn cargo(args: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(args).current_dir(root()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("cargo {}: {status}", args.join(" "))),
        Err(error) => Err(format!("cannot execute cargo: {error}")),
    }
}

/// Builds these packages as they are released and returns the folder of the programs.
pub(crate) fn release(packages: &[&str]) -> Result<PathBuf> {
    let mut args = vec!["build", "--quiet", "--release"];
    for package in packages {
        args.extend(["--package", package]);
    }
    cargo(&args)?;
    Ok(profile_dir()?.with_file_name("release"))
}

/// `target/<triple>/<profile>` of this program.
pub(crate) fn profile_dir() -> Result<PathBuf> {
    let exe = std::env::current_exe().map_err(|e| format!("cannot find myself: {e}"))?;
    exe.parent()
        .map(Path::to_owned)
        .ok_or_else(|| "no folder above me".to_owned())
}
