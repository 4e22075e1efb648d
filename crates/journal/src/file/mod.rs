//! One journal file, being written.
//!
//! Entries are gathered, and published together: first the new objects are written, then whatever
//! names them, the header last. Whoever reads meanwhile, or after the writer was killed between the
//! two, sees whole entries.

mod batch;
mod chain;
mod common;
mod data;
mod disk;
mod header;
mod known;
mod lines;
mod links;
mod seen;
mod spare;
mod spread;
mod writer;

use std::collections::HashMap;
use std::fs::remove_file;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::Error;
use crate::format::{kind, object};
use chain::Chain;
use data::{Item, Name, Recent, Table};
use disk::Disk;
use header::Numbers;
use known::Known;
use seen::Seen;
use spread::Spread;

pub use common::Common;
pub use data::Field;
pub(crate) use spare::Spare;

/// So many bytes of objects are gathered at most.
const RIPE: usize = 1024 * 1024;
/// So many data objects and names are remembered from one batch to the next.
const REMEMBERED: usize = 1024;

/// Places in an entry whose last field is remembered.
const RECENT: usize = 4;

/// What an entry has beside its fields.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stamp {
    pub(crate) seqnum: u64,
    /// Microseconds since 1970.
    pub(crate) realtime: u64,
    /// Microseconds since the boot.
    pub(crate) monotonic: u64,
}

impl Stamp {
    /// Puts it into an entry, with the entry's identity.
    fn put(&self, entry: &mut [u8], xor: u64) {
        let numbers = [self.seqnum, self.realtime, self.monotonic].map(u64::to_le_bytes);
        object::put(entry, object::ENTRY_SEQNUM, numbers.as_flattened());
        object::put(entry, object::ENTRY_XOR, &xor.to_le_bytes());
    }
}

/// Whose file it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids {
    pub(crate) file: [u8; 16],
    pub(crate) machine: [u8; 16],
    pub(crate) boot: [u8; 16],
    pub(crate) seqnum: [u8; 16],
}

/// A file that entries are appended to.
#[derive(Debug)]
pub(crate) struct JournalFile {
    disk: Disk,
    ids: Ids,
    numbers: Numbers,
    data_table: Table,
    field_table: Table,
    /// The chain of all entries.
    entries: Chain,
    /// Data objects that may be there.
    seen: Seen,
    known: Vec<Known>,
    /// So many of them were not forgotten the last time.
    kept: usize,
    known_by_offset: HashMap<u64, usize, Spread>,
    names: Vec<Name>,
    names_by_name: HashMap<Vec<u8>, usize>,
    /// The name that was looked for last.
    last_name: usize,
    /// By the place in an entry.
    recent: [Option<Recent>; RECENT],
    /// The fields that the last entry had in common with others.
    common: common::Resolved,
    /// The same of entries before it, by their numbers.
    commons: HashMap<u64, common::Resolved, Spread>,
    /// So many of the gathered entries are known to the chain of all, and to the data objects of
    /// the common fields.
    told: usize,
    /// Memory for an entry's own items.
    own: Vec<Item>,
}

impl JournalFile {
    /// Makes a new file of at most `limit` bytes. It appears with its first entries, once the file that
    /// `spare` is from has another name.
    pub(crate) fn create(
        path: &Path,
        limit: u64,
        ids: Ids,
        spare: &mut Spare,
    ) -> Result<Self, Error> {
        let unfinished = path.with_extension("new");
        // A writer that was killed may have left one.
        let _ = remove_file(&unfinished);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(CWD, &unfinished, flags, Mode::from_raw_mode(0o640))
            .map_err(Error::io("create", &unfinished))?;
        let (mut disk, seen) = Disk::new(file, unfinished.clone(), path, limit, spare)
            .inspect_err(|_| drop(remove_file(&unfinished)))?;
        let mut numbers = Numbers::default();
        match header::format(&mut disk, &mut numbers, limit, &ids) {
            Ok((field_table, data_table)) => Ok(Self {
                disk,
                ids,
                numbers,
                data_table,
                field_table,
                entries: Chain::of_all(),
                seen,
                known: Vec::new(),
                kept: 0,
                known_by_offset: HashMap::default(),
                names: Vec::new(),
                names_by_name: HashMap::new(),
                last_name: 0,
                recent: [const { None }; RECENT],
                common: common::Resolved::default(),
                commons: HashMap::default(),
                told: 0,
                own: Vec::new(),
            }),
            Err(error) => {
                *spare = disk.end_file(None);
                Err(error)
            }
        }
    }

    /// Bytes that it takes on disk.
    pub(crate) fn size(&self) -> u64 {
        self.disk.size()
    }

    /// Entries that are not published.
    pub(crate) fn waiting(&self) -> u64 {
        self.disk.batch.count() as u64
    }

    /// How many entries could not be published, as far as it is known, since it was asked last.
    pub(crate) fn take_lost(&mut self) -> u64 {
        self.disk.take_lost()
    }

