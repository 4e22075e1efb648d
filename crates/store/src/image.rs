//! Images of the store: finding them, listing them, removing them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use appc::{AcIdentifier, Hash, ImageManifest, Labels};

use crate::index::{self, Row};
use crate::layout::DIGITS;
use crate::lock::Lock;
use crate::{Error, Result, Store};

/// How an image is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageKind {
    /// An App Container Image: one uncompressed archive.
    Aci,
    /// An OCI or Docker image: manifest, configuration and layers.
    Oci,
}

impl ImageKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ImageKind::Aci => "aci",
            ImageKind::Oci => "oci",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [ImageKind::Aci, ImageKind::Oci]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// An image as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// `sha512-` and 64 digits.
    pub id: Hash,
    /// How it is stored.
    pub kind: ImageKind,
    /// The manifest's name.
    pub name: String,
    /// The manifest's `version` label.
    pub version: Option<String>,
    /// When it was last imported.
    pub imported: SystemTime,
    /// When it was last used, to the minute.
    pub last_used: SystemTime,
    /// Whether it was fetched by a name without a version.
    pub latest: bool,
    /// Bytes of its blob.
    pub size: u64,
    /// Bytes of its rendered tree; 0 if there is none.
    pub tree_size: u64,
    /// The digest by which registries know an OCI image.
    pub digest: Option<String>,
}

impl ImageInfo {
    pub(crate) fn of(row: Row, last_used: SystemTime) -> Self {
        ImageInfo {
            id: row.id,
            kind: row.kind,
            name: row.name,
            version: row.version,
            imported: index::time(row.import_time),
            last_used,
            latest: row.latest,
            size: row.size,
            tree_size: row.tree_size,
            digest: None,
        }
    }

    /// `name:version`, or the name alone.
    pub fn full_name(&self) -> String {
        match &self.version {
            Some(version) => format!("{}:{version}", self.name),
            None => self.name.clone(),
        }
    }
}

/// A use is noted at most this often.
const USE_INTERVAL: Duration = Duration::from_secs(60);

impl Store {
    /// Whether the store has the image with this full ID. One system call.
    pub fn contains(&self, id: &Hash) -> bool {
        id.digits().len() == DIGITS && self.layout().blob(id).exists()
    }

    /// The image that an ID of any length, or the beginning of one, means: `sha512-` and two
    /// digits at least. Digits beyond the store's 64 are ignored.
    ///
    /// # Errors
    /// [`Error::NotFound`], and [`Error::Ambiguous`] with all candidates.
    pub fn resolve(&self, prefix: &str) -> Result<Hash> {
        let bad = |reason| Error::BadId {
            text: prefix.to_owned(),
            reason,
        };
        let digits = prefix
            .strip_prefix("sha512-")
            .ok_or_else(|| bad("must begin with sha512-"))?;
        if digits.len() < 2 {
            return Err(bad("must have at least 2 digits"));
        }
        let cut = digits.get(..digits.len().min(DIGITS)).unwrap_or("");
        let wanted = Hash::parse(&format!("sha512-{cut}"))
            .map_err(|_| bad("must have hexadecimal digits only"))?;
        if cut.len() == DIGITS {
            return self.require(&wanted);
        }
        let mut candidates = self.beginning_with(&wanted)?;
        match candidates.len() {
            0 => Err(Error::NotFound(prefix.to_owned())),
            1 => Ok(candidates.remove(0)),
            _ => Err(Error::Ambiguous {
                prefix: prefix.to_owned(),
                candidates,
            }),
        }
    }

