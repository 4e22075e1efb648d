//! A directory of journal files: one is written, older ones are kept as long as there is room.

use std::collections::VecDeque;
use std::path::PathBuf;

use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::Error;
use crate::file::{Common, Field, Ids, JournalFile, Spare, Stamp};

/// Name of the file that is written.
const CURRENT: &str = "system.journal";

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The pod's machine ID.
    pub machine: [u8; 16],
    /// The kernel's boot ID.
    pub boot: [u8; 16],
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the first file; each further one may have four times as many, up to `file_max`.
    pub file_min: u64,
    /// Bytes of the largest file.
    pub file_max: u64,
    /// Bytes of all files together.
    pub total: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_min: 8 << 20,
            // In a table that is not much larger than the processor's cache, fields are found and made
            // half as fast again as in one for four times as much.
            file_max: 32 << 20,
            total: 4 << 30,
        }
    }
}

/// A journal that is written. Files appear with the first entry; entries are read by others once
/// they are [committed](Self::commit).
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    /// Fields of all entries.
    all: Common,
    identity: Identity,
    limits: Limits,
    seqnum_id: [u8; 16],
    seqnum: u64,
    file_limit: u64,
    /// What the next file must have room for.
    needed: u64,
    current: Option<JournalFile>,
    /// Of the file before, while there is no other.
    spare: Spare,
    archived: VecDeque<(PathBuf, u64)>,
    last: (u64, u64),
    /// Realtime and monotonic microseconds.
    now: (u64, u64),
    /// Entries that were appended, but could not be written.
    lost: u64,
}

impl Journal {
    /// A journal in a directory, which is made when it is needed. All its entries have these fields.
    pub fn new(
        dir: impl Into<PathBuf>,
        identity: Identity,
        limits: Limits,
        all: Vec<Vec<u8>>,
    ) -> Self {
        Self {
            dir: dir.into(),
            all: Common::new(all),
            identity,
            limits,
            seqnum_id: [0; 16],
            seqnum: 0,
            file_limit: limits.file_min,
            needed: 0,
            current: None,
            spare: Spare::default(),
            archived: VecDeque::new(),
            last: (0, 0),
            now: (0, 0),
            lost: 0,
        }
    }

    /// Looks at the clocks: the entries that follow came now.
    pub fn tick(&mut self) {
        self.now = (
            micros(clock_gettime(ClockId::Realtime)),
            micros(clock_gettime(ClockId::Monotonic)),
        );
    }

    /// Seconds of the monotonic clock at the last [`Self::tick`].
    pub fn seconds(&self) -> u64 {
        self.now.1 / 1_000_000
    }

