//! Closing a descriptor without waiting for what its closing waits for.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};

/// How long the other process waits before it closes, in nanoseconds: who closes while the kernel
/// is at it holds a lock meanwhile that every other change of rules has to wait for.
const LONG_ENOUGH: i64 = 60_000_000;

/// Closes `fd` in a process made for that, so that the caller need not wait.
///
/// The end of a netfilter socket waits, after rules were removed, until no packet can be in them
/// any more: 15 ms on an idle machine, also when it is the process's end that closes it. The
/// process made here holds nothing but `fd` by the time this returns (no lock, no output pipe of
/// the caller's), gets no signal to the caller when it ends, and ends with the close.
///
/// When no process can be made, `fd` is simply closed.
pub fn close(fd: OwnedFd) {
    let (Ok((alone, not_alone)), Ok((go, not_yet))) =
        (pipe_with(PipeFlags::CLOEXEC), pipe_with(PipeFlags::CLOEXEC))
    else {
        return;
    };
    let mut kept = [fd.as_raw_fd().unsigned_abs(), go.as_raw_fd().unsigned_abs()];
    kept.sort_unstable();
    // SAFETY: a bare clone without flags and with no exit signal: a copy as of fork(2). The copy
    // makes system calls only, touching no lock that another thread may have held, and ends.
    let pid = unsafe { libc::syscall(libc::SYS_clone, 0_u64, 0_u64, 0_u64, 0_u64, 0_u64) };
    if pid == 0 {
        let [first, second] = kept;
        let ranges = [(0, first), (first + 1, second), (second + 1, u32::MAX)];
        for (from, end) in ranges.into_iter().filter(|(from, end)| from < end) {
            // SAFETY: closes descriptors of this process's own table, which no Rust code of the
            // copy uses any more.
            unsafe { libc::syscall(libc::SYS_close_range, from, end - 1, 0_u32) };
        }
        let mut nothing = [0_u8; 1];
        let pause = libc::timespec {
            tv_sec: 0,
            tv_nsec: LONG_ENOUGH,
        };
        // SAFETY: a read into a local buffer, a sleep, and the end of the process.
        unsafe {
            libc::read(go.as_raw_fd(), nothing.as_mut_ptr().cast(), 1);
            libc::nanosleep(&raw const pause, std::ptr::null_mut());
            libc::_exit(0);
        }
    }
    drop((not_alone, go));
    if pid > 0 {
        // Ends when the copy has closed its end: from then on it holds `fd` alone.
        let mut nothing = [0; 1];
        let _ = rustix::io::retry_on_intr(|| rustix::io::read(&alone, &mut nothing));
    }
    // Whoever closes last waits: that is to be the copy, which only now may end.
    drop(fd);
    drop(not_yet);
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
