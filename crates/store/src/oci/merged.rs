//! All layers of an image written into one directory: for what is rendered outside the tree
//! store, and for images whose layers mean nothing by themselves.

use rustix::fd::OwnedFd;

use super::entries::{self, Which};
use super::layer::{open_blob, through};
use super::{LayerId, Parts};
use crate::extract::{Digests, Extractor};
use crate::tar::Archive;
use crate::{Error, Limits, Result, Store};

impl Store {
    /// Writes the layers, the lowest first, and checks that each is still what was published.
    pub(crate) fn write_merged(&self, parts: &Parts, root: OwnedFd) -> Result<Digests> {
        let limits = Limits::default();
        let mut extractor = Extractor::new(root, &limits);
        for (number, layer) in parts.layers.iter().enumerate() {
            // What a layer takes away is taken away before anything of its own is there, wherever
            // in the archive it says so.
            if number > 0 {
                self.write_layer(layer, Which::Whiteouts, &limits, &mut extractor)?;
            }
            self.write_layer(layer, Which::Files, &limits, &mut extractor)?;
        }
        extractor.finish()
    }

    fn write_layer(
        &self,
        layer: &LayerId,
        which: Which,
        limits: &Limits,
        extractor: &mut Extractor,
    ) -> Result<()> {
        let mut blob = open_blob(self.layout(), layer)?;
        let read = through(&mut blob, limits, |pieces| {
            let mut archive = Archive::without_mark(pieces, limits);
            entries::write(&mut archive, which, extractor)
        });
        blob.drain()?;
        blob.check(&layer.blob)?;
        let (diff, ()) = read?;
        layer.must_unpack_to(diff)
    }

    /// Whether every part of an OCI image is still what was published.
    pub(crate) fn check_parts(&self, parts: &Parts) -> Result<()> {
        for part in parts.manifest.blobs() {
            let path = self.layout().oci_blob(&part.digest);
            let mut file = match crate::shared::open(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    return Err(Error::MissingBlob(part.digest.clone()));
                }
                other => other.map_err(Error::io("open", &path))?,
            };
            let found = crate::digest::sha256_of(&mut file).map_err(Error::io("read", &path))?;
            if found != part.digest {
                return Err(Error::ChangedBlob {
                    digest: part.digest.clone(),
                    found: Some(found),
                });
            }
        }
        Ok(())
    }
}
