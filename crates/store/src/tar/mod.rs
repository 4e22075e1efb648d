//! Reading tar archives: POSIX ustar and pax, GNU (long names, sparse files, base-256 numbers) and
//! the old V7 form.
//!
//! The `tar` crate reads long names into memory without a bound, knows no pax sparse files and
//! copies all data once more; what an image needs is small enough to be read here. Nothing is
//! trusted: numbers, names, extensions and maps are checked and bounded before they are used.

mod header;
mod pax;
mod sparse;
pub(crate) mod write;

use std::io::{self, BufRead};

pub(crate) use header::{BLOCK, is_header};

use crate::limits::Limits;
use crate::{Error, Result};
use header::Header;
use pax::Extensions;

/// Bytes of all extension records of one entry.
const EXTENSION: u64 = 1 << 20;

/// Seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// The name, in this archive, of the entry that shares its inode.
    HardLink(Vec<u8>),
    /// The text of the link.
    SymbolicLink(Vec<u8>),
    Character(u32, u32),
    Block(u32, u32),
    Fifo,
}

/// An extended attribute: name and value.
pub(crate) type Attribute = (Vec<u8>, Vec<u8>);

/// One entry, without its data. The name is as the archive has it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permission bits with set-user-ID, set-group-ID and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) modified: Time,
    /// Apparent size in bytes: with holes, unlike the data in the archive.
    pub(crate) size: u64,
    pub(crate) attributes: Vec<Attribute>,
    /// POSIX ACLs in their text form.
    pub(crate) acl: Option<Vec<u8>>,
    pub(crate) default_acl: Option<Vec<u8>>,
    /// Where data is in a sparse file: offsets and lengths; `None` for all of it.
    pub(crate) map: Option<Vec<(u64, u64)>>,
}

/// An archive being read from its beginning.
pub(crate) struct Archive<'l, R> {
    input: R,
    limits: &'l Limits,
    /// Bytes of the current entry still unread, and the padding after them.
    left: u64,
    padding: u64,
    entries: u64,
    offset: u64,
    global: Extensions,
    /// The end of the bytes between two entries is the end of the archive.
    lenient: bool,
}

impl<'l, R: BufRead> Archive<'l, R> {
    pub(crate) fn new(input: R, limits: &'l Limits) -> Self {
        Archive {
            input,
            limits,
            left: 0,
            padding: 0,
            entries: 0,
            offset: 0,
            global: Extensions::default(),
            lenient: false,
        }
    }

    /// An archive that may end without the mark, as layers do that some tools write; a digest says
    /// that nothing is missing.
    pub(crate) fn without_mark(input: R, limits: &'l Limits) -> Self {
        Archive {
            lenient: true,
            ..Archive::new(input, limits)
        }
    }

