//! `rkt image verify`.

use store::Verified;

use crate::cli::flags::{Values, words};
use crate::commands::{Entry, each};
use crate::failure::{Doing, Failure};
use crate::images::Images;
use crate::output;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "verify",
    about: "Verify one or more rendered images in the local store",
    usage: "verify IMAGE...",
    long: "Verify the image(s) with the given ID(s) or name(s): that their files are what was rendered.",
    arguments: |command| command.arg(words("image")),
    run: |context, matches| {
        let names = matches.strings("image");
        if names.is_empty() {
            return Err(Failure::new("must provide at least one image"));
        }
        let images = Images::open(context);
        each(names, |name| verify(&images, name))
    },
    ..Entry::BASE
};

fn verify(images: &Images, name: &str) -> Result<(), Failure> {
    let problem = || format!("cannot verify image {name:?}");
    let id = images.lookup(name)?;
    let shown = format!("{name:?} ({:?})", id.as_str());
    images.store.verify_blobs(&id).doing_with(problem)?;
    match images.store.verify(&id).doing_with(problem)? {
        Verified::Intact => {
            output::line(&format!(
                "successfully verified checksum for image: {shown}"
            ));
        }
        Verified::NotRendered => {
            output::line(&format!(
                "image {shown} not rendered; no verification needed"
            ));
        }
        Verified::Changed { .. } => {
            output::note(&format!(
                "image {shown} tree cache checksum is wrong, rebuilding"
            ));
            images.store.rebuild_tree(&id).doing_with(problem)?;
            output::line(&format!("successfully rebuilt the tree of image: {shown}"));
        }
    }
    Ok(())
}
