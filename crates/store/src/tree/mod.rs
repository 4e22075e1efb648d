//! The tree store: rendered images, ready to be the lower directory of an overlay.
//!
//! `cas/tree/<tree ID>/` holds `rootfs/`, `manifest`, `image` (the image's ID), `hash` (the
//! checksum of `rootfs`) and `rendered` (its size). It is filled under a temporary name and
//! renamed, so that a tree is either whole or not there.

mod checksum;
mod overlay;
pub(crate) mod plan;
mod render;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use appc::{Hash, ImageManifest};

use crate::extract::Policy;
use crate::lock::Lock;
use crate::remove::remove_tree;
use crate::temporary::NewDirectory;
use crate::{Error, ImageKind, Result, Store};

pub use overlay::overlay_supported;
pub(crate) use render::{Building, new_root, open_root};

/// A rendered image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// `deps-sha512-` and 64 digits.
    pub id: String,
    /// The directory in the tree store.
    pub path: PathBuf,
    /// The image's manifest.
    pub manifest: ImageManifest,
}

impl Tree {
    /// The file system of the image, as an app is to see it.
    pub fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }
}

/// What [`Store::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// The tree is what was rendered.
    Intact,
    /// The tree was changed since it was rendered.
    Changed {
        /// The checksum recorded at that time.
        recorded: String,
        /// The checksum now.
        found: String,
    },
    /// The image has no rendered tree.
    NotRendered,
}

impl Store {
    /// The tree store's name for an image, whether it is rendered or not.
    pub fn tree_id(&self, id: &Hash) -> Result<String> {
        let manifest = self.manifest(id)?;
        self.tree_id_with(id, &manifest)
    }

    fn tree_id_with(&self, id: &Hash, manifest: &ImageManifest) -> Result<String> {
        if manifest.dependencies.is_empty() {
            return Ok(plan::tree_id(std::iter::once(id)));
        }
        let layers = self.layers(id, manifest)?;
        Ok(plan::tree_id(layers.iter().map(|layer| &layer.id)))
    }

    /// Whether a tree is there and whole.
    pub fn is_rendered(&self, tree: &str) -> bool {
        self.layout().tree(tree).join("rendered").exists()
    }

    /// The directory that a tree has or would have, for pods that recorded their trees' names.
    pub fn tree_path(&self, tree: &str) -> PathBuf {
        self.layout().tree(tree)
    }

    /// Where all trees are.
    pub fn tree_directory(&self) -> PathBuf {
        self.layout().trees()
    }

    /// The rendered tree of an image; rendered now if it is not there yet, and notes the use of
    /// the image.
    ///
    /// # Errors
    /// When the image or a dependency is missing or was changed on disk; when it has to be
    /// rendered and this is not root.
    pub fn tree(&self, id: &Hash) -> Result<Tree> {
        let manifest = self.manifest(id)?;
        let tree = self.tree_id_with(id, &manifest)?;
        let path = self.layout().tree(&tree);
        if !self.is_rendered(&tree) {
            self.render_tree(id, &manifest, &tree)?;
        }
        self.touch(id);
        Ok(Tree {
            id: tree,
            path,
            manifest,
        })
    }

    fn render_tree(&self, id: &Hash, manifest: &ImageManifest, tree: &str) -> Result<()> {
        if !Policy::of_this_process().owners {
            return Err(Error::NotRoot(id.clone()));
        }
        self.layout().create()?;
        // Others that want the same tree wait for this one instead of rendering it as well.
        let _lock = Lock::exclusive(&self.layout().tree_lock(tree))?;
        if self.is_rendered(tree) {
            return Ok(());
        }
        if self.kind(id)? == ImageKind::Oci {
            return self.render_oci(id, tree);
        }
        let layers = self.layers(id, manifest)?;
        let building = NewDirectory::create(&self.layout().building())?;
        let root = new_root(&building.path().join("rootfs"))?;
        let digests = self.write_layers(&layers, root)?;
        let building = Building::measure(building, &digests)?;
        let size = building.measured.size;
        let bytes = self.manifest_bytes(id)?;
        building.publish(&self.layout().tree(tree), id, &bytes)?;
        // Only a listing wants the size.
        let _ = self.index().set_tree_size(id, size);
        Ok(())
    }

    /// Compares a rendered tree with the checksum recorded when it was rendered.
    pub fn verify(&self, id: &Hash) -> Result<Verified> {
        let tree = self.tree_id(id)?;
        if !self.is_rendered(&tree) {
            return Ok(Verified::NotRendered);
        }
        for tree in self.with_lowers(&tree)? {
            let path = self.layout().tree(&tree);
            let file = path.join("hash");
            let recorded = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
            let found = checksum::measure(&path.join("rootfs"), &Default::default())?.checksum;
            if recorded.trim_end() != found {
                return Ok(Verified::Changed { recorded, found });
            }
        }
        Ok(Verified::Intact)
    }

