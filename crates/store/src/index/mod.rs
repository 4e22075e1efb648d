//! The index: what is known about images beyond their bytes, in SQLite.
//!
//! It can be lost. Whatever needs an image by its ID asks the file system, and a missing or
//! damaged index is made again from blobs and manifests. The rule that keeps both in step: an
//! image is there when its blob is; a row without a blob is ignored, and a row is written before
//! its blob appears.
//!
//! Connections are opened for one operation, under a shared lock, so that a rebuild (under the
//! exclusive lock) never pulls the database away from under somebody.

mod images;
mod rebuild;
mod remotes;
mod schema;

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::layout::Layout;
use crate::lock::Lock;
use crate::{Error, Result};

pub(crate) use images::Row;
pub(crate) use rebuild::{nanoseconds, time};
pub use remotes::Remote;

/// How long a writer waits for others.
const BUSY: Duration = Duration::from_secs(60);

/// The index of one store.
pub(crate) struct Index<'a> {
    layout: &'a Layout,
}

/// Why an operation did not come about.
enum Failed {
    /// The database is missing, empty or damaged.
    Damaged(rusqlite::Error),
    Other(Error),
}

impl<'a> Index<'a> {
    pub(crate) fn new(layout: &'a Layout) -> Self {
        Index { layout }
    }

    fn path(&self) -> PathBuf {
        self.layout.database()
    }

    /// Runs an operation on the database, which is rebuilt first if it has to be.
    fn with<T>(&self, run: impl Fn(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let mut rebuilds = 0;
        loop {
            match self.attempt(&run) {
                Ok(value) => return Ok(value),
                Err(Failed::Other(error)) => return Err(error),
                Err(Failed::Damaged(_)) if rebuilds < 2 => self.rebuild()?,
                Err(Failed::Damaged(source)) => return Err(self.error(source)),
            }
            rebuilds += 1;
        }
    }

    fn attempt<T>(&self, run: impl Fn(&Connection) -> rusqlite::Result<T>) -> Result<T, Failed> {
        if !self.path().exists() {
            return Err(missing());
        }
        let _lock = Lock::shared(&self.layout.database_lock()).map_err(Failed::Other)?;
        let connection = self.open()?;
        run(&connection).map_err(|e| self.failed(e))
    }

    /// Opens the database and looks at its schema.
    fn open(&self) -> Result<Connection, Failed> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        // Without CREATE, SQLite would report a missing file as one that cannot be opened. It takes
        // the log away from an empty one, and fails where two do that at once.
        if !self.path().metadata().is_ok_and(|file| file.len() > 0) {
            return Err(missing());
        }
        // SQLite itself refuses links anywhere in a path it is told not to follow.
        let path = self.path().canonicalize().unwrap_or_else(|_| self.path());
        let opened = Connection::open_with_flags(path, flags);
        let connection = opened.map_err(|e| self.failed(e))?;
        let version = schema::prepare(&connection).map_err(|e| self.failed(e))?;
        if version > schema::VERSION {
            return Err(Failed::Other(Error::NewerIndex {
                path: self.path(),
                found: version,
                known: schema::VERSION,
            }));
        }
        if version < schema::VERSION {
            return Err(missing());
        }
        Ok(connection)
    }

    fn failed(&self, source: rusqlite::Error) -> Failed {
        let damaged = matches!(
            source.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ) || matches!(
            &source,
            // A table or a column is missing, or holds something else.
            rusqlite::Error::SqlInputError { .. }
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
        );
        if damaged {
            return Failed::Damaged(source);
        }
        Failed::Other(self.error(source))
    }

    fn error(&self, source: rusqlite::Error) -> Error {
        Error::Index {
            path: self.path(),
            source,
        }
    }

    /// Writes the log back into the database and cuts it, for a collection.
    pub(crate) fn compact(&self) -> Result<()> {
        self.with(|c| {
            c.execute_batch("PRAGMA incremental_vacuum")?;
            c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        })
    }
}

fn missing() -> Failed {
    Failed::Damaged(rusqlite::Error::InvalidQuery)
}

/// Settings of every connection.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    // Writing the log back at every exit would cost each command two disk flushes.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(())
}
