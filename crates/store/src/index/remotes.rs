//! Where images came from: the table that saves a download.

use std::time::{Duration, SystemTime};

use appc::Hash;
use rusqlite::{OptionalExtension, Row as SqlRow, named_params};

use super::rebuild::{nanoseconds, time};
use crate::{Result, Store};

/// What is known about an address that an image was fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The image's address.
    pub url: String,
    /// The signature's address; empty if there was none.
    pub signature_url: String,
    /// The server's `ETag`; empty if it gave none.
    pub etag: String,
    /// What was there.
    pub image: Hash,
    /// For how long the answer may be used without asking again.
    pub max_age: Duration,
    /// When it was fetched, or last found unchanged.
    pub download_time: SystemTime,
}

impl Remote {
    fn read(row: &SqlRow<'_>) -> rusqlite::Result<Option<Self>> {
        let image: String = row.get(3)?;
        let Ok(image) = Hash::parse(&image) else {
            return Ok(None);
        };
        Ok(Some(Remote {
            url: row.get(0)?,
            signature_url: row.get(1)?,
            etag: row.get(2)?,
            image,
            max_age: Duration::from_secs(row.get::<_, i64>(4)?.cast_unsigned()),
            download_time: time(row.get(5)?),
        }))
    }

    /// Whether the server's leave to use the answer still holds.
    pub fn is_fresh(&self) -> bool {
        let age = self.download_time.elapsed();
        age.is_ok_and(|age| age < self.max_age)
    }
}

impl Store {
    /// What is known about an address; `None` as well when the image it had is gone.
    pub fn remote(&self, url: &str) -> Result<Option<Remote>> {
        if !self.layout().database().exists() {
            return Ok(None);
        }
        let found = self.index().with(|c| {
            c.query_row("SELECT * FROM remote WHERE url = ?1", [url], Remote::read)
                .optional()
        })?;
        Ok(found
            .flatten()
            .filter(|remote| self.contains(&remote.image)))
    }

    /// Notes or replaces what is known about an address.
    pub fn set_remote(&self, remote: &Remote) -> Result<()> {
        let max_age = i64::try_from(remote.max_age.as_secs()).unwrap_or(i64::MAX);
        self.index().with(|c| {
            c.execute(
                "INSERT OR REPLACE INTO remote VALUES
                    (:url, :signature_url, :etag, :image, :max_age, :download_time)",
                named_params! {
                    ":url": remote.url,
                    ":signature_url": remote.signature_url,
                    ":etag": remote.etag,
                    ":image": remote.image.as_str(),
                    ":max_age": max_age,
                    ":download_time": nanoseconds(remote.download_time),
                },
            )
            .map(drop)
        })
    }

    /// All addresses whose images are there, those fetched last first.
    pub fn remotes(&self) -> Result<Vec<Remote>> {
        if !self.layout().database().exists() {
            return Ok(Vec::new());
        }
        let found = self.index().with(|c| {
            c.prepare("SELECT * FROM remote ORDER BY download_time DESC, url")?
                .query_map([], Remote::read)?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let there = |remote: &Remote| self.contains(&remote.image);
        Ok(found.into_iter().flatten().filter(there).collect())
    }

    /// Forgets an address.
    pub fn remove_remote(&self, url: &str) -> Result<()> {
        self.index().with(|c| {
            c.execute("DELETE FROM remote WHERE url = ?1", [url])
                .map(drop)
        })
    }
}