    fn beginning_with(&self, prefix: &Hash) -> Result<Vec<Hash>> {
        let directory = self.layout().blobs().join(&prefix.digits()[..2]);
        let entries = match fs::read_dir(&directory) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(Error::io("read", &directory))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(Error::io("read", &directory))?.file_name();
            let id = name.to_str().and_then(|name| Hash::parse(name).ok());
            found.extend(
                id.filter(|id| id.digits().len() == DIGITS && id.starts_with(prefix.as_str())),
            );
        }
        found.sort();
        Ok(found)
    }

    /// The same ID if its image is there.
    pub(crate) fn require(&self, id: &Hash) -> Result<Hash> {
        let path = self.layout().blob(id);
        match path.metadata() {
            Ok(_) if id.digits().len() == DIGITS => Ok(id.clone()),
            Ok(_) => Err(Error::NotFound(id.to_string())),
            Err(e) if e.kind() == ErrorKind::NotFound => Err(Error::NotFound(id.to_string())),
            Err(e) => Err(Error::io("read", &path)(e)),
        }
    }

    /// The image with this name and at least these labels (aci.md, "Dependency Matching"): one
    /// fetched as the latest if no version is asked for and there is one, then the newest import.
    pub fn find_by_name(&self, name: &AcIdentifier, labels: &Labels) -> Result<Option<Hash>> {
        if !self.layout().blobs().exists() {
            return Ok(None);
        }
        let mut rows = self.index().named(name)?;
        if labels.get("version").is_some() {
            rows.sort_by_key(|row| std::cmp::Reverse(row.import_time));
        }
        for row in rows {
            match self.manifest(&row.id) {
                Ok(manifest) if labels.satisfied_by(&manifest.labels) => return Ok(Some(row.id)),
                // Its blob is gone, or not there yet.
                Ok(_) | Err(Error::NotFound(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// An image's manifest. Touches the file system only.
    pub fn manifest(&self, id: &Hash) -> Result<ImageManifest> {
        Ok(ImageManifest::parse(&self.manifest_bytes(id)?)?)
    }

    /// What the index knows about an image.
    pub fn info(&self, id: &Hash) -> Result<ImageInfo> {
        let id = self.require(id)?;
        let row = match self.index().image(&id)? {
            Some(row) => row,
            None => {
                self.index().reconcile()?;
                let row = self.index().image(&id)?;
                row.ok_or_else(|| Error::NotFound(id.to_string()))?
            }
        };
        let last_used = self.last_used(&id);
        Ok(ImageInfo::of(row, last_used))
    }

    /// All images, the first imported first.
    pub fn list(&self) -> Result<Vec<ImageInfo>> {
        let blobs = self.layout().blobs();
        match blobs.read_dir() {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => drop(other.map_err(Error::io("read", &blobs))?),
        }
        let rows = self.index().images()?.into_iter();
        let mut images: Vec<ImageInfo> = rows
            .filter(|row| self.contains(&row.id))
            .map(|row| {
                let last_used = self.last_used(&row.id);
                let digest = match row.kind {
                    ImageKind::Oci => crate::oci::digest(self.layout(), &row.id).ok(),
                    ImageKind::Aci => None,
                };
                ImageInfo {
                    digest: digest.map(|d| d.to_string()),
                    ..ImageInfo::of(row, last_used)
                }
            })
            .collect();
        images.sort_by(|a, b| (a.imported, &a.id).cmp(&(b.imported, &b.id)));
        Ok(images)
    }

    /// The time of the manifest's file is when the image was last used: noting it takes no lock.
    fn last_used(&self, id: &Hash) -> SystemTime {
        self.layout()
            .image_manifest(id)
            .metadata()
            .and_then(|m| m.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Notes that an image is used now, unless that was noted in the last minute. Who may not
    /// write leaves no trace.
    pub fn touch(&self, id: &Hash) {
        let age = self.last_used(id).elapsed();
        if age.is_ok_and(|age| age < USE_INTERVAL) {
            return;
        }
        let path = self.layout().image_manifest(id);
        if let Ok(file) = crate::shared::open_to_write(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// Removes an image. Its trees, which pods may use, are left to a collection.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such image.
    pub fn remove(&self, id: &Hash) -> Result<()> {
        let id = self.require(id)?;
        let kind = self.kind(&id)?;
        let lock = Lock::exclusive(&self.layout().image_lock(&id))?;
        // The blob first: without it the image is gone, and the rest is litter for a collection.
        for path in [self.layout().blob(&id), self.layout().image_manifest(&id)] {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(e));
                }
                _ => {}
            }
            remove_empty(path.parent());
        }
        self.index().remove(&id)?;
        lock.remove();
        if kind == ImageKind::Oci {
            self.collect_blobs()?;
        }
        Ok(())
    }

    /// Where an image's uncompressed archive is.
    pub fn blob_path(&self, id: &Hash) -> Result<PathBuf> {
        Ok(self.layout().blob(&self.require(id)?))
    }
}

/// Removes a directory if nothing is left in it.
fn remove_empty(directory: Option<&Path>) {
    if let Some(directory) = directory {
        let _ = fs::remove_dir(directory);
    }
}
