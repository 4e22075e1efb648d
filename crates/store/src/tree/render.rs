//! Writing an image's layers below a directory.

use std::collections::HashMap;
use std::fs;
use std::io::{BufReader, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use appc::Hash;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use sha::Sha512;

use super::checksum::{Measured, measure};
use crate::digest::is_image;
use crate::extract::{Digests, Extractor};
use crate::layers::{Layer, moved_files, write_layer};
use crate::pipeline::pass;
use crate::remove::{clear_tree, remove_tree};
use crate::tar::Archive;
use crate::temporary::NewDirectory;
use crate::{Error, Limits, Result, Store};

/// A tree that is complete but for its place.
pub(crate) struct Building {
    directory: NewDirectory,
    pub(crate) measured: Measured,
}

impl Building {
    /// Finishes what an extractor wrote into `rootfs` of a new directory.
    pub(crate) fn measure(directory: NewDirectory, digests: &Digests) -> Result<Self> {
        let measured = measure(&directory.path().join("rootfs"), digests)?;
        Ok(Building {
            directory,
            measured,
        })
    }

    /// Adds the files beside `rootfs` and moves the tree to its place, unless another is there.
    pub(crate) fn publish(self, place: &Path, image: &Hash, manifest: &[u8]) -> Result<()> {
        let files = [("manifest", manifest), ("image", image.as_bytes())];
        self.publish_with(place, &files)
    }

    /// The same with other files than an image's.
    pub(crate) fn publish_with(self, place: &Path, files: &[(&str, &[u8])]) -> Result<()> {
        let size = self.measured.size.to_string();
        let own = [
            ("hash", self.measured.checksum.as_bytes()),
            ("rendered", size.as_bytes()),
        ];
        for (name, bytes) in files.iter().copied().chain(own) {
            let path = self.directory.path().join(name);
            fs::write(&path, bytes).map_err(Error::io("write", &path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
                .map_err(Error::io("set the mode of", &path))?;
        }
        self.directory.publish(place)?;
        Ok(())
    }
}

/// Creates the top of a tree and opens it.
pub(crate) fn new_root(path: &Path) -> Result<OwnedFd> {
    fs::create_dir(path).map_err(Error::io("create directory", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(Error::io("set the mode of", path))?;
    open_root(path)
}

/// Opens the top of a tree that is there.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(Error::io("open", path))
}

impl Store {
    /// Writes layers, the lowest first, and checks that each blob still has its digest.
    pub(crate) fn write_layers(&self, layers: &[Layer], root: OwnedFd) -> Result<Digests> {
        let limits = Limits::none();
        // The directories of all layers get their attributes at the very end, so that one
        // extractor sees every layer.
        let mut extractor = Extractor::new(root, &limits);
        for layer in &needed(layers) {
            let moved = self.moved(layer, &limits)?;
            let path = self.layout().blob(&layer.id);
            let mut file = crate::shared::open(&path).map_err(Error::io("open", &path))?;
            let passed = pass::<Sha512, _>(
                &mut file,
                None,
                &mut |_| Ok(()),
                &|e| Error::io("read", &path)(e),
                |pieces| {
                    let mut archive = Archive::new(pieces, &limits);
                    write_layer(&mut archive, &layer.keep, &moved, &mut extractor)
                },
            )?;
            let digest = passed.hash.finish();
            if !is_image(&digest, &layer.id) {
                return Err(Error::Changed {
                    id: layer.id.clone(),
                    found: Hash::from_sha512(&digest),
                });
            }
        }
        extractor.finish()
    }

    fn moved(&self, layer: &Layer, limits: &Limits) -> Result<HashMap<Vec<u8>, Vec<u8>>> {
        if layer.keep.all() {
            return Ok(HashMap::new());
        }
        let path = self.layout().blob(&layer.id);
        let file = crate::shared::open(&path).map_err(Error::io("open", &path))?;
        let mut archive = Archive::new(BufReader::with_capacity(64 << 10, file), limits);
        moved_files(&mut archive, &layer.keep, limits)
    }

    /// Lets layers be written into a directory of the caller's, and leaves nothing there if that fails.
    pub(super) fn write_into(
        &self,
        id: &Hash,
        directory: &Path,
        rootfs_only: bool,
        write: impl FnOnce(OwnedFd) -> Result<Digests>,
    ) -> Result<()> {
        let manifest = self.manifest_bytes(id)?;
        let created = match fs::create_dir(directory) {
            Ok(()) => true,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => false,
            Err(e) => return Err(Error::io("create directory", directory)(e)),
        };
        if created {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
                .map_err(Error::io("set the mode of", directory))?;
        } else if !is_empty(directory)? {
            let full = std::io::Error::from(ErrorKind::DirectoryNotEmpty);
            return Err(Error::io("write into", directory)(full));
        }
        let fill = || {
            let root = if rootfs_only {
                open_root(directory)?
            } else {
                let path = directory.join("manifest");
                fs::write(&path, &manifest).map_err(Error::io("write", &path))?;
                new_root(&directory.join("rootfs"))?
            };
            write(root)
        };
        if let Err(error) = fill() {
            // The first error is the one to tell.
            let _ = if created {
                remove_tree(directory)
            } else {
                clear_tree(directory)
            };
            return Err(error);
        }
        self.touch(id);
        Ok(())
    }
}

fn is_empty(directory: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(directory).map_err(Error::io("read", directory))?;
    Ok(entries.next().is_none())
}

/// Drops the lower occurrences of a layer that comes again under the same rules: all that it
/// would write is written over.
fn needed(layers: &[Layer]) -> Vec<Layer> {
    let mut kept: Vec<Layer> = Vec::new();
    for layer in layers.iter().rev() {
        let same = |other: &Layer| other.id == layer.id && other.keep == layer.keep;
        if !kept.iter().any(same) {
            kept.push(layer.clone());
        }
    }
    kept.reverse();
    kept
}
