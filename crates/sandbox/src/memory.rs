//! Giving memory back before a long wait.

use std::ffi::c_void;

use crate::clone::last_errno;

/// Lets go of what the process has mapped but will hardly touch again: the pages of its own
/// program that its start used, and free memory of the allocator. Programs wait for months in a
/// pod's shadow; what they need meanwhile comes back from the page cache by itself.
pub fn give_back() {
    // SAFETY: malloc_trim has no precondition; it only returns free memory to the kernel.
    unsafe { libc::malloc_trim(0) };
    // SAFETY: the callback matches the declared signature and gets no data.
    unsafe { libc::dl_iterate_phdr(Some(drop_segments), std::ptr::null_mut()) };
}

/// Unmaps the pages of every segment that is only read or executed. They are pages of the program
/// file, never changed, so the next access finds the same bytes there.
unsafe extern "C" fn drop_segments(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> libc::c_int {
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
        if from < to {
            // SAFETY: the range lies in one private, unwritable mapping of the program file:
            // dropping its pages changes nothing that can be read there.
            let done =
                unsafe { libc::madvise(from as *mut c_void, to - from, libc::MADV_DONTNEED) };
            debug_assert!(done == 0, "{:?}", last_errno());
        }
    }
    0
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_program_goes_on() {
        let before = format!("{:?}", std::env::current_exe());
        super::give_back();
        assert_eq!(format!("{:?}", std::env::current_exe()), before);
    }
}
