//! When and by whom a file's batches are published, from its appearance to its end.

use std::fs::remove_file;
use std::path::PathBuf;

use rustix::fs::rename;
use sandbox::filemap::FileMap;

use super::{Disk, LARGE};
use crate::Error;
use crate::file::header::End;
use crate::file::writer::Writer;
use crate::file::{RIPE, Spare};

impl Disk {
    /// Publishes the batch, with which the file has so many entries. One that is large goes to the
    /// thread, and so does what comes while that is busy; how it ends is told by a later call.
    ///
    /// # Errors
    /// The disk's, of this batch or one before. Nothing more can be written then.
    pub(in crate::file) fn publish(&mut self, n_entries: u64) -> Result<(), Error> {
        self.check()?;
        if n_entries > 0 {
            self.appear()?;
        }
        self.batch.n_entries = n_entries;
        self.batch.size = self.size;
        self.batch.needed = self.need();
        self.batch.prepare();
        let end = self.batch.end();
        let is_large = self.batch.length() >= LARGE;
        if is_large && self.writer.is_none() {
            self.writer = Writer::start(&self.file, RIPE);
        }
        if !is_large || self.writer.is_none() {
            self.batch.lay_out();
        }
        if let Some(writer) = &self.writer
            && (is_large || self.map.is_none())
        {
            let next = self.spare.batches.pop().unwrap_or_default();
            let batch = std::mem::replace(&mut self.batch, next);
            let (empty, outcome) = writer.hand_over(batch, self.map.take());
            self.spare.batches.extend(empty);
            self.size = self.size.max(outcome.size);
            if outcome.fault.is_some() {
                self.here();
            }
        } else if let Some(map) = &mut self.map {
            self.outcome
                .publish(&mut self.batch, &self.file, map, &mut Vec::new());
            self.size = self.size.max(self.outcome.size);
        }
        self.batch.base = end;
        self.check()
    }

    /// Lets others see the file, once the one before has another name.
    fn appear(&mut self) -> Result<(), Error> {
        let Some(name) = &self.name else {
            return Ok(());
        };
        if let Some(before) = &self.spare.writer {
            before.wait();
        }
        if let Err(errno) = rename(&self.path, name) {
            self.outcome.fault = Some(errno);
            return self.check();
        }
        self.path = name.clone();
        self.name = None;
        Ok(())
    }

    /// Waits until all that was handed over is published.
    ///
    /// # Errors
    /// The disk's.
    pub(in crate::file) fn settle(&mut self) -> Result<(), Error> {
        self.spare.wait();
        self.here();
        self.check()
    }

    /// The map of the file, with all in it that was published.
    pub(super) fn here(&mut self) -> Option<&mut FileMap> {
        if self.map.is_none()
            && let Some(writer) = &self.writer
        {
            let (map, outcome) = writer.take_back();
            self.map = map;
            self.outcome.add(outcome);
            self.size = self.size.max(outcome.size);
            self.set_valid();
        }
        self.map.as_mut()
    }

    /// # Errors
    /// The disk's, as far as it is known.
    pub(in crate::file) fn check(&self) -> Result<(), Error> {
        match self.outcome.fault {
            Some(errno) => Err(Error::io("write", &self.path)(errno)),
            None => Ok(()),
        }
    }

    /// Ends the thread, once what it has is published.
    pub(in crate::file) fn end_thread(&mut self) {
        self.spare.wait();
        self.here();
        if let Some(writer) = self.writer.take() {
            let (empty, _) = writer.end();
            self.spare.batches.extend(empty);
        }
    }

    /// Lets go of memory, and of the thread.
    pub(in crate::file) fn rest(&mut self) {
        self.end_thread();
        self.batch.rest();
        self.spare.batches = Vec::new();
        if let Some(map) = &self.map {
            map.rest();
        }
    }

    /// Whether others see it.
    pub(in crate::file) fn has_appeared(&self) -> bool {
        self.name.is_none()
    }

    /// Ends the file, or has the thread do so if it is there.
    pub(in crate::file) fn end_file(mut self, aside: Option<PathBuf>) -> Spare {
        self.spare.wait();
        if !self.has_appeared() {
            // Nobody misses it.
            let _ = remove_file(&self.path);
        }
        let end = End {
            at: self.batch.base,
            path: self.path,
            aside,
        };
        self.batch.clear();
        let mut spare = self.spare;
        spare.batches.push(self.batch);
        spare.lost += self.outcome.lost;
        match (&self.writer, &mut self.map) {
            // It may not even have the space for its head.
            _ if self.name.is_some() => {}
            (Some(writer), map) => writer.end_file(end, map.take()),
            (None, Some(map)) => end.write(&self.file, map),
            (None, None) => {}
        }
        spare.writer = self.writer;
        spare
    }
}
