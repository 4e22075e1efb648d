//! Images, as commands need them: found by what a person typed, imported, rendered.

use std::path::{Path, PathBuf};

use appc::{Hash, ImageManifest};
use clap::ArgMatches;

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
}

impl Images {
    /// Opens the store of the data directory.
    pub(crate) fn open(context: &Context) -> Result<Self, Failure> {
        Ok(Self { data_dir: context.data_dir.clone() })
    }

    /// The image that a reference means, fetched if the policy says so.
    pub(crate) fn find(&self, context: &Context, text: &str, policy: PullPolicy) -> Result<Hash, Failure> {
        let problem = || format!("cannot get image {text:?}");
        match Reference::parse(text).doing_with(problem)? {
            Reference::Hash(prefix) => self.by_hash(prefix),
            Reference::Name(name) => self.by_name(name),
            Reference::File(path) if policy == PullPolicy::Never => Err(Failure::new(format!(
                "{path:?} is a file, which --pull-policy=never does not read"
            ))),
            Reference::File(path) => self.import_file(context, path, context.insecure.image),
        }
        .doing_with(problem)
    }

    pub(crate) fn import_file(&self, context: &Context, path: &str, trusted: bool) -> Result<Hash, Failure> {
        if !trusted {
            return Err(Failure::new(format!("no signature can be checked for {path:?} in this version: use --insecure-options=image")));
        }
        let _ = context;
        Err(Failure::new("no store"))
    }

    pub(crate) fn import(&self, _bytes: &[u8], _source: &str) -> Result<Hash, Failure> {
        Err(Failure::new("no store"))
    }

    pub(crate) fn by_hash(&self, prefix: &str) -> Result<Hash, Failure> {
        Hash::parse(prefix).doing("bad hash")
    }

    pub(crate) fn by_name(&self, _name: &str) -> Result<Hash, Failure> {
        Err(Failure::new("no store"))
    }

    pub(crate) fn render(&self, id: &Hash) -> Result<Rendered, Failure> {
        self.render_if_present(id)?.ok_or_else(|| Failure::new("no store"))
    }

    pub(crate) fn render_if_present(&self, id: &Hash) -> Result<Option<Rendered>, Failure> {
        let tree = format!("deps-{id}");
        let dir = self.data_dir.join("cas/tree").join(&tree);
        if !dir.join("rendered").exists() {
            return Ok(None);
        }
        let manifest = std::fs::read(dir.join("manifest")).doing("manifest")?;
        let manifest = ImageManifest::parse(&manifest).doing("manifest")?;
        Ok(Some(Rendered { id: id.clone(), manifest, tree }))
    }

    pub(crate) fn render_into(&self, _image: &Rendered, _dir: &Path) -> Result<(), Failure> {
        Err(Failure::new("no store"))
    }

    pub(crate) fn overlay_supported(&self) -> Result<(), String> {
        Ok(())
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
            return Err(Failure::new(format!("the scheme {scheme:?} is not supported")));
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
