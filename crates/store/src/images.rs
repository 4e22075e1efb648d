//! Images that are in the store.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use appc::{AcIdentifier, ImageManifest, Labels};

use crate::error::At;
use crate::index::Row;
use crate::layout::make_parent;
use crate::temporary::{self, Temporary};
use crate::{Error, ImageId, Result, Store, copy};

/// A last use is recorded at most this often.
const USE_STEP: Duration = Duration::from_secs(60);

/// What the store knows of an image.
#[derive(Debug, Clone)]
pub struct ImageInfo {
    /// The image.
    pub id: ImageId,
    /// Its name, without labels.
    pub name: String,
    /// Its `version` label.
    pub version: Option<String>,
    /// When it was imported.
    pub imported: SystemTime,
    /// When it was last run, prepared or read.
    pub last_used: SystemTime,
    /// Bytes of the blob.
    pub size: u64,
    /// Bytes of the rendered tree, 0 when there is none.
    pub tree_size: u64,
    /// It was fetched without naming a version.
    pub latest: bool,
}

impl Store {
    /// The image with this id, or with the id that begins so.
    ///
    /// # Errors
    /// Not an id, no such image, several.
    pub fn resolve(&self, text: &str) -> Result<ImageId> {
        let prefix = ImageId::normal_prefix(text)?;
        if let Ok(id) = prefix.parse::<ImageId>() {
            return match self.blob(&id).exists() {
                true => Ok(id),
                false => Err(Error::NotFound(text.to_owned())),
            };
        }
        let mut found = self.ids_with_prefix(&prefix)?;
        match found.len() {
            0 => Err(Error::NotFound(text.to_owned())),
            1 => Ok(found.remove(0)),
            _ => Err(Error::Ambiguous {
                prefix: text.to_owned(),
                candidates: found.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    /// The image of this name that has all these labels: the latest, else the newest.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn find_by_name(&self, name: &AcIdentifier, labels: &Labels) -> Result<Option<ImageId>> {
        for row in self.index()?.named(name.as_str())? {
            let Ok(manifest) = self.manifest(&row.id) else {
                continue;
            };
            let has = |label: &appc::Label| {
                manifest.labels.get(label.name.as_str()) == Some(label.value.as_str())
            };
            if labels.iter().all(has) {
                return Ok(Some(row.id));
            }
        }
        Ok(None)
    }

    /// The manifest of an image, as it was published.
    ///
    /// # Errors
    /// No such image.
    pub fn manifest_bytes(&self, id: &ImageId) -> Result<Vec<u8>> {
        let path = self.manifest_file(id);
        match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::NotFound(id.to_string()))
            }
            other => other.at("read", path),
        }
    }

    /// The manifest of an image.
    ///
    /// # Errors
    /// No such image.
    pub fn manifest(&self, id: &ImageId) -> Result<ImageManifest> {
        ImageManifest::parse(&self.manifest_bytes(id)?).map_err(Error::Manifest)
    }

    /// All images, those imported first at the front.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn list(&self) -> Result<Vec<ImageInfo>> {
        let rows = self.index()?.all()?;
        Ok(rows
            .into_iter()
            .filter_map(|row| self.describe(row).ok())
            .collect())
    }

    /// What is known of one image.
    ///
    /// # Errors
    /// No such image.
    pub fn info(&self, id: &ImageId) -> Result<ImageInfo> {
        match self.index()?.get(id)? {
            Some(row) => self.describe(row),
            None => Err(Error::NotFound(id.to_string())),
        }
    }

    fn describe(&self, row: Row) -> Result<ImageInfo> {
        let manifest = self.manifest(&row.id)?;
        let file = self.manifest_file(&row.id);
        let used = file
            .metadata()
            .and_then(|m| m.modified())
            .at("inspect", &file)?;
        let blob = self.blob(&row.id);
        let size = match row.size {
            0 => blob.metadata().at("inspect", &blob)?.len(),
            size => size,
        };
        Ok(ImageInfo {
            version: manifest.labels.get("version").map(str::to_owned),
            name: row.name,
            imported: row.imported,
            last_used: used.max(row.imported),
            size,
            tree_size: self.tree_size_of(&row.id),
            latest: row.latest,
            id: row.id,
        })
    }

    /// Records that an image was used now. It is the manifest file's time, so that no reader has to
    /// write to the index.
    pub fn touch(&self, id: &ImageId) {
        let path = self.manifest_file(id);
        let recent = |time: SystemTime| time.elapsed().is_ok_and(|age| age < USE_STEP);
        if path.metadata().and_then(|m| m.modified()).is_ok_and(recent) {
            return;
        }
        // Who may not write here is no use worth recording.
        if let Ok(file) = std::fs::File::options().write(true).open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// Removes an image; its trees are removed apart. Pods that run from its tree are not hurt, but
    /// it is for the caller to see that none does.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove(&self, id: &ImageId) -> Result<()> {
        self.index()?.remove(id)?;
        for path in [self.manifest_file(id), self.blob(id)] {
            copy::remove(&path).at("remove", &path)?;
        }
        Ok(())
    }

    /// Writes the image's archive, uncompressed.
    ///
    /// # Errors
    /// No such image, or the writer's.
    pub fn export(&self, id: &ImageId, mut writer: impl Write) -> Result<()> {
        let path = self.blob(id);
        let mut file = match std::fs::File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NotFound(id.to_string()));
            }
            other => other.at("open", &path)?,
        };
        std::io::copy(&mut file, &mut writer)
            .at("export", &path)
            .map(drop)
    }

    /// Removes what interrupted commands left.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn clean(&self) -> Result<()> {
        temporary::clean(self)
    }

    /// Ids of all images that begin so, sorted.
    pub(crate) fn ids_with_prefix(&self, prefix: &str) -> Result<Vec<ImageId>> {
        let digits = prefix.strip_prefix("sha512-").unwrap_or(prefix);
        let mut found = Vec::new();
        for bucket in names(&self.manifests())? {
            let width = digits.len().min(2);
            if bucket.get(..width) != digits.get(..width) {
                continue;
            }
            for name in names(&self.manifests().join(&bucket))? {
                if name.starts_with(prefix)
                    && let Ok(id) = name.parse::<ImageId>()
                    && self.blob(&id).exists()
                {
                    found.push(id);
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// Names in a directory; none if it does not exist.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("read directory", dir),
    };
    let names = entries.map(|entry| entry.map(|e| e.file_name().into_string()));
    names
        .filter_map(|name| name.map(std::result::Result::ok).transpose())
        .collect::<std::io::Result<_>>()
        .at("read directory", dir)
}

/// Stores an image's manifest, which makes the blob an image.
pub(crate) fn write_manifest(store: &Store, id: &ImageId, bytes: &[u8]) -> Result<()> {
    let place = store.manifest_file(id);
    if place.exists() {
        return Ok(());
    }
    make_parent(&place)?;
    let file = Temporary::file(store)?;
    let mut handle = file.handle();
    handle.write_all(bytes).at("write", file.path())?;
    file.persist(&place).map(drop)
}
