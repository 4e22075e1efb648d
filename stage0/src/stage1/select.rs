//! Which stage1 image a pod gets.

use std::path::{Path, PathBuf};

use appc::ImageName;
use clap::{ArgMatches, Command};
use store::ImageId;

use super::embedded;
use crate::cli::flags::{Values, list};
use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::images::{Images, PullPolicy, Rendered};
use crate::signed::Voucher;

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
    /// The configured one, else the one inside the binary.
    #[default]
    Default,
    /// An ACI file.
    Path(String),
    /// A URL, of an ACI or of an image in a registry.
    Url(String),
    /// A name, looked up in the store, else discovered.
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
            _ => Self::Url(value),
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
        Stage1Choice::Default => default(context, images),
        Stage1Choice::Path(path) => import(context, images, Path::new(path)),
        Stage1Choice::FromDir(name) => {
            import(context, images, &context.stage1_images()?.join(name))
        }
        Stage1Choice::Url(url) => from_location(context, images, url),
        Stage1Choice::Name(name) => named(context, images, name),
        Stage1Choice::Hash(prefix) => images.by_hash(prefix),
    }
    .doing_with(problem)?;
    images.render(&id).doing_with(problem)
}

/// The default image (page "rkt configuration", "rktKind: stage1"): the configured one from the
/// store, else from its location; without a configuration, the image inside the binary.
fn default(context: &Context, images: &Images) -> Result<ImageId, Failure> {
    let configured = config::Stage1::load(&context.dirs)
        .doing("cannot read the configuration of the default stage1 image")?;
    // Whoever builds images from a dirty tree gives different ones the same version.
    if let Some((name, version)) = &configured.image
        && !version.ends_with("-dirty")
        && let Some(id) = images.stored(name, version)?
    {
        return Ok(id);
    }
    match (configured.location, configured.image) {
        (Some(location), _) => from_location(context, images, &location),
        (None, Some((name, version))) => Err(Failure::new(format!(
            "the configured image {name:?}, version {version:?}, is not in the store, and no location is configured"
        ))),
        (None, None) => embedded(images),
    }
}

/// The image of a name, from the store or from where it is discovered.
fn named(context: &Context, images: &Images, name: &str) -> Result<ImageId, Failure> {
    let name = ImageName::parse(name).doing_with(|| format!("invalid image name {name:?}"))?;
    let id = images.of_name(context, &name, PullPolicy::New, None)?;
    images.complete(context, &id)?;
    Ok(id)
}

/// The image at a configured location, or the file of that name beside the rkt program.
fn from_location(context: &Context, images: &Images, location: &str) -> Result<ImageId, Failure> {
    let path = location.strip_prefix("file://").unwrap_or(location);
    if !path.starts_with('/') {
        return images.find(context, location, PullPolicy::New, None);
    }
    let path = Path::new(path);
    match beside_program(path).filter(|_| !path.exists()) {
        Some(beside) => images.import_file(&beside, Voucher::Place),
        None => import(context, images, path),
    }
}

fn beside_program(path: &Path) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let beside = program.with_file_name(path.file_name()?);
    beside.exists().then_some(beside)
}

/// A file: one among the installed stage1 images needs no signature.
fn import(context: &Context, images: &Images, path: &Path) -> Result<ImageId, Failure> {
    let installed = context.stage1_images()?;
    let lies_in = match (path.canonicalize(), installed.canonicalize()) {
        (Ok(path), Ok(installed)) => path.starts_with(installed),
        _ => false,
    };
    let voucher = match lies_in {
        true => Voucher::Place,
        false => Voucher::Signature(context, None),
    };
    images.import_file(path, voucher)
}

/// The image inside the binary: found in the store, or put there once.
fn embedded(images: &Images) -> Result<ImageId, Failure> {
    match images.has(embedded::ID) {
        true => embedded::ID
            .parse()
            .doing("the ID of the stage1 inside rkt is invalid"),
        false => images.import(embedded::ACI, embedded::SOURCE),
    }
}
