//! Giving back the disk that OCI images used.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;

use appc::Hash;
use oci::{Digest, Manifest};

use super::{kind, manifest_bytes};
use crate::digest::sha256_bytes;
use crate::lock::Lock;
use crate::{Error, ImageKind, Result, Store};

impl Store {
    /// Removes blobs that no image names any more. Not while an image is being taken in, whose
    /// manifest comes last: then a later collection does it. Returns how many were removed.
    pub(crate) fn collect_blobs(&self) -> Result<usize> {
        let blobs = self.layout().oci_blobs();
        if !blobs.exists() {
            return Ok(0);
        }
        let Some(_lock) = Lock::try_now(&self.layout().oci_lock())? else {
            return Ok(0);
        };
        let needed = self.needed_blobs()?;
        let mut removed = 0;
        for shard in read_names(&blobs)? {
            let shard = blobs.join(shard);
            for name in read_names(&shard)? {
                let known = Digest::from_file_name(&name);
                if known.is_some_and(|digest| needed.contains(&digest)) {
                    continue;
                }
                let path = shard.join(name);
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                removed += 1;
            }
            // Stays if it is not empty.
            let _ = fs::remove_dir(&shard);
        }
        Ok(removed)
    }

    /// Everything that the images of the store consist of.
    fn needed_blobs(&self) -> Result<HashSet<Digest>> {
        let mut needed = HashSet::new();
        for id in self.all_oci()? {
            // A manifest that was changed on disk needs nothing: the image cannot be used.
            let Ok(bytes) = manifest_bytes(self.layout(), &id) else {
                continue;
            };
            needed.insert(sha256_bytes(&bytes));
            let manifest = Manifest::parse(&bytes);
            needed.extend(
                manifest
                    .iter()
                    .flat_map(Manifest::blobs)
                    .map(|d| d.digest.clone()),
            );
        }
        Ok(needed)
    }

    /// The trees that images are rendered from.
    pub(crate) fn layer_trees<'a>(
        &self,
        images: impl IntoIterator<Item = &'a Hash>,
    ) -> HashSet<String> {
        let oci = images
            .into_iter()
            .filter(|id| kind(self.layout(), id).is_ok_and(|k| k == ImageKind::Oci));
        let parts = oci.filter_map(|id| self.parts(id).ok());
        parts.flat_map(|p| p.layers).map(|l| l.tree()).collect()
    }

    fn all_oci(&self) -> Result<Vec<Hash>> {
        let mut found = Vec::new();
        let blobs = self.layout().blobs();
        for shard in read_names(&blobs)? {
            for name in read_names(&blobs.join(shard))? {
                let Ok(id) = Hash::parse(&name) else {
                    continue;
                };
                if kind(self.layout(), &id).is_ok_and(|k| k == ImageKind::Oci) {
                    found.push(id);
                }
            }
        }
        Ok(found)
    }
}

fn read_names(directory: &std::path::Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::io("read", directory))?,
    };
    let names = entries.map(|e| e.map(|e| e.file_name().to_string_lossy().into_owned()));
    names
        .collect::<std::io::Result<_>>()
        .map_err(Error::io("read", directory))
}
