//! Which stage1 image a pod gets.

use clap::{ArgMatches, Command};

use super::embedded;
use crate::cli::flags::{Values, list};
use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::images::{Images, Rendered};

/// Where stage1 images lie beside the binary's own.
const IMAGES_DIR: &str = "/usr/lib/rkt/stage1-images";

/// The flags, which exclude each other.
const FLAGS: [(&str, &str); 5] = [
    ("stage1-url", "URL to an image to use as stage1"),
    (
        "stage1-path",
        "absolute or relative path to an image to use as stage1",
    ),
    ("stage1-name", "name of an image to use as stage1"),
    ("stage1-hash", "hash of an image to use as stage1"),
    (
        "stage1-from-dir",
        "filename of an image in stage1 images directory to use as stage1",
    ),
];

/// The user's choice of a stage1.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) enum Stage1Choice {
    /// The one inside the binary.
    #[default]
    Default,
    /// An ACI file.
    Path(String),
    /// A name, looked up in the store.
    Name(String),
    /// An image ID or the beginning of one.
    Hash(String),
    /// A file among the installed stage1 images, which need no signature.
    FromDir(String),
}

/// Adds the flags.
pub(crate) fn arguments(command: Command) -> Command {
    command.args(FLAGS.map(|(name, help)| list(name, help)))
}

impl Stage1Choice {
    /// Reads the flags.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Failure> {
        let mut given = Vec::new();
        for (flag, _) in FLAGS {
            given.extend(matches.strings(flag).into_iter().map(|value| (flag, value)));
        }
        match given.as_slice() {
            [] => Ok(Self::Default),
            [(flag, value)] => Self::from_flag(flag, value.clone()),
            [(first, _), (second, _), ..] if first == second => {
                Err(Failure::new(format!("--{first} can only be given once")))
            }
            [(first, _), (second, _), ..] => Err(Failure::new(format!(
                "--{first} and --{second} exclude each other"
            ))),
        }
    }

    fn from_flag(flag: &str, value: String) -> Result<Self, Failure> {
        Ok(match flag {
            "stage1-path" => Self::Path(value),
            "stage1-name" => Self::Name(value),
            "stage1-hash" => Self::Hash(value),
            "stage1-from-dir" if value.contains('/') => {
                return Err(Failure::new(
                    "--stage1-from-dir takes a file name, not a path",
                ));
            }
            "stage1-from-dir" => Self::FromDir(value),
            _ => {
                return Err(Failure::new(
                    "--stage1-url: fetching from URLs is not available in this version, use --stage1-path",
                ));
            }
        })
    }
}

/// Finds and renders the stage1 image that was chosen.
pub(crate) fn choose(
    context: &Context,
    images: &Images,
    choice: &Stage1Choice,
) -> Result<Rendered, Failure> {
    let problem = || "cannot get the stage1 image".to_owned();
    let id = match choice {
        Stage1Choice::Default => return default(images).doing_with(problem),
        Stage1Choice::Path(path) => images.import_file(path, context.insecure.image),
        Stage1Choice::FromDir(name) => images.import_file(&format!("{IMAGES_DIR}/{name}"), true),
        Stage1Choice::Name(name) => images.by_name(name),
        Stage1Choice::Hash(prefix) => images.by_hash(prefix),
    }
    .doing_with(problem)?;
    images.render(&id).doing_with(problem)
}

/// The image inside the binary: found in the store, or put there once.
fn default(images: &Images) -> Result<Rendered, Failure> {
    let id = match images.has(embedded::ID) {
        true => embedded::ID
            .parse()
            .doing("the ID of the stage1 inside rkt is invalid")?,
        false => images.import(embedded::ACI, embedded::SOURCE)?,
    };
    images.render(&id)
}