    /// Whether it is time to publish them.
    pub(crate) fn is_ripe(&self) -> bool {
        self.disk.batch.length() >= RIPE
    }

    /// Gathers an entry of the fields that all have, those it has in common with others, and its own.
    ///
    /// # Errors
    /// [`Error::Full`], the disk's; the entry is not there then.
    pub(crate) fn append(
        &mut self,
        stamp: Stamp,
        all: &Common,
        common: &Common,
        own: &[Field<'_>],
    ) -> Result<(), Error> {
        self.disk.check()?;
        self.have(all, common)?;
        if let [field] = own
            && self.append_line(stamp, *field)
        {
            return Ok(());
        }
        let mut items = std::mem::take(&mut self.own);
        items.clear();
        let outcome = self.append_items(stamp, own, &mut items);
        self.own = items;
        outcome
    }

    fn append_items(
        &mut self,
        stamp: Stamp,
        own: &[Field<'_>],
        items: &mut Vec<Item>,
    ) -> Result<(), Error> {
        for (place, field) in own.iter().enumerate() {
            items.push(self.recent_data(place, *field)?);
        }
        let xor = items
            .iter()
            .fold(self.common.xor, |xor, item| xor ^ item.jenkins);
        // Of two that are the same, the one that was there already knows more.
        items.sort_unstable_by_key(|item| (item.offset, item.is_new));
        items.dedup_by_key(|item| item.offset);
        items.retain(|item| !self.common.has(item));
        for item in items.iter().filter(|item| !item.is_new) {
            let known = self.known_alone(item.offset)?;
            self.make_room_for(known)?;
        }
        let entry = self.entry(stamp, xor, items)?;
        let number = self.disk.batch.count();
        self.disk.batch.entries.push(entry);
        self.common.room -= 1;
        for item in items {
            // Nobody else has it.
            if item.is_new && self.disk.is_fresh(item.offset) {
                self.disk.put64(item.offset + object::DATA_ENTRY, entry);
                self.disk.put64(item.offset + object::DATA_N_ENTRIES, 1);
            } else {
                let known = self.known(item.offset);
                self.refer(known, number..number + 1);
            }
        }
        self.numbers.entry(stamp);
        Ok(())
    }

    /// Writes the entry object: the items that it has in common, and its own, by their offsets.
    fn entry(&mut self, stamp: Stamp, xor: u64, own: &[Item]) -> Result<u64, Error> {
        let items = (self.common.len() + own.len()) as u64;
        let size = object::ENTRY_ITEMS + object::ITEM * items;
        let (entry, bytes) = self.disk.object(kind::ENTRY, size)?;
        let (head, mut rest) = bytes.split_at_mut(object::ENTRY_ITEMS as usize);
        stamp.put(head, xor);
        object::put(head, object::ENTRY_BOOT, &self.ids.boot);
        let mut written = 0;
        let mut put = |items: &[u8]| {
            let (place, behind) = std::mem::take(&mut rest).split_at_mut(items.len());
            place.copy_from_slice(items);
            rest = behind;
        };
        for item in own {
            let before = self.common.before(item.offset);
            put(&before[written..]);
            put(&item.bytes());
            written = before.len();
        }
        put(&self.common.before(u64::MAX)[written..]);
        self.numbers.object(entry);
        Ok(entry)
    }

    /// Publishes what was gathered, or has it published by a thread.
    ///
    /// # Errors
    /// The disk's. Nothing more can be written then, and the [waiting](Self::waiting) entries are
    /// lost.
    pub(crate) fn commit(&mut self) -> Result<(), Error> {
        match self.disk.batch.count() {
            0 => return self.disk.check(),
            _ => self.publish()?,
        }
        let most = (self.known.len() - self.kept).max(self.names.len());
        if most.max(self.commons.len()) > REMEMBERED {
            self.common = common::Resolved::default();
            self.commons.clear();
            self.recent = [const { None }; RECENT];
            self.forget_known();
            self.names.clear();
            self.names_by_name.clear();
        }
        Ok(())
    }

    /// Waits for what is being published.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        self.disk.settle()
    }

    fn publish(&mut self) -> Result<(), Error> {
        self.tell_common();
        self.entries.settle(&mut self.disk);
        self.tell_known();
        self.tell_names();
        self.told = 0;
        self.numbers.publish(&mut self.disk, self.entries.first)
    }

    /// Ends the thread that publishes.
    pub(crate) fn end_thread(&mut self) {
        self.disk.end_thread();
    }

    /// Lets go of memory.
    pub(crate) fn rest(&mut self) {
        self.seen.rest();
        self.commons = HashMap::default();
        self.disk.rest();
    }

    /// Whether there is a file that others see.
    pub(crate) fn has_appeared(&self) -> bool {
        self.disk.has_appeared()
    }

    /// Ends the file, which gets this name if another one takes what comes next. If a thread writes it,
    /// that ends it once all is written.
    pub(crate) fn close(self, aside: Option<PathBuf>) -> Spare {
        let mut spare = self.disk.end_file(aside);
        spare.seen = self.seen;
        spare
    }
}
