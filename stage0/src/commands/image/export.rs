//! `rkt image export`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::flags::{Values, switch, text, words};
use crate::commands::Entry;
use crate::failure::{Doing, Failure};
use crate::images::Images;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "export",
    about: "Export a stored image to an ACI file",
    usage: "export [--format=FORMAT] IMAGE OUTPUT_FILE",
    long: "IMAGE should be a string referencing an image: either an ID or an image name.\n\nNote that images must be fetched prior to running export and that this command\nalways returns uncompressed ACIs, or, with --format=oci, OCI archives.",
    arguments: |command| {
        command.args([
            switch("overwrite", "overwrite output ACI"),
            text(
                "format",
                "aci",
                "what to write: \"aci\", or \"oci\" for an OCI archive",
            ),
            words("words"),
        ])
    },
    run: |context, matches| {
        let given = matches.strings("words");
        let [name, output] = given.as_slice() else {
            return Err(Failure::new("must provide an image and an output file"));
        };
        let output = Path::new(output);
        let oci = match matches.str("format") {
            "aci" => false,
            "oci" => true,
            other => {
                return Err(Failure::new(format!(
                    "invalid value {other:?} for --format: must be aci or oci"
                )));
            }
        };
        if !oci && output.extension().is_none_or(|e| e != "aci") {
            return Err(Failure::new(format!(
                "extension must be .aci (given {:?})",
                output.display()
            )));
        }
        let images = Images::open(context);
        let id = images.lookup(name)?;
        export(&images, &id, output, oci, matches.is("overwrite"))?;
        Ok(ExitCode::SUCCESS)
    },
    ..Entry::BASE
};

/// Writes the file under a temporary name first: at its place it is whole or not there.
fn export(
    images: &Images,
    id: &store::ImageId,
    output: &Path,
    oci: bool,
    overwrite: bool,
) -> Result<(), Failure> {
    let problem = || format!("cannot export image {id} to {}", output.display());
    if !overwrite && output.symlink_metadata().is_ok() {
        return Err(Failure::new(format!(
            "output file {} exists, use --overwrite to replace it",
            output.display()
        )));
    }
    let temporary = temporary(output);
    let write = |file: File| match oci {
        true => {
            let name = images.store.info(id)?.version;
            let name = name.unwrap_or_else(|| "latest".to_owned());
            images.store.export_oci(id, &name, file)
        }
        false => images.store.export(id, file).map(drop),
    };
    let written = File::create_new(&temporary)
        .doing_with(problem)
        .and_then(|file| write(file).doing_with(problem))
        .and_then(|()| place(&temporary, output, overwrite).doing_with(problem));
    if written.is_err() {
        // It may not even have been made.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn temporary(output: &Path) -> PathBuf {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    output.with_file_name(format!(".{name}.{}", std::process::id()))
}

/// Puts the finished file where it belongs; what appeared there meanwhile is kept.
fn place(temporary: &Path, output: &Path, overwrite: bool) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let flags = match overwrite {
        true => RenameFlags::empty(),
        false => RenameFlags::NOREPLACE,
    };
    Ok(renameat_with(CWD, temporary, CWD, output, flags)?)
}
