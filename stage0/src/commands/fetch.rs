//! `rkt fetch`.

use clap::{ArgMatches, Command};

use super::Entry;
use crate::cli::flags::{Values, list, switch, text, words};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::images::{Images, PullPolicy};
use crate::output;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "fetch",
    about: "Fetch image(s) and store them in the local store",
    usage: "fetch IMAGE_URL...",
    long: "Locates and downloads remote ACIs and their attached signatures.\n\nIf the ACI was already fetched, it is only fetched again when it changed.",
    arguments,
    run: fetch,
    deprecated: DEPRECATED,
    ..Entry::BASE
};

/// Flags that old scripts still give.
pub(super) const DEPRECATED: &[(&str, &str)] = &[
    ("store-only", "please use --pull-policy=never"),
    ("no-store", "please use --pull-policy=update"),
];

/// Adds the flags.
pub(super) fn arguments(command: Command) -> Command {
    command.args([
        list(
            "signature",
            "local signature file to use in validating the preceding image",
        ),
        switch(
            "store-only",
            "use only available images in the store (do not discover or download from remote URLs)",
        )
        .hide(true),
        switch("no-store", "fetch images ignoring the local store").hide(true),
        text("pull-policy", "update", "when to pull an image"),
        switch("full", "print the full image hash after fetching"),
        words("image"),
    ])
}

/// Runs it; `image fetch` is the same.
pub(super) fn fetch(context: &Context, matches: &ArgMatches) -> Outcome {
    let names = matches.strings("image");
    if names.is_empty() {
        return Err(Failure::new("must provide at least one image"));
    }
    if !matches.strings("signature").is_empty() {
        return Err(Failure::new(
            "--signature: signature checking is not available in this version; use --insecure-options=image",
        ));
    }
    let policy = PullPolicy::read(matches)?;
    let images = Images::open(context);
    let full = matches.is("full");
    super::each(names, |name| {
        let id = images.find(context, name, policy)?;
        output::line(if full { id.as_str() } else { short(&id) });
        Ok(())
    })
}

/// The beginning of an ID that people are shown.
pub(super) fn short(id: &store::ImageId) -> &str {
    id.as_str().get(..SHORT).unwrap_or(id.as_str())
}

/// `sha512-` and twelve digits.
const SHORT: usize = 19;
