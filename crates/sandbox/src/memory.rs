//! Long waits that hold no memory.

use std::ffi::c_void;

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;
use rustix::mm::{Advice, madvise};

/// Address and length of the program's segments; it has four that are only read or executed.
type Segments = [(usize, usize); 8];

/// Like poll(2), for a wait that may take months: lets go first of free memory of the allocator and
/// of the pages of the program itself. What is needed afterwards comes back from the page cache.
///
/// # Errors
/// As poll(2).
pub fn poll_at_rest(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> Result<usize, Errno> {
    // SAFETY: malloc_trim has no precondition; it only returns free memory to the kernel.
    unsafe { libc::malloc_trim(0) };
    let mut segments: Segments = [(0, 0); 8];
    let data = (&raw mut segments).cast::<c_void>();
    // SAFETY: the callback matches the declared signature and gets what it casts its data to.
    unsafe { libc::dl_iterate_phdr(Some(collect_segments), data) };
    // From here to the wait nothing is called that lies elsewhere in the program: each page that is
    // touched brings its neighbours back.
    for (start, length) in segments {
        if length > 0 {
            // SAFETY: the range lies in one private, unwritable mapping of the program file:
            // dropping its pages changes nothing that can be read there.
            let _ = unsafe { madvise(start as *mut c_void, length, Advice::LinuxDontNeed) };
        }
    }
    poll(fds, timeout)
}

/// Notes every segment that is only read or executed: pages of the program file, never changed, so
/// that the next access finds the same bytes there.
unsafe extern "C" fn collect_segments(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    data: *mut c_void,
) -> libc::c_int {
    // SAFETY: the caller passes the array that it waits for.
    let segments = unsafe { &mut *data.cast::<Segments>() };
    // SAFETY: the C library passes a valid description of a loaded object.
    let info = unsafe { &*info };
    for n in 0..info.dlpi_phnum {
        // SAFETY: the object has that many program headers.
        let header = unsafe { &*info.dlpi_phdr.add(usize::from(n)) };
        let changed = header.p_flags & libc::PF_W != 0;
        if header.p_type != libc::PT_LOAD || changed {
            continue;
        }
        let page = rustix::param::page_size();
        let start = (info.dlpi_addr + header.p_vaddr) as usize;
        let end = start + header.p_memsz as usize;
        let (from, to) = (start.next_multiple_of(page), end / page * page);
        if let Some(free) = segments.iter_mut().find(|(_, length)| *length == 0)
            && from < to
        {
            *free = (from, to - from);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_goes_on() {
        let before = format!("{:?}", std::env::current_exe());
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        assert_eq!(poll_at_rest(&mut [], Some(&now)), Ok(0));
        assert_eq!(format!("{:?}", std::env::current_exe()), before);
    }
}
