//! Images, as commands need them: found by what a person typed, imported, rendered.

use std::path::{Path, PathBuf};

use appc::{Hash, ImageManifest, ImageName};
use clap::ArgMatches;
use distribution::{Distribution, Layout, Location, Reference};
use fetch::OciImage;
use oci::Digest;
use store::{ImageId, ImportOptions, Store};

use crate::cli::flags::Values;
use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::remote::{self, Wanted};
use crate::signed::{self, ImageFile, Voucher};

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

/// The store, spoken to in the words of the command line.
#[derive(Debug)]
pub(crate) struct Images {
    /// The store itself.
    pub(crate) store: Store,
    data_dir: PathBuf,
}

impl Images {
    /// The store of the data directory.
    pub(crate) fn open(context: &Context) -> Self {
        Self {
            store: Store::open(&context.data_dir),
            data_dir: context.data_dir.clone(),
        }
    }

    /// The image that a reference means, imported if the policy says so. `signature` is the file
    /// that was named for a file's signature.
    pub(crate) fn find(
        &self,
        context: &Context,
        text: &str,
        policy: PullPolicy,
        signature: Option<&str>,
    ) -> Result<ImageId, Failure> {
        let problem = || format!("cannot get image {text:?}");
        let reference = reference(text).doing_with(problem)?;
        let unsigned = || match signature {
            None => Ok(()),
            Some(_) => Err(Failure::new(
                "--signature is for App Container Images that are fetched",
            )),
        };
        let find = || match &reference {
            Reference::Hash(_) | Reference::Digest(_) => {
                unsigned()?;
                self.in_store(&reference)
            }
            Reference::Distribution(Distribution::AciArchive(Location::File(path))) => {
                let id =
                    self.import_file(Path::new(path), Voucher::Signature(context, signature))?;
                self.complete_as(context, policy, id)
            }
            Reference::Distribution(Distribution::AciArchive(Location::Url(url))) => {
                let wanted = Wanted {
                    signature,
                    ..Wanted::default()
                };
                let id = self.at_url(context, url, policy, &wanted)?;
                self.complete_as(context, policy, id)
            }
            Reference::Distribution(Distribution::Appc(name)) => {
                let id = self.of_name(context, name, policy, signature)?;
                self.complete_as(context, policy, id)
            }
            Reference::Distribution(Distribution::Docker(image)) => {
                unsigned()?;
                self.of_registry(context, image, policy)
            }
            Reference::Distribution(Distribution::Layout(layout)) => {
                unsigned()?;
                self.import_layout(context, layout)
            }
        };
        find().doing_with(problem)
    }

    /// An image with all that it depends on, if the policy lets it be fetched.
    fn complete_as(
        &self,
        context: &Context,
        policy: PullPolicy,
        id: ImageId,
    ) -> Result<ImageId, Failure> {
        if policy != PullPolicy::Never {
            self.complete(context, &id)?;
        }
        Ok(id)
    }

    /// An image of the store, by its ID, the beginning of one, or its name.
    pub(crate) fn lookup(&self, text: &str) -> Result<ImageId, Failure> {
        self.in_store(&reference(text)?)
    }

    fn in_store(&self, reference: &Reference) -> Result<ImageId, Failure> {
        match reference {
            Reference::Hash(prefix) => self.by_hash(prefix),
            Reference::Digest(digest) => {
                self.by_digest(&Digest::parse(digest).doing("invalid digest")?)
            }
            Reference::Distribution(Distribution::Layout(layout)) => {
                self.by_digest(&self.open_layout(layout)?.digest)
            }
            Reference::Distribution(Distribution::Appc(name)) => self.named(name),
            Reference::Distribution(
                point @ (Distribution::Docker(_) | Distribution::AciArchive(Location::Url(_))),
            ) => self
                .known(point)?
                .ok_or_else(|| Failure::new(format!("{point} is not in the store"))),
            Reference::Distribution(Distribution::AciArchive(Location::File(path))) => {
                self.of_file(path)
            }
        }
    }

    /// The image of the store that a file holds.
    fn of_file(&self, path: &str) -> Result<ImageId, Failure> {
        let problem = || format!("cannot tell which image {path:?} is");
        let file = std::fs::File::open(path).doing_with(problem)?;
        let id = store::image_id(file, &store::Limits::default()).doing_with(problem)?;
        self.by_hash(id.as_str())
            .map_err(|_| Failure::new(format!("{path:?} is image {id}, which is not in the store")))
    }

    /// Imports an ACI file, if what should vouch for it does.
    pub(crate) fn import_file(
        &self,
        path: &Path,
        voucher: Voucher<'_>,
    ) -> Result<ImageId, Failure> {
        let file = ImageFile::open(path, voucher)?;
        let info = self
            .store
            .import_if(file, &options(), ImageFile::vouch)
            .doing_with(|| format!("cannot import \"{}\"", path.display()))?;
        Ok(info.id)
    }

