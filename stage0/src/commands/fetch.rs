//! `rkt fetch`.

use clap::{ArgMatches, Command};

use super::Entry;
use super::pod_flags::placed;
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
    let requests = requests(matches)?;
    if requests.is_empty() {
        return Err(Failure::new("must provide at least one image"));
    }
    let policy = PullPolicy::read(matches)?;
    let images = Images::open(context);
    let full = matches.is("full");
    super::each(requests, |(name, signature)| {
        let id = images.find(context, name, policy, signature.as_deref())?;
        output::line(if full { id.as_str() } else { short(&id) });
        Ok(())
    })
}

/// The images, each with the signature file that follows it.
fn requests(matches: &ArgMatches) -> Result<Vec<(String, Option<String>)>, Failure> {
    let images = placed(matches, "image");
    let mut requests: Vec<_> = images
        .iter()
        .map(|(_, _, image)| ((*image).to_owned(), None))
        .collect();
    for (at, flag, value) in placed(matches, "signature") {
        let before = images.iter().rposition(|(image, ..)| *image < at);
        let place = before.and_then(|image| requests.get_mut(image));
        let (image, signature) =
            place.ok_or_else(|| Failure::new(format!("--{flag} must follow an image")))?;
        if signature.replace(value.to_owned()).is_some() {
            return Err(Failure::new(format!(
                "--{flag} can only be given once for image {image:?}"
            )));
        }
    }
    Ok(requests)
}

/// The beginning of an ID that people are shown.
pub(super) fn short(id: &store::ImageId) -> &str {
    id.as_str().get(..SHORT).unwrap_or(id.as_str())
}

/// `sha512-` and twelve digits.
const SHORT: usize = 19;
