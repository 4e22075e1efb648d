//! Sparse files: GNU's old form, and pax 0.0, 0.1 and 1.0.

use std::io::BufRead;

use super::header::number;
use super::pax::{Extensions, decimal};
use super::{Archive, BLOCK, Entry};
use crate::{Error, Result};

/// Pieces of data in one file.
pub(super) const PIECES: usize = 1 << 18;

pub(super) fn too_many() -> Error {
    Error::TooLarge {
        what: "pieces of data in one sparse file",
        limit: PIECES as u64,
    }
}

/// Offset of the field with the real size in the tail of an old GNU header, which begins at 345.
const REAL_SIZE: std::ops::Range<usize> = 138..150;
/// Whether blocks with more of the map follow.
const EXTENDED: usize = 137;

/// Takes over what an old GNU header says; the rest of the map is read later.
pub(super) fn from_header(entry: &mut Entry, tail: &[u8]) -> Result<()> {
    let real = number(&tail[REAL_SIZE]).and_then(|n| u64::try_from(n).ok());
    let Some(real) = real else {
        return Err(Error::entry(&entry.name, "its sparse map is damaged"));
    };
    let mut map = Vec::new();
    pieces(entry, &tail[41..EXTENDED], &mut map)?;
    // An empty piece that only this module sees stands for "more follows".
    if tail[EXTENDED] != 0 {
        map.push((u64::MAX, 0));
    }
    entry.size = real;
    entry.map = Some(map);
    Ok(())
}

fn pieces(entry: &Entry, field: &[u8], map: &mut Vec<(u64, u64)>) -> Result<()> {
    for piece in field.chunks_exact(24) {
        if piece[0] == 0 {
            break;
        }
        let part = |range| number(&piece[range]).and_then(|n| u64::try_from(n).ok());
        match (part(0..12), part(12..24)) {
            (Some(offset), Some(length)) => map.push((offset, length)),
            _ => return Err(Error::entry(&entry.name, "its sparse map is damaged")),
        }
        if map.len() > PIECES {
            return Err(too_many());
        }
    }
    Ok(())
}

impl<R: BufRead> Archive<'_, R> {
    /// Completes and checks the map of a sparse file; the archive stands before its data.
    pub(super) fn sparse_map(&mut self, entry: &mut Entry, extensions: Extensions) -> Result<()> {
        let sparse = extensions.sparse;
        if entry.map.is_some() {
            self.more_of_the_map(entry)?;
        } else if sparse.is_one() {
            let numbers = if sparse.in_data {
                self.map_in_data(entry)?
            } else {
                sparse.numbers
            };
            entry.size = sparse
                .size
                .ok_or_else(|| Error::entry(&entry.name, "a sparse file without its size"))?;
            entry.map = Some(pairs(entry, &numbers)?);
        }
        check(entry, self.left)
    }

    /// The blocks that follow an old GNU header.
    fn more_of_the_map(&mut self, entry: &mut Entry) -> Result<()> {
        let mut map = entry.map.take().unwrap_or_default();
        while map.pop_if(|piece| piece.0 == u64::MAX).is_some() {
            let block = self.block("in the map of a sparse file")?;
            pieces(entry, &block[..504], &mut map)?;
            if block[504] != 0 {
                map.push((u64::MAX, 0));
            }
        }
        entry.map = Some(map);
        Ok(())
    }

    /// Form 1.0: decimal numbers, one a line, filled up to whole blocks, before the data. The
    /// first is the number of pieces.
    fn map_in_data(&mut self, entry: &Entry) -> Result<Vec<u64>> {
        let damaged = || Error::entry(&entry.name, "its sparse map is damaged");
        let mut numbers: Vec<u64> = Vec::new();
        let mut line: Vec<u8> = Vec::new();
        let mut wanted = 1;
        while numbers.len() < wanted {
            self.left = self.left.checked_sub(BLOCK as u64).ok_or_else(damaged)?;
            for byte in self.block("in the map of a sparse file")? {
                if byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                numbers.push(decimal(&line).ok_or_else(damaged)?);
                line.clear();
                if numbers.len() == 1 {
                    let count = usize::try_from(numbers[0]).map_err(|_| too_many())?;
                    if count > PIECES {
                        return Err(too_many());
                    }
                    wanted = 1 + 2 * count;
                }
                if numbers.len() == wanted {
                    break;
                }
            }
            if line.len() > 20 {
                return Err(damaged());
            }
        }
        numbers.remove(0);
        Ok(numbers)
    }
}

fn pairs(entry: &Entry, numbers: &[u64]) -> Result<Vec<(u64, u64)>> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Error::entry(&entry.name, "its sparse map is damaged"));
    }
    Ok(pairs
        .iter()
        .map(|[offset, length]| (*offset, *length))
        .collect())
}

/// The pieces are in order, inside the file, and as long as the data.
fn check(entry: &Entry, stored: u64) -> Result<()> {
    let Some(map) = &entry.map else {
        return Ok(());
    };
    let mut end = 0;
    let mut total = 0u64;
    for (offset, length) in map {
        let next = offset
            .checked_add(*length)
            .filter(|next| *next <= entry.size);
        match next {
            Some(next) if *offset >= end => end = next,
            _ => {
                return Err(Error::entry(
                    &entry.name,
                    "its sparse map contradicts itself",
                ));
            }
        }
        total += length;
    }
    if total != stored {
        let reason = "its sparse map does not fit its data";
        return Err(Error::entry(&entry.name, reason));
    }
    Ok(())
}
