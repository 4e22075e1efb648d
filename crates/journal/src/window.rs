//! Parts of a file in memory, for one that is read from its beginning to its end at a few places at
//! once.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::FileExt;

/// Bytes of a part.
const PART: u64 = 64 * 1024;
/// So many are kept: arrays and what they name lie apart.
const PARTS: usize = 4;

/// A file that is read.
#[derive(Debug)]
pub(crate) struct Window {
    file: File,
    parts: [Part; PARTS],
    /// Which one makes room for the next.
    oldest: usize,
}

#[derive(Debug, Default)]
struct Part {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(crate) fn new(file: File) -> Self {
        Self {
            file,
            parts: Default::default(),
            oldest: 0,
        }
    }

    /// Reads bytes as they are now.
    pub(crate) fn read_now(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(bytes, at)
    }

    /// Reads bytes that have not changed since the file was last [forgotten](Self::forget).
    pub(crate) fn read(&mut self, mut at: u64, mut bytes: &mut [u8]) -> Result<()> {
        while !bytes.is_empty() {
            let inside = at % PART;
            let part = self.part(at - inside)?;
            let there = part.get(inside as usize..).unwrap_or_default();
            let length = there.len().min(bytes.len());
            if length == 0 {
                return Err(Error::from(ErrorKind::UnexpectedEof));
            }
            let (now, rest) = bytes.split_at_mut(length);
            now.copy_from_slice(&there[..length]);
            at += length as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// Forgets what was read: it may have changed.
    pub(crate) fn forget(&mut self) {
        self.parts.iter_mut().for_each(|part| part.bytes.clear());
    }

    fn part(&mut self, start: u64) -> Result<&[u8]> {
        let is_it = |part: &Part| part.start == start && !part.bytes.is_empty();
        let place = match self.parts.iter().position(is_it) {
            Some(place) => place,
            None => {
                let place = self.oldest;
                self.oldest = (place + 1) % PARTS;
                let part = &mut self.parts[place];
                part.start = start;
                part.bytes.resize(PART as usize, 0);
                let outcome = fill(&self.file, start, &mut part.bytes);
                part.bytes.truncate(*outcome.as_ref().unwrap_or(&0));
                outcome?;
                place
            }
        };
        Ok(&self.parts[place].bytes)
    }
}

/// Reads as much as there is; returns how much that is.
fn fill(file: &File, start: u64, bytes: &mut [u8]) -> Result<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], start + length as u64) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_files() {
        let file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..300_000u32).map(|n| (n / 7) as u8).collect();
        file.write_all_at(&content, 0).unwrap();
        let mut window = Window::new(file.try_clone().unwrap());
        for (at, length) in [
            (0, 5),
            (65_530, 20),
            (1000, 200_000),
            (299_999, 1),
            (65_535, 1),
        ] {
            let mut bytes = vec![0; length];
            window.read(at as u64, &mut bytes).unwrap();
            assert!(bytes == content[at..at + length], "{at} {length}");
        }
        assert!(window.read(299_999, &mut [0; 2]).is_err());
        assert!(window.read(u64::MAX - 10, &mut [0; 4]).is_err());
        file.write_all_at(b"new", 10).unwrap();
        let mut bytes = [0; 3];
        window.forget();
        window.read(10, &mut bytes).unwrap();
        assert_eq!(&bytes, b"new");
    }
}
