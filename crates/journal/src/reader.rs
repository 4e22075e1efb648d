//! Reading journal files, also while they are written.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::Error;
use crate::format::{self, header, kind, object};
use crate::window::Window;

/// Longest field that is read.
const FIELD_MAX: u64 = 64 << 20;
/// More items than this has no entry.
const ITEMS_MAX: u64 = 1024;
/// Data objects that are remembered: most fields come with every entry.
const REMEMBERED: usize = 256;

/// An entry: a time and fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Grows by one from entry to entry, over all files of a journal.
    pub seqnum: u64,
    /// Microseconds since 1970.
    pub realtime: u64,
    /// Microseconds since the boot.
    pub monotonic: u64,
    /// `NAME=value`, in the file's order.
    pub fields: Vec<Rc<[u8]>>,
}

impl Entry {
    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let fields = self.fields.iter().filter_map(|field| {
            let (field_name, value) = field.split_at_checked(name.len())?;
            (field_name == name.as_bytes()).then_some(value)
        });
        fields.filter_map(|rest| rest.strip_prefix(b"=")).next()
    }
}

/// A journal file, read from its first entry on.
#[derive(Debug)]
pub struct Reader {
    file: Window,
    path: PathBuf,
    /// Entries that were read, and those that are there.
    read: u64,
    there: u64,
    /// The array the next entry is named in, and its place there.
    array: u64,
    place: u64,
    known: HashMap<u64, Rc<[u8]>>,
    /// Offsets in entries and arrays are short.
    compact: bool,
}

