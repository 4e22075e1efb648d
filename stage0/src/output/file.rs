//! Files that commands write for the user.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::failure::{Doing, Failure};

/// Writes a file under a temporary name first: at its place it is whole or not there. `problem`
/// says what was tried, for errors.
pub(crate) fn write_whole<E: Error + Send + Sync + 'static>(
    output: &Path,
    overwrite: bool,
    problem: impl Fn() -> String,
    write: impl FnOnce(File) -> Result<(), E>,
) -> Result<(), Failure> {
    if !overwrite && output.symlink_metadata().is_ok() {
        return Err(Failure::new(format!(
            "output file {} exists, use --overwrite to replace it",
            output.display()
        )));
    }
    let temporary = temporary(output);
    let written = File::create_new(&temporary)
        .doing_with(&problem)
        .and_then(|file| write(file).doing_with(&problem))
        .and_then(|()| place(&temporary, output, overwrite).doing_with(&problem));
    if written.is_err() {
        // It may not even have been made.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Refuses a name that does not end with `.aci`.
pub(crate) fn must_be_aci(output: &Path) -> Result<(), Failure> {
    match output.extension().is_some_and(|e| e == "aci") {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "extension must be .aci (given {:?})",
            output.display()
        ))),
    }
}

fn temporary(output: &Path) -> PathBuf {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    output.with_file_name(format!(".{name}.{}", std::process::id()))
}

/// Puts the finished file where it belongs; what appeared there meanwhile is kept.
fn place(temporary: &Path, output: &Path, overwrite: bool) -> std::io::Result<()> {
    let flags = match overwrite {
        true => RenameFlags::empty(),
        false => RenameFlags::NOREPLACE,
    };
    Ok(renameat_with(CWD, temporary, CWD, output, flags)?)
}
