//! Tables and their version.

use rusqlite::Connection;

/// The schema that this code reads and writes, kept in `user_version`. An older one is rebuilt:
/// all that matters is in the blobs.
pub(super) const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE image (
    id          TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,
    name        TEXT NOT NULL,
    version     TEXT,
    import_time INTEGER NOT NULL, -- nanoseconds since 1970
    latest      INTEGER NOT NULL, -- fetched by a name without a version
    size        INTEGER NOT NULL, -- bytes of the blob
    tree_size   INTEGER NOT NULL  -- bytes of the rendered tree
) WITHOUT ROWID;
CREATE INDEX image_name ON image (name);
CREATE TABLE remote (
    url           TEXT PRIMARY KEY,
    signature_url TEXT NOT NULL,
    etag          TEXT NOT NULL,
    image         TEXT NOT NULL,
    max_age       INTEGER NOT NULL, -- seconds
    download_time INTEGER NOT NULL  -- nanoseconds since 1970
) WITHOUT ROWID;
";

/// Sets a connection up and returns the schema it finds.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<i64> {
    super::configure(connection)?;
    connection.execute_batch("PRAGMA synchronous = NORMAL")?;
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Makes an empty file a database. Nothing of it waits for the disk, which may be busy with the
/// image that the database is made for: one that a power cut damages is made again.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    super::configure(connection)?;
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA auto_vacuum = INCREMENTAL")?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
}

/// Creates the tables. The caller marks them as complete when they are filled.
pub(super) fn tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)
}

/// Marks the tables as complete.
pub(super) fn complete(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("PRAGMA user_version = {VERSION}"))
}

/// Whether the tables are there with the columns that this code reads.
pub(super) fn is_readable(connection: &Connection) -> bool {
    let rows = super::images::read_all(connection);
    rows.is_ok()
        && connection
            .prepare("SELECT * FROM remote")
            .is_ok_and(|s| s.column_count() == 6)
}
