//! `rkt image export`.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::flags::{Values, switch, text, words};
use crate::commands::Entry;
use crate::failure::Failure;
use crate::images::Images;
use crate::output::file::{must_be_aci, write_whole};

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
        if !oci {
            must_be_aci(output)?;
        }
        let images = Images::open(context);
        let id = images.lookup(name)?;
        export(&images, &id, output, oci, matches.is("overwrite"))?;
        Ok(ExitCode::SUCCESS)
    },
    ..Entry::BASE
};

fn export(
    images: &Images,
    id: &store::ImageId,
    output: &Path,
    oci: bool,
    overwrite: bool,
) -> Result<(), Failure> {
    let problem = || format!("cannot export image {id} to {}", output.display());
    write_whole(output, overwrite, problem, |file| match oci {
        true => {
            let name = images.store.info(id)?.version;
            let name = name.unwrap_or_else(|| "latest".to_owned());
            images.store.export_oci(id, &name, file)
        }
        false => images.store.export(id, file).map(drop),
    })
}