/// The files of a journal, the oldest first.
pub fn files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "journal") {
            found.push(path);
        }
    }
    // `system@…` of one journal sort by their numbers, and before `system.journal`, which is last.
    found.sort_by_key(|path| {
        let current = path.file_name().is_some_and(|n| n == "system.journal");
        (current, path.clone())
    });
    Ok(found)
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// A file that cannot be read or is no journal.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::Io {
            operation: "open",
            path: path.to_owned(),
            errno: rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO),
        };
        let mut reader = Self {
            file: Window::new(File::open(path).map_err(failed)?),
            path: path.to_owned(),
            read: 0,
            there: 0,
            array: 0,
            place: 0,
            known: HashMap::new(),
            compact: false,
        };
        let mut signature = [0; 8];
        reader.bytes(0, &mut signature)?;
        if signature != format::SIGNATURE {
            return Err(reader.damaged("it is no journal"));
        }
        let mut flags = [0; 4];
        reader.bytes(header::INCOMPATIBLE, &mut flags)?;
        let flags = u32::from_le_bytes(flags);
        if flags & !format::READABLE != 0 {
            return Err(reader.damaged("its kind of journal is not known"));
        }
        reader.compact = flags & format::COMPACT != 0;
        Ok(reader)
    }

    /// The next entry; `None` if there is none yet.
    ///
    /// # Errors
    /// A damaged file.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        if self.read >= self.there {
            self.there = self.number_now(header::N_ENTRIES)?;
            self.file.forget();
        }
        if self.read >= self.there {
            return Ok(None);
        }
        if self.array == 0 {
            self.array = self.number(header::ENTRY_ARRAY)?;
        }
        let item = match self.compact {
            true => object::ITEM,
            false => object::LONG_ITEM,
        };
        let size = self.object(self.array, kind::ENTRY_ARRAY)?;
        let capacity = size.saturating_sub(object::ARRAY_ITEMS) / item;
        if self.place == capacity {
            self.array = self.number(self.array + object::ARRAY_NEXT)?;
            self.place = 0;
            self.object(self.array, kind::ENTRY_ARRAY)?;
        }
        let entry = self.offset(self.array + object::ARRAY_ITEMS + item * self.place)?;
        let entry = self.entry(entry)?;
        self.place += 1;
        self.read += 1;
        Ok(Some(entry))
    }

    /// The number of the last entry there is now; 0 if there is none.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn last_seqnum(&self) -> Result<u64, Error> {
        self.number_now(header::TAIL_SEQNUM)
    }

    /// Whether no more entries will come.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn is_finished(&self) -> Result<bool, Error> {
        let mut state = [0];
        self.bytes_now(header::STATE, &mut state)?;
        Ok(state[0] != format::ONLINE)
    }

    fn entry(&mut self, at: u64) -> Result<Entry, Error> {
        let size = self.object(at, kind::ENTRY)?;
        let item = match self.compact {
            true => object::ITEM,
            false => object::LONG_ENTRY_ITEM,
        };
        let items = size.saturating_sub(object::ENTRY_ITEMS) / item;
        if items > ITEMS_MAX {
            return Err(self.damaged("an entry has too many fields"));
        }
        let mut bytes = vec![0; (object::ENTRY_ITEMS + items * item) as usize];
        self.bytes(at, &mut bytes)?;
        let number = |at: u64| {
            let part = bytes.get(at as usize..at as usize + 8);
            part.and_then(|p| p.try_into().ok())
                .map_or(0, u64::from_le_bytes)
        };
        let mut entry = Entry {
            seqnum: number(object::ENTRY_SEQNUM),
            realtime: number(object::ENTRY_REALTIME),
            monotonic: number(object::ENTRY_MONOTONIC),
            fields: Vec::with_capacity(items as usize),
        };
        for place in bytes[object::ENTRY_ITEMS as usize..].chunks(item as usize) {
            // An offset of as many bytes as the place has, the hash left out.
            let mut data = [0; 8];
            let length = place.len().min(data.len());
            data[..length].copy_from_slice(&place[..length]);
            entry.fields.push(self.data(u64::from_le_bytes(data))?);
        }
        Ok(entry)
    }

    fn data(&mut self, at: u64) -> Result<Rc<[u8]>, Error> {
        if let Some(known) = self.known.get(&at) {
            return Ok(Rc::clone(known));
        }
        let size = self.object(at, kind::DATA)?;
        let head = match self.compact {
            true => object::DATA_PAYLOAD,
            false => object::DATA_TAIL,
        };
        let length = size.saturating_sub(head);
        if length > FIELD_MAX {
            return Err(self.damaged("a field is too long"));
        }
        let mut payload = vec![0; length as usize];
        self.bytes(at + head, &mut payload)?;
        let payload: Rc<[u8]> = payload.into();
        if self.known.len() < REMEMBERED && !payload.starts_with(b"MESSAGE=") {
            self.known.insert(at, Rc::clone(&payload));
        }
        Ok(payload)
    }

    /// The size of an object of this kind.
    fn object(&mut self, at: u64, kind: u8) -> Result<u64, Error> {
        let mut head = [0; 16];
        self.bytes(at, &mut head)?;
        let [found, flags, ..] = head;
        let (_, size) = head.split_at(object::SIZE as usize);
        let size = size.try_into().map_or(0, u64::from_le_bytes);
        match found == kind && flags == 0 && size >= object::HEADER {
            true => Ok(size),
            false => Err(self.damaged("an object is not what it should be")),
        }
    }

    /// An offset in an array.
    fn offset(&mut self, at: u64) -> Result<u64, Error> {
        if !self.compact {
            return self.number(at);
        }
        let mut bytes = [0; 4];
        self.bytes(at, &mut bytes)?;
        Ok(u64::from(u32::from_le_bytes(bytes)))
    }

    fn number(&mut self, at: u64) -> Result<u64, Error> {
        let mut bytes = [0; 8];
        self.bytes(at, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn number_now(&self, at: u64) -> Result<u64, Error> {
        let mut bytes = [0; 8];
        self.bytes_now(at, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Bytes of what is published: they do not change any more.
    fn bytes(&mut self, at: u64, bytes: &mut [u8]) -> Result<(), Error> {
        let outcome = self.file.read(at, bytes);
        outcome.map_err(|_| self.damaged("it ends too early"))
    }

    /// Bytes that change.
    fn bytes_now(&self, at: u64, bytes: &mut [u8]) -> Result<(), Error> {
        let outcome = self.file.read_now(at, bytes);
        outcome.map_err(|_| self.damaged("it ends too early"))
    }

    fn damaged(&self, reason: &'static str) -> Error {
        Error::Damaged {
            path: self.path.clone(),
            reason,
        }
    }
}
