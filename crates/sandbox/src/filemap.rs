//! A file in memory, written to and read from at offsets.

use std::ffi::c_void;
use std::os::fd::AsFd;
use std::ptr::null_mut;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// Where the map and the file's page cache are aligned alike, the kernel maps many pages at once. Some
/// file systems see to it themselves; overlayfs does not.
const ALIGNMENT: usize = 2 << 20;

/// A shared map of the first bytes of a file. Other processes may read the file meanwhile, and
/// nobody gets a reference into it.
#[derive(Debug)]
pub struct FileMap {
    base: *mut u8,
    length: usize,
    /// Bytes that the file has: others must not be touched.
    valid: u64,
    /// The addresses that were taken for it, and how many.
    start: *mut c_void,
    room: usize,
}

// SAFETY: the pointers are to a mapping that belongs to this value alone.
unsafe impl Send for FileMap {}

impl FileMap {
    /// Maps `length` bytes of a file, which need not have that many yet.
    ///
    /// # Errors
    /// As mmap(2).
    pub fn new(file: impl AsFd, length: u64) -> Result<Self, Errno> {
        let length = usize::try_from(length).map_err(|_| Errno::INVAL)?;
        let room = length.checked_add(ALIGNMENT).ok_or(Errno::INVAL)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let start =
            unsafe { mmap_anonymous(null_mut(), room, ProtFlags::empty(), MapFlags::PRIVATE) }?;
        let map = Self {
            base: start
                .map_addr(|address| address.next_multiple_of(ALIGNMENT))
                .cast(),
            length,
            valid: 0,
            start,
            room,
        };
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: the range lies in the mapping that was just made, and nothing refers into that.
        unsafe { mmap(map.base.cast(), length, protection, flags, file, 0) }?;
        Ok(map)
    }

    /// Says how many bytes of the file are there and have disk space.
    pub fn set_valid(&mut self, valid: u64) {
        self.valid = valid.min(self.length as u64);
    }

    /// Writes bytes at an offset. `false`, and nothing written, if the file does not have them.
    #[must_use]
    pub fn put(&mut self, at: u64, bytes: &[u8]) -> bool {
        let Some(start) = self.range(at, bytes.len()) else {
            return false;
        };
        // SAFETY: the range lies in the mapping and in the file; the source is other memory.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(start), bytes.len()) };
        true
    }

    /// Reads bytes at an offset; `false` if the file does not have them.
    #[must_use]
    pub fn get(&self, at: u64, bytes: &mut [u8]) -> bool {
        let Some(start) = self.range(at, bytes.len()) else {
            return false;
        };
        // SAFETY: the range lies in the mapping and in the file; the target is other memory.
        unsafe {
            std::ptr::copy_nonoverlapping(self.base.add(start), bytes.as_mut_ptr(), bytes.len())
        };
        true
    }

    /// Maps what was written to the file by other means, all at once: each page would cost a fault
    /// of its own when it is written to later. Kernels before 5.14 cannot; the faults come then.
    pub fn populate(&self, at: u64, length: usize) {
        let end = at.saturating_add(length as u64).min(self.valid);
        let first = at & !4095;
        if first < end {
            // SAFETY: the range lies in the mapping and in the file, and its content stays.
            let _ = unsafe {
                madvise(
                    self.base.add(first as usize).cast::<c_void>(),
                    (end - first) as usize,
                    Advice::LinuxPopulateWrite,
                )
            };
        }
    }

    /// Lets go of the memory; what was written is in the file.
    pub fn rest(&self) {
        // SAFETY: dropping pages of a shared file mapping loses nothing: they are the file's.
        let _ = unsafe {
            madvise(
                self.base.cast::<c_void>(),
                self.length,
                Advice::LinuxDontNeed,
            )
        };
    }

    fn range(&self, at: u64, length: usize) -> Option<usize> {
        let end = at.checked_add(length as u64)?;
        (end <= self.valid).then_some(at as usize)
    }
}

impl Drop for FileMap {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and nothing refers into it.
        let _ = unsafe { munmap(self.start, self.room) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_file_has_is_touched() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let mut map = FileMap::new(&file, 1 << 20).unwrap();
        assert!(!map.put(0, b"x"));
        map.set_valid(4096);
        assert!(map.put(4090, b"abcdef") && !map.put(4091, b"abcdef"));
        map.rest();
        let mut back = [0; 6];
        assert!(map.get(4090, &mut back) && !map.get(u64::MAX, &mut back));
        assert_eq!(&back, b"abcdef");
    }
}
