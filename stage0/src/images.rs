//! Images, as commands need them: found by what a person typed, imported, rendered.

use std::path::{Path, PathBuf};

use appc::{Hash, ImageManifest, ImageName};
use clap::ArgMatches;
use store::{ImageId, ImportOptions, Store};

use crate::cli::flags::Values;
use crate::context::Context;
use crate::failure::{Doing, Failure};

/// When an image is fetched although the store may have it (`--pull-policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    /// Never.
    Never,
    /// When the store does not have it.
    New,
    /// Always, as far as it changed.
    Update,
}

impl PullPolicy {
    /// Reads `--pull-policy` and the flags it replaced.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Failure> {
        let (store_only, no_store) = (matches.is("store-only"), matches.is("no-store"));
        match (store_only, no_store, matches.str("pull-policy")) {
            (true, true, _) => Err(Failure::new("both --store-only and --no-store specified")),
            (true, false, _) => Ok(Self::Never),
            (false, true, _) => Ok(Self::Update),
            (.., "never") => Ok(Self::Never),
            (.., "new") => Ok(Self::New),
            (.., "update") => Ok(Self::Update),
            (.., other) => Err(Failure::new(format!(
                "invalid value {other:?} for --pull-policy: must be never, new or update"
            ))),
        }
    }
}

/// An image whose tree is ready.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    pub(crate) id: Hash,
    pub(crate) manifest: ImageManifest,
    /// Its ID in the tree store.
    pub(crate) tree: String,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Images {
    data_dir: PathBuf,
    store: Store,
}

impl Images {
    /// Opens the store of the data directory.
    pub(crate) fn open(context: &Context) -> Result<Self, Failure> {
        let data_dir = context.data_dir.clone();
        Ok(Self {
            store: Store::open(&data_dir),
            data_dir,
        })
    }

    /// The store itself.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The image that a reference means, fetched if the policy says so.
    pub(crate) fn find(
        &self,
        context: &Context,
        text: &str,
        policy: PullPolicy,
    ) -> Result<ImageId, Failure> {
        let problem = || format!("cannot get image {text:?}");
        match Reference::parse(text).doing_with(problem)? {
            Reference::Hash(prefix) => self.by_hash(prefix),
            Reference::Name(name) => self.by_name(name),
            Reference::File(path) if policy == PullPolicy::Never => Err(Failure::new(format!(
                "{path:?} is a file, which --pull-policy=never does not read"
            ))),
            Reference::File(path) => self.import_file(path, context.insecure.image),
        }
        .doing_with(problem)
    }

    /// An image that is in the store already.
    pub(crate) fn find_stored(&self, text: &str) -> Result<ImageId, Failure> {
        let problem = || format!("cannot find image {text:?}");
        match Reference::parse(text).doing_with(problem)? {
            Reference::Hash(prefix) => self.by_hash(prefix),
            Reference::Name(name) | Reference::File(name) => self.by_name(name),
        }
        .doing_with(problem)
    }

    /// Imports an ACI file. Without signatures it must be trusted for another reason.
    pub(crate) fn import_file(&self, path: &str, trusted: bool) -> Result<ImageId, Failure> {
        if !trusted {
            return Err(Failure::new(format!(
                "the signature of {path:?} cannot be checked in this version: use --insecure-options=image if you trust the file"
            )));
        }
        let file = std::fs::File::open(path).doing_with(|| format!("cannot open {path:?}"))?;
        self.import(file)
    }

    /// Imports an ACI, and renders it at once where that is allowed: the first run pays nothing.
    pub(crate) fn import(&self, aci: impl std::io::Read + Send) -> Result<ImageId, Failure> {
        let render = rustix::process::geteuid().is_root();
        let options = ImportOptions {
            render,
            latest: false,
        };
        let info = self
            .store
            .import(aci, options)
            .doing("cannot import the image")?;
        Ok(info.id)
    }

    pub(crate) fn by_hash(&self, prefix: &str) -> Result<ImageId, Failure> {
        self.store.resolve(prefix).doing("cannot find the image")
    }

