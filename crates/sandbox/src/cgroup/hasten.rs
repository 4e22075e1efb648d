//! Paying for the first move between cgroups ahead of time.
//!
//! A move on version 1 takes a lock of the whole machine whose first taker after a while waits
//! some ten milliseconds for every processor to pass through the scheduler; those who come during
//! that wait or right after it do not wait anew. So a start asks for a move that changes nothing as
//! its first act, and when the pod's own moves come, most of the wait is over.

use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use super::{MOUNT, is_v2};

/// Room for the helper's two buffers and its calls.
const STACK: usize = 64 * 1024;
const BUFFER: usize = 4096;

/// Starts the wait in a process that ends by itself. The caller, or the program that it becomes,
/// collects that process ([`crate::clone::collect_strays`]). Without cgroups of version 1, or when
/// anything fails, nothing happens: it only saves time.
pub fn hasten_moves() {
    if is_v2().unwrap_or(true) {
        return;
    }
    let writable = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::STACK | MapFlags::NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
    let Ok(stack) = (unsafe { mmap_anonymous(std::ptr::null_mut(), STACK, writable, flags) })
    else {
        return;
    };
    // SAFETY: the end of the mapping just made.
    let top = unsafe { stack.byte_add(STACK) };
    let flags = libc::CLONE_VM | libc::SIGCHLD;
    // SAFETY: the process runs `helper` on a stack of its own, which is never unmapped: it goes
    // with the address space. It shares all other memory, of which `helper` touches nothing.
    unsafe { libc::clone(helper, top, flags, std::ptr::null_mut()) };
}

/// Shares its memory with a program that goes on meanwhile: nothing here may allocate, lock or
/// touch `errno`, and no descriptor is opened in the caller's table, since that is not shared.
extern "C" fn helper(_: *mut libc::c_void) -> libc::c_int {
    let mut text = [0; BUFFER];
    let mut path = [0; BUFFER];
    let read_only = OFlags::RDONLY | OFlags::CLOEXEC;
    let read = openat(CWD, c"/proc/self/cgroup", read_only, Mode::empty())
        .and_then(|file| rustix::io::read(file.as_fd(), &mut text));
    let Some(path) = read.ok().and_then(|n| own_procs(&text[..n], &mut path)) else {
        return 0;
    };
    let write_only = OFlags::WRONLY | OFlags::CLOEXEC;
    if let Ok(file) = openat(CWD, path, write_only, Mode::empty()) {
        let _ = rustix::io::write(file, b"0");
    }
    0
}

/// The `cgroup.procs` of the caller's own cgroup in the first hierarchy of version 1, as a C string
/// in `buffer`.
fn own_procs<'b>(cgroups: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let (controllers, own) = cgroups.split(|&b| b == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |&b| b == b':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        (!controllers.is_empty()).then_some((controllers, path))
    })?;
    let mount = controllers.strip_prefix(b"name=").unwrap_or(controllers);
    let mut used = 0;
    for part in [MOUNT.as_bytes(), b"/", mount, own, b"/cgroup.procs\0"] {
        buffer
            .get_mut(used..used + part.len())?
            .copy_from_slice(part);
        used += part.len();
    }
    buffer.get(..used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_own_cgroup_is_named() {
        let mut buffer = [0; 64];
        let path = own_procs(b"0::/x\n9:name=systemd:/a\n8:pids:/b\n", &mut buffer);
        assert_eq!(path, Some(&b"/sys/fs/cgroup/systemd/a/cgroup.procs\0"[..]));
        assert_eq!(own_procs(b"0::/x\n", &mut buffer), None);
        let long = [b"9:pids:/".as_slice(), &[b'x'; 80]].concat();
        assert_eq!(own_procs(&long, &mut buffer), None);
    }

    #[test]
    fn the_helper_can_be_collected() {
        hasten_moves();
        if !is_v2().unwrap_or(true) {
            let status = rustix::process::wait(rustix::process::WaitOptions::empty());
            let (_, status) = status.unwrap().unwrap();
            assert_eq!(status.exit_status(), Some(0));
        }
    }
}
