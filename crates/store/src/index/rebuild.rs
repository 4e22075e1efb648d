//! Making the index again from what is on disk.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use appc::{Hash, ImageManifest};
use rusqlite::{Connection, OpenFlags};

use super::{Failed, Index, Row, schema};
use crate::blob::stored_manifest;
use crate::image::ImageKind;
use crate::layout::{DIGITS, Layout, create_file};
use crate::lock::Lock;
use crate::{Error, Result};

impl Index<'_> {
    /// Replaces a missing or damaged database. Whoever waited for another rebuild finds that
    /// nothing is left to do.
    pub(super) fn rebuild(&self) -> Result<()> {
        self.layout.create()?;
        let _lock = Lock::exclusive(&self.layout.database_lock())?;
        if self.is_sound() {
            return Ok(());
        }
        let rows = scan(self.layout)?;
        let path = self.path();
        for suffix in ["", "-wal", "-shm"] {
            let mut file = path.clone().into_os_string();
            file.push(suffix);
            let file = Path::new(&file);
            match fs::remove_file(file) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(Error::io("remove", file)(e));
                }
                _ => {}
            }
        }
        create_file(&path)?;
        fill(&path, &rows).map_err(|source| self.error(source))
    }

    fn is_sound(&self) -> bool {
        let check = |c: &Connection| {
            c.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        };
        match self.open() {
            Ok(connection) => {
                check(&connection).is_ok_and(|answer| answer == "ok")
                    && schema::is_readable(&connection)
            }
            // A newer schema is not ours to replace; the next attempt reports it.
            Err(Failed::Other(Error::NewerIndex { .. })) => true,
            Err(_) => false,
        }
    }
}

/// Fills a new database in one transaction, the version with it: a killed rebuild leaves one that
/// the next command sees as incomplete.
fn fill(path: &Path, rows: &[Row]) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    schema::create(&connection)?;
    let transaction = connection.transaction()?;
    schema::tables(&transaction)?;
    for row in rows {
        row.insert(&transaction)?;
    }
    schema::complete(&transaction)?;
    transaction.commit()
}

/// What the file system says about all images. Which of them were fetched as the latest is not
/// in it; their times are the files'.
pub(crate) fn scan(layout: &Layout) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let sizes = tree_sizes(layout)?;
    for shard in names(&layout.blobs())? {
        for name in names(&layout.blobs().join(shard))? {
            let Ok(id) = Hash::parse(&name) else {
                continue;
            };
            if id.digits().len() != DIGITS {
                continue;
            }
            let Ok(manifest) = stored_manifest(layout, &id) else {
                // A blob that is no image is for a verification to find, not for every listing.
                continue;
            };
            rows.extend(row(layout, id, &manifest, &sizes));
        }
    }
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(rows)
}

fn row(layout: &Layout, id: Hash, manifest: &ImageManifest, sizes: &[(Hash, u64)]) -> Option<Row> {
    let blob = layout.blob(&id).metadata().ok()?;
    let modified = blob.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let tree = sizes.iter().find(|(image, _)| *image == id);
    let kind = crate::oci::kind(layout, &id).ok()?;
    let size = match kind {
        ImageKind::Aci => blob.len(),
        ImageKind::Oci => crate::oci::size(layout, &id),
    };
    Some(Row {
        id,
        kind,
        name: manifest.name.to_string(),
        version: manifest.version().map(str::to_owned),
        import_time: nanoseconds(modified),
        latest: false,
        size,
        tree_size: tree.map_or(0, |(_, size)| *size),
    })
}

/// The images of the tree store with the sizes of their trees.
fn tree_sizes(layout: &Layout) -> Result<Vec<(Hash, u64)>> {
    let mut sizes = Vec::new();
    for name in names(&layout.trees())? {
        let tree = layout.tree(&name);
        let image = fs::read_to_string(tree.join("image")).ok();
        let image = image.and_then(|text| Hash::parse(text.trim_end()).ok());
        let own = |tree: &Path| -> Option<u64> {
            let text = fs::read_to_string(tree.join("rendered")).ok()?;
            text.trim_end().parse().ok()
        };
        let lowers = fs::read_to_string(tree.join("lowers")).unwrap_or_default();
        let lowers = lowers.lines().filter_map(|l| own(&layout.tree(l)));
        let size = own(&tree).map(|size| size + lowers.sum::<u64>());
        sizes.extend(image.zip(size));
    }
    Ok(sizes)
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::io("read", directory))?,
    };
    entries
        .map(|entry| entry.map(|e| e.file_name().into_string().unwrap_or_default()))
        .collect::<std::io::Result<_>>()
        .map_err(Error::io("read", directory))
}

/// Nanoseconds since 1970, as the index has times.
pub(crate) fn nanoseconds(time: SystemTime) -> i64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A time of the index.
pub(crate) fn time(nanoseconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}
