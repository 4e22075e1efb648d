//! The table of images.

use appc::Hash;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, named_params, params};

use super::Index;
use super::rebuild::scan;
use crate::Result;
use crate::image::ImageKind;

/// One image as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: Hash,
    pub(crate) kind: ImageKind,
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) import_time: i64,
    pub(crate) latest: bool,
    pub(crate) size: u64,
    pub(crate) tree_size: u64,
}

const COLUMNS: &str =
    "SELECT id, kind, name, version, import_time, latest, size, tree_size FROM image";

impl Row {
    /// Inserts the row, or brings an older one of the same image up to date.
    pub(super) fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO image VALUES
                    (:id, :kind, :name, :version, :import_time, :latest, :size, :tree_size)
                 ON CONFLICT (id) DO UPDATE SET
                    name = excluded.name,
                    version = excluded.version,
                    import_time = excluded.import_time,
                    latest = latest OR excluded.latest,
                    tree_size = max(tree_size, excluded.tree_size)",
            )?
            .execute(named_params! {
                ":id": self.id.as_str(),
                ":kind": self.kind.as_str(),
                ":name": self.name,
                ":version": self.version,
                ":import_time": self.import_time,
                ":latest": self.latest,
                ":size": self.size.cast_signed(),
                ":tree_size": self.tree_size.cast_signed(),
            })
            .map(drop)
    }

    /// A row that this code wrote; what somebody else put there makes the index a damaged one.
    fn read(row: &SqlRow<'_>) -> rusqlite::Result<Self> {
        let id: String = row.get(0)?;
        let kind: String = row.get(1)?;
        let damaged = || {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            rusqlite::Error::SqliteFailure(code, Some("a row of the index is damaged".to_owned()))
        };
        Ok(Row {
            id: Hash::parse(&id).map_err(|_| damaged())?,
            kind: ImageKind::parse(&kind).ok_or_else(damaged)?,
            name: row.get(2)?,
            version: row.get(3)?,
            import_time: row.get(4)?,
            latest: row.get(5)?,
            size: row.get::<_, i64>(6)?.cast_unsigned(),
            tree_size: row.get::<_, i64>(7)?.cast_unsigned(),
        })
    }
}

pub(super) fn read_all(connection: &Connection) -> rusqlite::Result<Vec<Row>> {
    connection
        .prepare(COLUMNS)?
        .query_map([], Row::read)?
        .collect()
}

impl Index<'_> {
    pub(crate) fn insert(&self, row: &Row) -> Result<()> {
        self.with(|c| row.insert(c))
    }

    /// All rows, in no order that means anything. Without permission for the database the file
    /// system is asked instead.
    pub(crate) fn images(&self) -> Result<Vec<Row>> {
        self.or_scan(self.with(read_all))
    }

    /// The images with a name, those fetched as the latest first, the newest first among them.
    pub(crate) fn named(&self, name: &str) -> Result<Vec<Row>> {
        let rows = self.with(|c| {
            c.prepare(&format!(
                "{COLUMNS} WHERE name = ?1 ORDER BY latest DESC, import_time DESC, id"
            ))?
            .query_map([name], Row::read)?
            .collect::<rusqlite::Result<Vec<_>>>()
        });
        let mut rows = self.or_scan(rows)?;
        rows.retain(|row| row.name == name);
        Ok(rows)
    }

    pub(crate) fn image(&self, id: &Hash) -> Result<Option<Row>> {
        let row = self.with(|c| {
            let query = format!("{COLUMNS} WHERE id = ?1");
            c.query_row(&query, [id.as_str()], Row::read).optional()
        });
        let rows = self.or_scan(row.map(|row| row.into_iter().collect()))?;
        Ok(rows.into_iter().find(|row| row.id == *id))
    }

    pub(crate) fn set_tree_size(&self, id: &Hash, size: u64) -> Result<()> {
        self.with(|c| {
            c.execute(
                "UPDATE image SET tree_size = ?2 WHERE id = ?1",
                params![id.as_str(), size.cast_signed()],
            )
            .map(drop)
        })
    }

    /// Forgets an image, and the addresses it came from.
    pub(crate) fn remove(&self, id: &Hash) -> Result<()> {
        self.with(|c| {
            let transaction = c.unchecked_transaction()?;
            transaction.execute("DELETE FROM image WHERE id = ?1", [id.as_str()])?;
            transaction.execute("DELETE FROM remote WHERE image = ?1", [id.as_str()])?;
            transaction.commit()
        })
    }

    fn or_scan(&self, rows: Result<Vec<Row>>) -> Result<Vec<Row>> {
        match rows {
            Err(e) if e.is_permission() => scan(self.layout).map_err(|_| e),
            other => other,
        }
    }

    /// Brings rows and blobs in step after a power failure or a killed import: rows for images
    /// without one, none for images that are gone.
    pub(crate) fn reconcile(&self) -> Result<()> {
        let there = scan(self.layout)?;
        let known = self.images()?;
        for row in &there {
            if !known.iter().any(|k| k.id == row.id) {
                self.insert(row)?;
            }
        }
        for row in known {
            // An import holds the image's lock from its row to its blob.
            let gone = || !self.layout.blob(&row.id).exists();
            if gone() {
                let lock = crate::lock::Lock::exclusive(&self.layout.image_lock(&row.id))?;
                if gone() {
                    self.remove(&row.id)?;
                }
                lock.remove();
            }
        }
        Ok(())
    }
}
