//! `rkt image extract` and `rkt image render`: an image as a directory.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use clap::{ArgMatches, Command};
use store::ImageId;

use crate::cli::flags::{Values, switch, words};
use crate::commands::Entry;
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};
use crate::images::Images;

/// `extract`: the image alone, as it was published.
pub(super) const ENTRY: Entry = Entry {
    name: "extract",
    about: "Extract a stored image to a directory",
    usage: "extract IMAGE OUTPUT_DIR",
    long: "IMAGE should be a string referencing an image: either an ID or an image name.\n\nNote that in order to make cleaning up easy (just rm -rf), extract does not use\noverlayfs or any other mechanism.",
    arguments,
    run: |context, matches| run(context, matches, Whole::Image),
    ..Entry::BASE
};

/// `render`: the image with its dependencies, as apps see it.
pub(super) const RENDER: Entry = Entry {
    name: "render",
    about: "Render a stored image to a directory with all its dependencies",
    usage: "render IMAGE OUTPUT_DIR",
    long: "IMAGE should be a string referencing an image: either an ID or an image name.\n\nNote that in order to make cleaning up easy (just rm -rf), render does not use\noverlayfs or any other mechanism.",
    run: |context, matches| run(context, matches, Whole::Rendered),
    ..ENTRY
};

/// What goes into the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    /// One image's own files.
    Image,
    /// With its dependencies.
    Rendered,
}

fn arguments(command: Command) -> Command {
    command.args([
        switch("rootfs-only", "extract rootfs only"),
        switch("overwrite", "overwrite output directory"),
        words("words"),
    ])
}

fn run(context: &Context, matches: &ArgMatches, whole: Whole) -> Outcome {
    let given = matches.strings("words");
    let [name, output] = given.as_slice() else {
        return Err(Failure::new(
            "must provide an image and an output directory",
        ));
    };
    let images = Images::open(context);
    let id = images.lookup(name)?;
    let output = std::path::absolute(output).doing("cannot make the output directory absolute")?;
    clear(&output, matches.is("overwrite"))?;
    let problem = || format!("cannot write image {name:?} to {}", output.display());
    std::fs::create_dir(&output).doing_with(problem)?;
    let written = write(&images, &id, &output, whole, matches.is("rootfs-only"));
    if written.is_err() {
        remove(&output).doing_with(problem)?;
    }
    written.doing_with(problem)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes room for the output, if that was asked for.
fn clear(output: &Path, overwrite: bool) -> Result<(), Failure> {
    let shown = output.display();
    match (output.symlink_metadata().is_ok(), overwrite) {
        (false, _) => Ok(()),
        (true, false) => Err(Failure::new(format!(
            "output directory {shown} exists, use --overwrite to replace it"
        ))),
        (true, true) => {
            let real = output
                .canonicalize()
                .unwrap_or_else(|_| output.to_path_buf());
            if real == Path::new("/") {
                return Err(Failure::new("the output directory cannot be /"));
            }
            remove(output).doing_with(|| format!("cannot remove {shown}"))
        }
    }
}

fn remove(path: &Path) -> Result<(), pod::Error> {
    let (parent, name) = (path.parent(), path.file_name());
    let (Some(parent), Some(name)) = (parent, name) else {
        return Ok(());
    };
    let dir = pod::Dir::open(parent)?;
    pod::remove_tree(dir.fd().as_fd(), Path::new(name))
}

fn write(
    images: &Images,
    id: &ImageId,
    output: &Path,
    whole: Whole,
    rootfs_only: bool,
) -> Result<(), Failure> {
    if whole == Whole::Image {
        return images
            .store
            .extract(id, output, rootfs_only)
            .doing("cannot extract the image");
    }
    images
        .store
        .render_into(id, output, rootfs_only)
        .doing("cannot render the image")
}