    /// The checksums that were recorded when a tree, and those it lies over, were rendered: the
    /// highest first.
    ///
    /// # Errors
    /// A tree is not there.
    pub fn recorded_checksums(&self, tree: &str) -> Result<Vec<String>> {
        let recorded = |tree: String| {
            let file = self.layout().tree(&tree).join("hash");
            let text = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
            Ok(text.trim_end().to_owned())
        };
        self.with_lowers(tree)?.into_iter().map(recorded).collect()
    }

    /// A tree and those it lies over.
    fn with_lowers(&self, tree: &str) -> Result<Vec<String>> {
        let mut trees = vec![tree.to_owned()];
        trees.extend(self.lowers(tree)?);
        Ok(trees)
    }

    /// Whether what an image was rendered from is still what was published.
    ///
    /// # Errors
    /// [`Error::Changed`] or [`Error::ChangedBlob`] when it was changed on disk.
    pub fn verify_blobs(&self, id: &Hash) -> Result<()> {
        let id = self.require(id)?;
        if self.kind(&id)? == ImageKind::Oci {
            return self.check_parts(&self.parts(&id)?);
        }
        let path = self.layout().blob(&id);
        let mut file = crate::shared::open(&path).map_err(Error::io("open", &path))?;
        let digest = crate::digest::sha512_of(&mut file).map_err(Error::io("read", &path))?;
        match crate::digest::is_image(&digest, &id) {
            true => Ok(()),
            false => Err(Error::Changed {
                found: Hash::from_sha512(&digest),
                id,
            }),
        }
    }

    /// Renders a tree again, from the blobs. Not for trees that a running pod uses.
    pub fn rebuild_tree(&self, id: &Hash) -> Result<Tree> {
        if !Policy::of_this_process().owners {
            return Err(Error::NotRoot(id.clone()));
        }
        let tree = self.tree_id(id)?;
        for tree in self.with_lowers(&tree)? {
            self.remove_tree(&tree)?;
        }
        self.tree(id)
    }

    /// Removes a tree. One rename takes it out of sight before its files go, so that a killed
    /// remover leaves no half tree behind; fine if it is not there.
    pub fn remove_tree(&self, tree: &str) -> Result<()> {
        let path = self.layout().tree(tree);
        if !path.exists() {
            return Ok(());
        }
        let lock = Lock::exclusive(&self.layout().tree_lock(tree))?;
        self.layout().create()?;
        let away = NewDirectory::create(&self.layout().building())?;
        let inside = away.path().join("tree");
        match fs::rename(&path, &inside) {
            Ok(()) => remove_tree(&inside).map_err(Error::io("remove", &inside))?,
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("remove", &path)(e)),
        }
        lock.remove();
        Ok(())
    }

    /// All trees: their names, and the images they were rendered for.
    pub fn trees(&self) -> Result<Vec<(String, Option<Hash>)>> {
        let directory = self.layout().trees();
        let entries = match fs::read_dir(&directory) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(Error::io("read", &directory))?,
        };
        let mut trees = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &directory))?;
            if let Ok(name) = entry.file_name().into_string() {
                let image = fs::read_to_string(entry.path().join("image"));
                let image = image
                    .ok()
                    .and_then(|text| Hash::parse(text.trim_end()).ok());
                trees.push((name, image));
            }
        }
        trees.sort();
        Ok(trees)
    }

    /// Renders an image into a directory that is created or empty: as `rootfs` and `manifest`, or
    /// only what is in `rootfs`. No link or reflink ties it to the store.
    pub fn render_into(&self, id: &Hash, directory: &Path, rootfs_only: bool) -> Result<()> {
        let id = self.require(id)?;
        if self.kind(&id)? == ImageKind::Oci {
            let parts = self.parts(&id)?;
            let write = |root| self.write_merged(&parts, root);
            return self.write_into(&id, directory, rootfs_only, write);
        }
        let layers = self.layers(&id, &self.manifest(&id)?)?;
        self.write_into(&id, directory, rootfs_only, |root| {
            self.write_layers(&layers, root)
        })
    }

    /// Extracts an image's own archive, without dependencies and whitelist, into a directory that
    /// is created or empty.
    pub fn extract(&self, id: &Hash, directory: &Path, rootfs_only: bool) -> Result<()> {
        let id = self.require(id)?;
        if self.kind(&id)? == ImageKind::Oci {
            return self.render_into(&id, directory, rootfs_only);
        }
        let layer = crate::layers::Layer {
            id: id.clone(),
            keep: crate::layers::Keep::default(),
        };
        self.write_into(&id, directory, rootfs_only, |root| {
            self.write_layers(&[layer], root)
        })
    }
}
