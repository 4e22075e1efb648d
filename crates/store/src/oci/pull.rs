//! Taking an OCI image in: its parts in any order, the manifest last.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use appc::{Hash, ImageManifest};
use oci::{Config, Digest, Manifest};

use super::layer::{self, BlobSource};
use super::{LayerId, small_blob};
use crate::digest::{key, sha256_bytes};
use crate::extract::Policy;
use crate::index::{self, Row};
use crate::lock::Lock;
use crate::temporary::write_file;
use crate::{Error, ImageInfo, ImageKind, Limits, Result, Store};

/// Layers that are taken in at a time. Each costs a few megabytes of memory.
const AT_A_TIME: usize = 6;

/// An image that is being taken in. While it lives no part of any image is collected.
#[derive(Debug)]
pub struct Puller<'s> {
    store: &'s Store,
    render: bool,
    limits: Limits,
    _lock: Lock,
}

impl Store {
    /// Begins to take an OCI image in. `render` unpacks layers while they arrive, as root.
    pub fn pull(&self, render: bool, limits: Limits) -> Result<Puller<'_>> {
        self.layout().create()?;
        Ok(Puller {
            store: self,
            render: render && Policy::of_this_process().owners,
            limits,
            _lock: Lock::shared(&self.layout().oci_lock())?,
        })
    }
}

impl Puller<'_> {
    /// Takes in the configuration that a manifest names, if it is not there.
    pub fn config(&self, manifest: &Manifest, source: &dyn BlobSource) -> Result<Config> {
        use std::io::Read;
        let digest = &manifest.config.digest;
        let layout = self.store.layout();
        if let Ok(bytes) = small_blob(layout, digest, oci::MAX_CONFIG) {
            return Ok(Config::parse(&bytes)?);
        }
        let (reader, _) = source.open(digest, 0).map_err(Error::Source)?;
        let mut bytes = Vec::new();
        let read = reader
            .take(oci::MAX_CONFIG as u64 + 1)
            .read_to_end(&mut bytes);
        read.map_err(|source| Error::Stream {
            action: "read",
            source,
        })?;
        let config = Config::parse(&bytes);
        self.blob(digest, &bytes)?;
        Ok(config?)
    }

    fn blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let found = sha256_bytes(bytes);
        if found != *digest {
            return Err(Error::ChangedBlob {
                digest: digest.clone(),
                found: Some(found),
            });
        }
        let layout = self.store.layout();
        let path = layout.oci_blob(digest);
        layout.create_parent(&path)?;
        write_file(layout, &path, bytes)
    }

    /// Takes in all layers that are not there, several at a time. The first error ends it, when
    /// those under way have ended.
    pub fn layers(
        &self,
        manifest: &Manifest,
        config: &Config,
        source: &dyn BlobSource,
    ) -> Result<()> {
        let mut layers = LayerId::all(manifest, config)?;
        let mut seen = std::collections::HashSet::new();
        layers.retain(|layer| seen.insert(layer.blob.clone()));
        // Whoever watches knows from the start how much there is to come.
        for layer in &layers {
            if !layer::is_whole(self.store.layout(), layer) {
                source.progress(&layer.blob, 0, layer.size);
            }
        }
        // The largest first: one that is left over at the end has the machine for itself.
        layers.sort_by_key(|layer| std::cmp::Reverse(layer.size));
        let next = AtomicUsize::new(0);
        let failed: Mutex<Option<Error>> = Mutex::new(None);
        let stop = || failed.lock().map_or(true, |f| f.is_some());
        std::thread::scope(|scope| {
            for _ in 0..AT_A_TIME.min(layers.len()) {
                scope.spawn(|| {
                    while let Some(layer) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if stop() {
                            return;
                        }
                        let layout = self.store.layout();
                        let one = layer::fetch(layout, layer, source, self.render, &self.limits);
                        if let (Err(error), Ok(mut failed)) = (one, failed.lock()) {
                            failed.get_or_insert(error);
                        }
                    }
                });
            }
        });
        match failed.into_inner().ok().flatten() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Makes the image visible, once all its parts are there. `appc` is what it is in the words of
    /// App Container.
    ///
    /// # Errors
    /// A part is missing.
    pub fn commit(self, manifest: &[u8], appc: &ImageManifest, latest: bool) -> Result<ImageInfo> {
        let layout = self.store.layout();
        let parsed = Manifest::parse(manifest)?;
        for part in parsed.blobs() {
            if !layout.oci_blob(&part.digest).exists() {
                return Err(Error::MissingBlob(part.digest.clone()));
            }
        }
        let described = appc.to_json();
        if described.len() > appc::MAX_MANIFEST {
            return Err(Error::TooLarge {
                what: "bytes of manifest",
                limit: appc::MAX_MANIFEST as u64,
            });
        }
        let id = key(manifest);
        self.blob(&sha256_bytes(manifest), manifest)?;
        let (there, now) = (self.store.contains(&id), SystemTime::now());
        let row = Row {
            id: id.clone(),
            kind: ImageKind::Oci,
            name: appc.name.to_string(),
            version: appc.version().map(str::to_owned),
            import_time: index::nanoseconds(now),
            latest,
            size: parsed.size().saturating_add(manifest.len() as u64),
            tree_size: 0,
        };
        self.publish(&id, manifest, &described, &row)?;
        if self.render
            && let Err(error) = self.store.tree(&id)
        {
            if !there {
                // Layers that do not come together are no image.
                self.store.remove(&id)?;
            }
            return Err(error);
        }
        self.store.touch(&id);
        self.store.info(&id)
    }

    fn publish(&self, id: &Hash, manifest: &[u8], appc: &[u8], row: &Row) -> Result<()> {
        let layout = self.store.layout();
        let (described, blob) = (layout.image_manifest(id), layout.blob(id));
        let _lock = Lock::exclusive(&layout.image_lock(id))?;
        layout.create_parent(&described)?;
        layout.create_parent(&blob)?;
        let publish = || {
            crate::temporary::replace_file(layout, &described, appc)?;
            self.store.index().insert(row)?;
            write_file(layout, &blob, manifest)
        };
        let outcome = publish();
        if outcome.is_err() && !self.store.contains(id) {
            let _ = std::fs::remove_file(&described);
        }
        outcome
    }
}
