//! The index of images: names, times and where they came from. It can be lost: blobs and manifests
//! are the truth, and it is made anew from them.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use appc::ImageManifest;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use rustix::fs::{FlockOperation, flock};

use crate::error::At;
use crate::layout::make_dir;
use crate::{ImageId, Result, Store};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS version (version INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS aciinfo (
        blobkey TEXT PRIMARY KEY, name TEXT NOT NULL, importtime INTEGER NOT NULL,
        latest INTEGER NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS aciinfo_name ON aciinfo (name);
    CREATE TABLE IF NOT EXISTS remote (
        aciurl TEXT PRIMARY KEY, sigurl TEXT NOT NULL, etag TEXT NOT NULL, blobkey TEXT NOT NULL,
        cachemaxage INTEGER NOT NULL, downloadtime INTEGER NOT NULL) WITHOUT ROWID;
";
const VERSION: i64 = 1;
/// How long a process waits for another's write.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open index.
pub(crate) struct Index {
    connection: Connection,
}

/// What the index knows of an image.
pub(crate) struct Row {
    pub(crate) id: ImageId,
    pub(crate) name: String,
    pub(crate) imported: SystemTime,
    pub(crate) latest: bool,
    pub(crate) size: u64,
}

impl Store {
    /// Opens the index; makes it, from the blobs, where it is missing or broken.
    pub(crate) fn index(&self) -> Result<Index> {
        let dir = self.index_dir();
        let file = dir.join("index.sqlite");
        if file.exists() {
            match Index::open(&file) {
                Ok(index) => return Ok(index),
                Err(error) if !is_corruption(&error) => return Err(error.into()),
                Err(_) => {}
            }
        }
        make_dir(&dir)?;
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).at("create", &lock_path)?;
        flock(&lock, FlockOperation::LockExclusive).at("lock", &lock_path)?;
        // Somebody else may have made it while this process waited.
        if file.exists() {
            match Index::open(&file) {
                Ok(index) => return Ok(index),
                Err(error) if !is_corruption(&error) => return Err(error.into()),
                Err(_) => discard(&dir)?,
            }
        }
        Index::make(self, &file)
    }
}

/// Removes a broken index with its logs.
fn discard(dir: &Path) -> Result<()> {
    for name in [
        "index.sqlite",
        "index.sqlite-wal",
        "index.sqlite-shm",
        "index.sqlite-journal",
    ] {
        crate::copy::remove(&dir.join(name)).at("remove", dir.join(name))?;
    }
    Ok(())
}

fn is_corruption(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(cause, _) => matches!(
            cause.code,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown
        ),
        // A table or its one row is missing.
        rusqlite::Error::SqlInputError { .. } | rusqlite::Error::QueryReturnedNoRows => true,
        _ => false,
    }
}

impl Index {
    fn open(file: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let version: i64 =
            connection.query_row("SELECT version FROM version", [], |row| row.get(0))?;
        if version != VERSION {
            return Err(rusqlite::Error::QueryReturnedNoRows);
        }
        Ok(Self { connection })
    }

    /// Makes the index beside its place, from what is in the store, and moves it there.
    fn make(store: &Store, file: &Path) -> Result<Self> {
        let new = file.with_extension("new");
        crate::copy::remove(&new).at("remove", &new)?;
        let connection = Connection::open(&new)?;
        connection.execute_batch(SCHEMA)?;
        connection.execute("INSERT INTO version VALUES (?1)", [VERSION])?;
        let mut index = Self { connection };
        index.rebuild(store)?;
        index
            .connection
            .pragma_update(None, "journal_mode", "WAL")?;
        index.connection.close().map_err(|(_, error)| error)?;
        std::fs::rename(&new, file).at("move into place", file)?;
        Ok(Self::open(file)?)
    }

    fn rebuild(&mut self, store: &Store) -> Result<()> {
        let transaction = self.connection.transaction()?;
        for id in store.ids_with_prefix("sha512-")? {
            // A blob without a readable manifest is no image; a collection removes it.
            let Ok(manifest) = store.manifest(&id) else {
                continue;
            };
            let blob = store.blob(&id);
            let Ok(meta) = blob.metadata() else { continue };
            insert(
                &transaction,
                &id,
                &manifest,
                meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
                false,
                meta.len(),
            )?;
        }
        Ok(transaction.commit()?)
    }

    /// Adds an image; one that is there keeps its import time.
    pub(crate) fn add(&self, id: &ImageId, manifest: &ImageManifest, latest: bool) -> Result<()> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos() as i64;
        // The size is looked up when asked for: a blob never changes.
        insert(&self.connection, id, manifest, now, latest, 0)?;
        Ok(())
    }

    pub(crate) fn remove(&self, id: &ImageId) -> Result<()> {
        self.connection
            .execute("DELETE FROM remote WHERE blobkey = ?1", [id.as_str()])?;
        self.connection
            .execute("DELETE FROM aciinfo WHERE blobkey = ?1", [id.as_str()])?;
        Ok(())
    }

    pub(crate) fn get(&self, id: &ImageId) -> Result<Option<Row>> {
        let sql = "SELECT blobkey, name, importtime, latest, size FROM aciinfo WHERE blobkey = ?1";
        Ok(self
            .connection
            .query_row(sql, [id.as_str()], row)
            .optional()?
            .flatten())
    }

    /// All images, those imported first at the front.
    pub(crate) fn all(&self) -> Result<Vec<Row>> {
        self.rows("SELECT blobkey, name, importtime, latest, size FROM aciinfo ORDER BY importtime, blobkey", None)
    }

    /// The images of a name, the latest and newest at the front.
    pub(crate) fn named(&self, name: &str) -> Result<Vec<Row>> {
        let sql = "SELECT blobkey, name, importtime, latest, size FROM aciinfo WHERE name = ?1
                   ORDER BY latest DESC, importtime DESC";
        self.rows(sql, Some(name))
    }

    fn rows(&self, sql: &str, argument: Option<&str>) -> Result<Vec<Row>> {
        let mut statement = self.connection.prepare(sql)?;
        let rows = match argument {
            Some(argument) => statement.query_map([argument], row)?,
            None => statement.query_map([], row)?,
        };
        let rows: std::result::Result<Vec<_>, _> = rows.collect();
        Ok(rows?.into_iter().flatten().collect())
    }
}

fn insert(
    connection: &Connection,
    id: &ImageId,
    manifest: &ImageManifest,
    time: i64,
    latest: bool,
    size: u64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO aciinfo VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (blobkey) DO UPDATE SET latest = max(latest, excluded.latest)";
    let name = manifest.name.as_str();
    connection
        .execute(sql, params![id.as_str(), name, time, latest, size as i64])
        .map(drop)
}

/// A row; `None` if its key is not an id, as in an index that somebody edited.
fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Row>> {
    let key: String = row.get(0)?;
    let Ok(id) = key.parse() else { return Ok(None) };
    let nanoseconds: i64 = row.get(2)?;
    Ok(Some(Row {
        id,
        name: row.get(1)?,
        imported: UNIX_EPOCH + Duration::from_nanos(nanoseconds.max(0) as u64),
        latest: row.get(3)?,
        size: row.get::<_, i64>(4)? as u64,
    }))
}