    /// The next entry, after what is left of the one before; `None` at the end-of-archive mark,
    /// without which the archive counts as truncated.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let mut extensions = self.global.clone();
        let mut long_name = None;
        let mut long_link = None;
        loop {
            self.skip(self.left + self.padding)?;
            (self.left, self.padding) = (0, 0);
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            match header.kind {
                b'x' => extensions.add(&self.extension(&header)?)?,
                b'g' => {
                    let records = self.extension(&header)?;
                    self.global.add(&records)?;
                    extensions.add(&records)?;
                }
                b'L' => long_name = Some(without_nul(self.extension(&header)?)),
                b'K' => long_link = Some(without_nul(self.extension(&header)?)),
                // A volume's label.
                b'V' => self.data_follows(header.size)?,
                _ => {
                    return self
                        .entry(header, extensions, long_name, long_link)
                        .map(Some);
                }
            }
        }
    }

    fn header(&mut self) -> Result<Option<Header>> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Error::TooLarge {
                what: "entries",
                limit: self.limits.entries,
            });
        }
        if self.lenient && fill(&mut self.input)?.is_empty() {
            return Ok(None);
        }
        let block = self.block("before the end-of-archive mark")?;
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        Header::parse(&block, self.offset - BLOCK as u64).map(Some)
    }

    fn entry(
        &mut self,
        header: Header,
        extensions: Extensions,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry> {
        let mut header = header;
        header.name = long_name.unwrap_or(header.name);
        header.link = long_link.unwrap_or(header.link);
        let (mut entry, stored) = extensions.apply(header)?;
        self.data_follows(stored)?;
        if entry.kind == Kind::File {
            self.sparse_map(&mut entry, extensions)?;
        }
        if entry.size > self.limits.file_bytes {
            return Err(Error::TooLarge {
                what: "bytes in one file",
                limit: self.limits.file_bytes,
            });
        }
        Ok(entry)
    }

    fn data_follows(&mut self, size: u64) -> Result<()> {
        let block = BLOCK as u64;
        if size > i64::MAX as u64 {
            return Err(Error::not_an_aci("an entry's size is beyond all bounds"));
        }
        self.left = size;
        self.padding = (block - size % block) % block;
        Ok(())
    }

    /// The whole data of an extension entry.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        if header.size > EXTENSION {
            return Err(Error::TooLarge {
                what: "bytes of an entry's extensions",
                limit: EXTENSION,
            });
        }
        self.data_follows(header.size)?;
        let mut data = Vec::new();
        self.data(|bytes| {
            data.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(data)
    }

    /// Hands over the current entry's data as it is stored, piece by piece and in order, without
    /// copying it.
    pub(crate) fn data(&mut self, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while self.left > 0 {
            let buffer = fill(&mut self.input)?;
            if buffer.is_empty() {
                return Err(Error::truncated(format!(
                    "{} bytes of an entry's data are missing at byte {}",
                    self.left, self.offset
                )));
            }
            let take =
                usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
            sink(&buffer[..take])?;
            self.consume(take);
            self.left -= take as u64;
        }
        Ok(())
    }

    fn block(&mut self, place: &str) -> Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        let mut have = 0;
        while have < BLOCK {
            let buffer = fill(&mut self.input)?;
            if buffer.is_empty() {
                return Err(Error::truncated(format!(
                    "it ends {place}, at byte {}",
                    self.offset
                )));
            }
            let take = buffer.len().min(BLOCK - have);
            block[have..have + take].copy_from_slice(&buffer[..take]);
            have += take;
            self.consume(take);
        }
        Ok(block)
    }

    fn skip(&mut self, mut bytes: u64) -> Result<()> {
        while bytes > 0 {
            let have = fill(&mut self.input)?.len();
            if have == 0 {
                return Err(Error::truncated(format!(
                    "{bytes} bytes are missing at byte {}",
                    self.offset
                )));
            }
            let take = usize::try_from(bytes).map_or(have, |bytes| bytes.min(have));
            self.consume(take);
            bytes -= take as u64;
        }
        Ok(())
    }

    fn consume(&mut self, bytes: usize) {
        self.input.consume(bytes);
        self.offset += bytes as u64;
    }
}

fn fill<R: BufRead>(input: &mut R) -> Result<&[u8]> {
    loop {
        match input.fill_buf() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(Error::Stream {
                    action: "read",
                    source,
                });
            }
            Ok(_) => break,
        }
    }
    // What was filled is there without another call to the source.
    input.fill_buf().map_err(|source| Error::Stream {
        action: "read",
        source,
    })
}

/// A member of an archive, and where its data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: Vec<u8>,
    /// The first byte of its data, counted from the beginning of the archive.
    pub offset: u64,
    /// Bytes of data.
    pub size: u64,
    /// What it links to, if it is a link.
    pub link: Option<Vec<u8>>,
    /// The link is a symbolic one.
    pub symbolic: bool,
}

/// Lists the files and links of an archive, of which there may be a hundred thousand.
///
/// # Errors
/// The archive is damaged or has more.
pub fn list(input: impl BufRead) -> Result<Vec<Member>> {
    let limits = Limits {
        entries: 100_000,
        ..Limits::default()
    };
    let mut archive = Archive::without_mark(input, &limits);
    let mut members = Vec::new();
    while let Some(entry) = archive.next()? {
        let (link, symbolic) = match entry.kind {
            Kind::File if entry.map.is_none() => (None, false),
            Kind::HardLink(target) => (Some(target), false),
            Kind::SymbolicLink(target) => (Some(target), true),
            _ => continue,
        };
        members.push(Member {
            name: entry.name,
            offset: archive.offset,
            size: entry.size,
            link,
            symbolic,
        });
    }
    Ok(members)
}

/// GNU long names end with a NUL that belongs to no name.
fn without_nul(mut name: Vec<u8>) -> Vec<u8> {
    if let Some(end) = name.iter().position(|b| *b == 0) {
        name.truncate(end);
    }
    name
}