    /// Appends an entry, at the time of the last [`Self::tick`]: the fields it has in common with
    /// others, and its own.
    ///
    /// # Errors
    /// The disk's. The entry is lost then; the next may find room.
    pub fn append(&mut self, common: &Common, own: &[Field<'_>]) -> Result<(), Error> {
        if self.now == (0, 0) {
            self.tick();
        }
        self.seqnum += 1;
        let stamp = Stamp {
            seqnum: self.seqnum,
            realtime: self.now.0,
            monotonic: self.now.1,
        };
        let ripe = match self.append_to_file(stamp, common, own) {
            Err(Error::Full) => {
                self.rotate();
                self.needed = room_of(own);
                self.append_to_file(stamp, common, own)?
            }
            other => other?,
        };
        self.last = (stamp.seqnum, stamp.realtime);
        if ripe {
            self.commit();
        }
        Ok(())
    }

    /// Whether it is time to commit.
    fn append_to_file(
        &mut self,
        stamp: Stamp,
        common: &Common,
        own: &[Field<'_>],
    ) -> Result<bool, Error> {
        let file = match &mut self.current {
            Some(file) => file,
            None => {
                let file = self.create()?;
                self.current.insert(file)
            }
        };
        file.append(stamp, &self.all, common, own)?;
        Ok(file.is_ripe())
    }

    /// Writes what was appended, so that others read it and this process's death loses nothing. If it
    /// is much, or comes right after much, a thread does so meanwhile: [`Self::settle`] waits for it.
    pub fn commit(&mut self) {
        self.write(JournalFile::commit);
    }

    /// Waits until all is written that was [committed](Self::commit).
    pub fn settle(&mut self) {
        self.spare.wait();
        self.write(JournalFile::settle);
    }

    fn write(&mut self, how: impl Fn(&mut JournalFile) -> Result<(), Error>) {
        let Some(file) = &mut self.current else {
            return;
        };
        if how(file).is_err() {
            self.lost += file.waiting();
            // Nothing can be written there any more.
            self.put_aside();
        }
    }

    /// How many entries were appended, but could not be written, since it was asked last.
    pub fn take_lost(&mut self) -> u64 {
        let file = self.current.as_mut().map_or(0, JournalFile::take_lost);
        std::mem::take(&mut self.lost) + self.spare.take_lost() + file
    }

    #[cold]
    fn create(&mut self) -> Result<JournalFile, Error> {
        std::fs::create_dir_all(&self.dir).map_err(|error| {
            let errno = rustix::io::Errno::from_io_error(&error);
            Error::io("create", &self.dir)(errno.unwrap_or(rustix::io::Errno::IO))
        })?;
        let file_id = random(&self.dir)?;
        if self.seqnum_id == [0; 16] {
            self.seqnum_id = file_id;
        }
        let ids = Ids {
            file: file_id,
            machine: self.identity.machine,
            boot: self.identity.boot,
            seqnum: self.seqnum_id,
        };
        let path = self.dir.join(CURRENT);
        let limit = self.file_limit.max(std::mem::take(&mut self.needed));
        JournalFile::create(&path, limit, ids, &mut self.spare)
    }

    /// Makes room for the next file.
    #[cold]
    fn rotate(&mut self) {
        self.commit();
        self.put_aside();
    }

    fn put_aside(&mut self) {
        let Some(file) = self.current.take() else {
            return;
        };
        let id: String = self.seqnum_id.iter().map(|b| format!("{b:02x}")).collect();
        let (seqnum, realtime) = self.last;
        let name = format!("system@{id}-{seqnum:016x}-{realtime:016x}.journal");
        let path = self.dir.join(name);
        if file.has_appeared() {
            self.archived.push_back((path.clone(), file.size()));
        }
        self.spare = file.close(Some(path));
        self.file_limit = (self.file_limit * 4).min(self.limits.file_max);
        let mut total: u64 = self.archived.iter().map(|(_, size)| size).sum();
        while total + self.file_limit > self.limits.total {
            let Some((oldest, size)) = self.archived.pop_front() else {
                break;
            };
            if self.archived.is_empty() {
                self.spare.wait();
            }
            // One that cannot be removed was removed by somebody else.
            let _ = std::fs::remove_file(oldest);
            total -= size;
        }
    }

    /// Ends the thread that writes, once what it has is written. A process that clones itself must
    /// have none.
    pub fn end_thread(&mut self) {
        self.spare.wait();
        if let Some(file) = &mut self.current {
            file.end_thread();
        }
    }

    /// Lets go of memory until the next entry.
    pub fn rest(&mut self) {
        self.spare.wait();
        self.lost += self.spare.take_lost();
        self.spare = Spare::default();
        if let Some(file) = &mut self.current {
            file.rest();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.commit();
        self.settle();
        if let Some(file) = self.current.take() {
            file.close(None).wait();
        }
    }
}

/// Bytes of a file that has room for an entry of these fields: with its tables, and some others.
fn room_of(fields: &[Field<'_>]) -> u64 {
    let bytes: usize = fields.iter().flatten().map(|piece| piece.len()).sum();
    (bytes + bytes / 16 + (256 << 10)) as u64
}

fn micros(time: Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

fn random(dir: &std::path::Path) -> Result<[u8; 16], Error> {
    let mut id = [0; 16];
    getrandom(&mut id, GetRandomFlags::empty()).map_err(Error::io("make an ID for", dir))?;
    // Of the form that 128-bit IDs have (sd-id128): a random UUID.
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    Ok(id)
}
