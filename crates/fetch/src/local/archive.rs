//! Archives of images, as one file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::Digest;
use store::{BlobSource, Compression, Limits, Opened};

use super::layout::Files;
use crate::{Error, Result};

/// Links that lead to links.
const LINKS: usize = 8;
/// How many times as large as its compressed form an archive of more than a gibibyte may be.
const RATIO: u64 = 1000;

/// A member's place in the file, or the name of another member.
#[derive(Debug, Clone)]
enum Member {
    File(u64, u64),
    Link(String),
}

/// A tar archive whose members are read where they lie.
pub(super) struct Tarball {
    file: Arc<File>,
    path: PathBuf,
    members: HashMap<String, Member>,
}

impl Tarball {
    /// Opens an archive; a compressed one is decompressed into a file without a name first.
    pub(super) fn open(path: &Path, scratch: &Path, what: &'static str) -> Result<Self> {
        let read = |e| Error::io("read", path)(e);
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        if !file.metadata().map_err(read)?.is_file() {
            return Err(Error::NotA {
                path: path.to_owned(),
                what,
                reason: "it is not a regular file".to_owned(),
            });
        }
        let mut head = Vec::new();
        (&mut file).take(512).read_to_end(&mut head).map_err(read)?;
        file.seek(SeekFrom::Start(0)).map_err(read)?;
        let file = match Compression::sniff(&head) {
            Some(Compression::None) => file,
            Some(format) => decompress(file, format, path, scratch)?,
            None => {
                return Err(Error::NotA {
                    path: path.to_owned(),
                    what,
                    reason: "it is no tar archive".to_owned(),
                });
            }
        };
        let listed = store::list_archive(BufReader::with_capacity(256 << 10, &file))?;
        let members = listed.into_iter().filter_map(|m| {
            let name = tidy(&m.name)?;
            let member = match m.link {
                Some(target) => Member::Link(linked(&name, &target, m.symbolic)?),
                None => Member::File(m.offset, m.size),
            };
            Some((name, member))
        });
        Ok(Self {
            members: members.collect(),
            file: Arc::new(file),
            path: path.to_owned(),
        })
    }

    /// Place and size of a member.
    pub(super) fn find(&self, name: &str) -> Result<(u64, u64)> {
        let mut at = name;
        for _ in 0..LINKS {
            match self.members.get(at) {
                Some(Member::File(offset, size)) => return Ok((*offset, *size)),
                Some(Member::Link(target)) => at = target,
                None => break,
            }
        }
        Err(Error::io("read", self.path.join(name))(io::Error::from(
            io::ErrorKind::NotFound,
        )))
    }

    /// Reads a part of the file.
    pub(super) fn part(&self, offset: u64, size: u64) -> Part {
        Part {
            file: Arc::clone(&self.file),
            at: offset,
            end: offset.saturating_add(size),
        }
    }

    pub(super) fn whole(&self, name: &str, limit: usize) -> Result<Vec<u8>> {
        let (offset, size) = self.find(name)?;
        let mut bytes = Vec::new();
        self.part(offset, size)
            .take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", self.path.join(name)))?;
        Ok(bytes)
    }

    pub(super) fn file_path(&self) -> &Path {
        &self.path
    }
}

fn decompress(file: File, format: Compression, path: &Path, scratch: &Path) -> Result<File> {
    let read = |e| Error::io("decompress", path)(e);
    let size = file.metadata().map_err(read)?.len();
    let limit = (1 << 30).max(size.saturating_mul(RATIO));
    let limit = limit.min(Limits::default().bytes);
    std::fs::create_dir_all(scratch).map_err(Error::io("create directory", scratch))?;
    let mut plain =
        tempfile::tempfile_in(scratch).map_err(Error::io("create a file in", scratch))?;
    let decoder = format.decoder(file).map_err(read)?;
    let copied = io::copy(&mut decoder.take(limit), &mut plain).map_err(read)?;
    if copied == limit {
        return Err(Error::NotA {
            path: path.to_owned(),
            what: "an archive of an image",
            reason: format!("it has more than {limit} bytes when decompressed"),
        });
    }
    plain.seek(SeekFrom::Start(0)).map_err(read)?;
    Ok(plain)
}

/// A member's name without `./`; none for names that lead elsewhere.
fn tidy(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The member that a link leads to: symbolic ones lead on from where they lie.
fn linked(name: &str, target: &[u8], symbolic: bool) -> Option<String> {
    match (symbolic, name.rsplit_once('/')) {
        (true, Some((above, _))) => {
            let mut path = format!("{above}/").into_bytes();
            path.extend_from_slice(target);
            tidy(&path)
        }
        _ => tidy(target),
    }
}

/// Some bytes of a file, read without moving its position.
pub(super) struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let room = left.min(buffer.len());
        let read = self.file.read_at(&mut buffer[..room], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Files for Tarball {
    fn small(&self, name: &str, limit: usize) -> Result<Vec<u8>> {
        self.whole(name, limit)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl BlobSource for Tarball {
    fn open(&self, blob: &Digest, offset: u64) -> Result<Opened<'_>, store::Refusal> {
        let (start, size) = self.find(&format!("blobs/sha256/{}", blob.hex()))?;
        let skip = offset.min(size);
        Ok((Box::new(self.part(start + skip, size - skip)), skip))
    }
}
