//! What an app wrote, kept in a file for those who attach: as much as fits, the newest last.
//!
//! Clients read from here at their own pace, so a slow one holds nobody up, neither the app nor
//! another client; one that falls behind by more than the capacity misses what was overwritten.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use rustix::io::{Errno, pread, pwrite};

/// Bytes that are kept.
const CAPACITY: u64 = 1 << 20;

/// A ring in a file without a name.
#[derive(Debug)]
pub(super) struct Spool {
    file: OwnedFd,
    /// Everything ever written; the last [`CAPACITY`] bytes of it are there.
    end: u64,
}

impl Spool {
    /// A new, empty one on the disk of the directory `name` is in, relative to the working directory.
    pub(super) fn create(name: &str) -> Result<Self, Errno> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(CWD, name, flags, Mode::from_raw_mode(0o600))?;
        unlinkat(CWD, name, AtFlags::empty())?;
        Ok(Self { file, end: 0 })
    }

    /// Where the next byte goes.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The oldest byte that is there.
    pub(super) fn start(&self) -> u64 {
        self.end.saturating_sub(CAPACITY)
    }

    /// Adds bytes. On a full disk they are lost.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            let at = self.end % CAPACITY;
            let fits = bytes.len().min((CAPACITY - at) as usize);
            let written = pwrite(&self.file, &bytes[..fits], at)?;
            self.end += written as u64;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Reads from a position on; moves one that was overwritten to the oldest byte there is.
    pub(super) fn read(&self, from: &mut u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        *from = (*from).clamp(self.start(), self.end);
        let at = *from % CAPACITY;
        let there = (self.end - *from).min(CAPACITY - at);
        let length = buffer.len().min(there as usize);
        pread(&self.file, &mut buffer[..length], at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(spool: &Spool, mut from: u64) -> Vec<u8> {
        let mut text = Vec::new();
        let mut buffer = [0; 1000];
        loop {
            let n = spool.read(&mut from, &mut buffer).unwrap();
            if n == 0 {
                return text;
            }
            from += n as u64;
            text.extend_from_slice(&buffer[..n]);
        }
    }

    #[test]
    fn the_newest_bytes_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(dir.path().join("spool").to_str().unwrap()).unwrap();
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
        spool.append(b"first").unwrap();
        assert_eq!(all(&spool, 0), b"first");
        let long: Vec<u8> = (0..CAPACITY + 7).map(|n| n as u8).collect();
        spool.append(&long).unwrap();
        assert_eq!(all(&spool, 0), long[7..]);
        assert_eq!(all(&spool, spool.end() - 3), long[long.len() - 3..]);
    }
}