    pub(crate) fn by_name(&self, name: &str) -> Result<ImageId, Failure> {
        let reference = ImageName::parse(name).doing("cannot read the image's name")?;
        let found = self.store.find_by_name(&reference.name, &reference.labels);
        let found = found.doing("cannot search the store")?;
        found.ok_or_else(|| {
            Failure::new(format!(
                "no image {name:?} in the store: fetch it first, for example with \"rkt fetch ./{name}.aci\""
            ))
        })
    }

    /// The image with its tree, rendered now if it was not before.
    pub(crate) fn render(&self, id: &ImageId) -> Result<Rendered, Failure> {
        let tree = self.store.tree(id).doing("cannot render the image")?;
        self.store.touch(id);
        self.describe(id, tree.id.to_string())
    }

    /// The image with its tree, if it is in the tree store.
    pub(crate) fn render_if_present(&self, id: &ImageId) -> Result<Option<Rendered>, Failure> {
        match self.store.tree_alone(id) {
            Some(tree) => self.describe(id, tree.id.to_string()).map(Some),
            None => Ok(None),
        }
    }

    fn describe(&self, id: &ImageId, tree: String) -> Result<Rendered, Failure> {
        let manifest = self
            .store
            .manifest(id)
            .doing("cannot read the image's manifest")?;
        let id = Hash::parse(id.as_str()).doing("cannot read the image's id")?;
        Ok(Rendered { id, manifest, tree })
    }

    /// Copies an image's tree to a directory, for pods without overlay.
    pub(crate) fn render_into(&self, image: &Rendered, dir: &Path) -> Result<(), Failure> {
        let id: ImageId = image
            .id
            .as_str()
            .parse()
            .doing("cannot read the image's id")?;
        self.store
            .render_into(&id, dir)
            .doing("cannot copy the image's tree")?;
        Ok(())
    }

    /// Whether pods of this data directory can be overlays; if not, why.
    pub(crate) fn overlay_supported(&self) -> Result<(), String> {
        store::overlay_supported(&self.data_dir)
    }
}

/// What a person's words for an image mean, in the order of the original.
#[derive(Debug, PartialEq, Eq)]
enum Reference<'a> {
    /// An image ID or the beginning of one.
    Hash(&'a str),
    /// A file.
    File(&'a str),
    /// A name, perhaps with labels.
    Name(&'a str),
}

impl<'a> Reference<'a> {
    fn parse(text: &'a str) -> Result<Self, Failure> {
        let remote = |what: &str| {
            Err(Failure::new(format!(
                "{what} is not available in this version: fetch the image as a file"
            )))
        };
        if text.starts_with("sha512-") {
            return Ok(Self::Hash(text));
        }
        if text.starts_with("docker:") {
            return remote("fetching from Docker registries");
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return remote("fetching from URLs");
        }
        if text.starts_with("cimd:") {
            return remote("fetching by distribution point");
        }
        if let Some(path) = text.strip_prefix("file://") {
            return Ok(Self::File(path));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(Failure::new(format!(
                "the scheme {scheme:?} is not supported"
            )));
        }
        let is_file = || Path::new(text).is_file();
        Ok(match text {
            "" => return Err(Failure::new("an image has an empty name")),
            _ if text.starts_with('/') || is_file() => Self::File(text),
            _ if text.contains(':') => Self::Name(text),
            _ if text.contains("./") || text.ends_with(".aci") => Self::File(text),
            _ => Self::Name(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_in_the_originals_order() {
        for (text, reference) in [
            ("sha512-ab", Reference::Hash("sha512-ab")),
            ("file:///x.aci", Reference::File("/x.aci")),
            ("/x", Reference::File("/x")),
            ("./x", Reference::File("./x")),
            ("x.aci", Reference::File("x.aci")),
            ("example.com/a:v1", Reference::Name("example.com/a:v1")),
            ("example.com/a", Reference::Name("example.com/a")),
        ] {
            assert_eq!(Reference::parse(text).unwrap(), reference, "{text}");
        }
        for text in ["", "docker://busybox", "https://x/y.aci", "ftp://x"] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }
}
