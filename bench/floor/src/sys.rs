//! System calls as functions that answer with `io::Result`.

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The kernel's answer as a result.
pub(crate) fn check(result: i64) -> io::Result<i64> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A path for the kernel.
pub(crate) fn c(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// `mount(2)`.
pub(crate) fn mount(
    source: &str,
    target: &str,
    kind: &str,
    flags: u64,
    data: &str,
) -> io::Result<()> {
    let [source, target, kind, data] = [source, target, kind, data].map(CString::new);
    let (source, target, kind, data) = (source?, target?, kind?, data?);
    // SAFETY: four strings that outlive the call.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    };
    check(result.into()).map(drop)
}

/// Of `linux/sched.h`; the libc crate has it in a type too small.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `clone3(2)` as a fork: 0 in the child.
pub(crate) fn clone3(flags: u64, cgroup: Option<RawFd>) -> io::Result<i32> {
    // SAFETY: all zero is a valid value of this plain structure.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd as u64;
    }
    // SAFETY: without CLONE_VM this is a fork of a program with one thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    Ok(check(pid)? as i32)
}

/// Waits for a child and answers with its exit status, 128 + N for a signal.
pub(crate) fn wait(pid: i32) -> io::Result<i32> {
    let mut status = 0;
    // SAFETY: `status` is written to.
    check(unsafe { libc::waitpid(pid, &raw mut status, 0) }.into())?;
    let signal = libc::WTERMSIG(status);
    Ok(if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        128 + signal
    })
}

/// A pipe: reading end, writing end.
pub(crate) fn pipe() -> io::Result<(RawFd, RawFd)> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    Ok((ends[0], ends[1]))
}

/// Waits for one byte or the end of file.
pub(crate) fn read_byte(fd: RawFd) {
    let mut byte = 0u8;
    // SAFETY: room for one byte.
    unsafe { libc::read(fd, (&raw mut byte).cast(), 1) };
}

/// Writes one byte.
pub(crate) fn write_byte(fd: RawFd) {
    // SAFETY: one byte is there.
    unsafe { libc::write(fd, b"x".as_ptr().cast(), 1) };
}
