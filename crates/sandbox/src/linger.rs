//! Closing a descriptor without waiting for what its closing waits for.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};

/// Closes `fd` in a process made for that, so that the caller need not wait.
///
/// The end of a netfilter socket waits, after rules were removed, until no packet can be in them
/// any more: 15 ms on an idle machine, also when it is the process's end that closes it. The
/// process made here holds nothing but `fd` by the time this returns (no lock, no output pipe of
/// the caller's), gets no signal to the caller when it ends, and ends with the close.
///
/// When no process can be made, `fd` is simply closed.
pub fn close(fd: OwnedFd) {
    let Ok((ready, not_yet)) = pipe_with(PipeFlags::CLOEXEC) else {
        return;
    };
    let kept = fd.as_raw_fd().unsigned_abs();
    // SAFETY: a bare clone without flags and with no exit signal: a copy as of fork(2). The copy
    // makes system calls only, touching no lock that another thread may have held, and ends.
    let pid = unsafe { libc::syscall(libc::SYS_clone, 0_u64, 0_u64, 0_u64, 0_u64, 0_u64) };
    if pid == 0 {
        // SAFETY: system calls on this process's own copy of the descriptor table; nothing of it
        // is used by Rust code after, since _exit does not return.
        unsafe {
            if kept > 0 {
                libc::syscall(libc::SYS_close_range, 0_u32, kept - 1, 0_u32);
            }
            libc::syscall(libc::SYS_close_range, kept + 1, u32::MAX, 0_u32);
            libc::close(fd.as_raw_fd());
            libc::_exit(0);
        }
    }
    drop(not_yet);
    if pid > 0 {
        // Ends when the copy has closed its end: from then on it holds `fd` alone.
        let mut nothing = [0; 1];
        let _ = rustix::io::retry_on_intr(|| rustix::io::read(&ready, &mut nothing));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_is_closed_and_nothing_else_is_held() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (other_read, other_write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        close(write);
        drop(other_write);
        let mut byte = [0; 1];
        assert_eq!(rustix::io::read(&other_read, &mut byte), Ok(0));
        assert_eq!(rustix::io::read(&read, &mut byte), Ok(0));
    }
}
