//! `rkt image cat-manifest`.

use std::process::ExitCode;

use crate::cli::flags::{Values, switch, words};
use crate::commands::{Entry, pretty};
use crate::failure::{Doing, Failure};
use crate::images::Images;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "cat-manifest",
    about: "Inspect and print the image manifest",
    usage: "cat-manifest IMAGE",
    long: "IMAGE should be a string referencing an image: either an ID or an image name.",
    arguments: |command| {
        command.args([
            switch("pretty-print", "apply indent to format the output").default_value("true"),
            words("image"),
        ])
    },
    run: |context, matches| {
        let names = matches.strings("image");
        let [name] = names.as_slice() else {
            return Err(Failure::new("must provide exactly one image"));
        };
        let images = Images::open(context);
        let id = images.lookup(name)?;
        let bytes = images
            .store
            .manifest_bytes(&id)
            .doing_with(|| format!("cannot read the manifest of image {name:?}"))?;
        pretty::manifest(&bytes, matches.is("pretty-print"))?;
        Ok(ExitCode::SUCCESS)
    },
    ..Entry::BASE
};
