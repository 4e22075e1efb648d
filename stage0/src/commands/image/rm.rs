//! `rkt image rm`.

use std::process::ExitCode;

use crate::cli::flags::{Values, words};
use crate::commands::{Entry, each};
use crate::failure::{Doing, Failure};
use crate::images::Images;
use crate::output;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "rm",
    about: "Remove image(s) with the given ID(s) or name(s) from the local store",
    usage: "rm IMAGE...",
    long: "Unlike image gc, image rm allows users to remove specific images.",
    arguments: |command| command.arg(words("image")),
    run: |context, matches| {
        let names = matches.strings("image");
        if names.is_empty() {
            return Err(Failure::new("must provide at least one image ID or name"));
        }
        let images = Images::open(context);
        let mut removed = 0;
        let outcome = each(names, |name| {
            let id = images.lookup(name)?;
            remove(&images, &id)?;
            removed += 1;
            Ok(())
        });
        if removed > 0 {
            output::note(&format!("{removed} image(s) successfully removed"));
        }
        outcome.map(|_| ExitCode::SUCCESS)
    },
    ..Entry::BASE
};

/// Removes an image and says so. Its tree, which pods may use, is left to `image gc`.
pub(super) fn remove(images: &Images, id: &store::ImageId) -> Result<(), Failure> {
    images
        .store
        .remove(id)
        .doing_with(|| format!("cannot remove image {id}"))?;
    removed(id);
    Ok(())
}

/// Says that an image was removed.
pub(super) fn removed(id: &store::ImageId) {
    output::line(&format!(
        "successfully removed aci for image: {:?}",
        id.as_str()
    ));
}