    /// Imports an OCI image from disk.
    fn import_layout(&self, context: &Context, layout: &Layout) -> Result<ImageId, Failure> {
        let image = self.open_layout(layout)?;
        let repository = image.origin.repository.as_ref();
        let repository = repository.map(|(registry, name)| format!("{registry}/{name}"));
        signed::vouch_oci(
            context,
            &layout.to_string(),
            repository.as_deref(),
            &image.digests(),
            &*image.source,
        )?;
        let info = image
            .import(&self.store, renders(), layout.reference.is_none())
            .doing_with(|| format!("cannot import {layout}"))?;
        Ok(info.id)
    }

    fn open_layout(&self, layout: &Layout) -> Result<OciImage<'_>, Failure> {
        OciImage::open(layout, &self.data_dir.join("cas/tmp"))
            .doing_with(|| format!("cannot open {layout}"))
    }

    /// Imports an ACI that nobody has to vouch for from a stream.
    pub(crate) fn import(
        &self,
        from: impl std::io::Read + Send,
        source: &str,
    ) -> Result<ImageId, Failure> {
        let info = self
            .store
            .import(from, &options())
            .doing_with(|| format!("cannot import {source:?}"))?;
        Ok(info.id)
    }

    /// The image with an ID or the beginning of one.
    pub(crate) fn by_hash(&self, prefix: &str) -> Result<ImageId, Failure> {
        self.store
            .resolve(prefix)
            .doing_with(|| format!("cannot find image {prefix:?}"))
    }

    /// The image whose manifest has this digest.
    fn by_digest(&self, digest: &Digest) -> Result<ImageId, Failure> {
        let problem = || format!("cannot find image {digest}");
        let id = self.store.by_digest(digest).doing_with(problem)?;
        id.ok_or_else(|| Failure::new(format!("no image {digest} in the store")))
    }

    fn named(&self, name: &ImageName) -> Result<ImageId, Failure> {
        self.stored_as(name)?
            .ok_or_else(|| Failure::new(format!("no image named \"{name}\" in the store")))
    }

    /// The image of a name, if the store has it.
    pub(crate) fn stored_as(&self, name: &ImageName) -> Result<Option<ImageId>, Failure> {
        let problem = || format!("cannot find image \"{name}\"");
        let own = self.store.find_by_name(&name.name, &name.labels);
        match own.doing_with(problem)? {
            None => self.of_alias(name).doing_with(problem),
            id => Ok(id),
        }
    }

    /// Calls a rendered image what a registry's reference calls it, if that is how it was named.
    pub(crate) fn call(&self, image: &mut Rendered, text: &str) -> Result<(), Failure> {
        // Whether it is a file makes no difference here, and need not be looked at again.
        match Reference::parse(text, |_| false) {
            Ok(Reference::Distribution(Distribution::Docker(docker))) if docker.tag.is_some() => {
                remote::call(&mut image.manifest, &docker)
            }
            _ => Ok(()),
        }
    }

    /// The image of this name and version, if the store has it.
    pub(crate) fn stored(&self, name: &str, version: &str) -> Result<Option<ImageId>, Failure> {
        let problem = || format!("cannot find image {name:?}");
        let name = ImageName::parse(&format!("{name}:{version}")).doing_with(problem)?;
        self.store
            .find_by_name(&name.name, &name.labels)
            .doing_with(problem)
    }

    /// The image's tree, rendered now if it was not before.
    pub(crate) fn render(&self, id: &ImageId) -> Result<Rendered, Failure> {
        let problem = || format!("cannot render image {id}");
        let tree = self.store.tree(id).doing_with(problem)?;
        Ok(Rendered {
            id: id.clone(),
            manifest: tree.manifest,
            tree: tree.id,
        })
    }

    /// Whether the store has the image.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.store.resolve(id).is_ok()
    }

    /// Renders an image into a directory.
    pub(crate) fn render_into(&self, image: &Rendered, dir: &Path) -> Result<(), Failure> {
        let problem = || format!("cannot copy image {} to {}", image.id, dir.display());
        self.store
            .render_into(&image.id, dir, true)
            .doing_with(problem)
    }

    /// Whether trees can be mounted as overlays; if not, why.
    pub(crate) fn overlay_supported(&self) -> Result<(), String> {
        store::overlay_supported(&self.data_dir)
    }
}

/// Root's imports are rendered at once: the first run finds the tree there.
pub(crate) fn renders() -> bool {
    rustix::process::geteuid().is_root()
}

fn options() -> ImportOptions {
    ImportOptions {
        render: renders(),
        ..ImportOptions::default()
    }
}

/// What a person's words for an image mean.
fn reference(text: &str) -> Result<Reference, Failure> {
    Reference::parse(text, |path| Path::new(path).is_file())
        .doing_with(|| format!("invalid image {text:?}"))
}
