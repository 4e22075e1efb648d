//! Network namespaces: making one, and working inside one for a moment.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::clone::{Namespaces, enter as set_namespace, unshare};

/// The calling thread's network namespace.
///
/// # Errors
/// As openat(2); `/proc` must be mounted.
pub fn current() -> Result<OwnedFd, Errno> {
    let path = Path::new("/proc/thread-self/ns/net");
    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// The network namespace of a process.
///
/// # Errors
/// A process that is gone.
pub fn of(pid: rustix::process::Pid) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes a network namespace; the calling thread stays in its own. It lives as long as its
/// descriptor, a process in it, or a mount of it.
///
/// # Errors
/// As unshare(2) and setns(2).
pub fn create() -> Result<OwnedFd, Errno> {
    let home = current()?;
    unshare(Namespaces::NET)?;
    let made = current();
    set_namespace(home.as_fd(), Namespaces::NET)?;
    made
}

/// Opens a socket in `netns`. Outside the host's user namespace there is no way back into the host's
/// network, so that a thread of its own goes there.
///
/// # Errors
/// As setns(2).
pub fn open_in<T: Send>(
    netns: BorrowedFd<'_>,
    open: impl FnOnce() -> T + Send,
) -> Result<T, Errno> {
    if crate::ids::is_hosts() {
        return within(netns, open);
    }
    let there = || {
        set_namespace(netns, Namespaces::NET)?;
        Ok(open())
    };
    std::thread::scope(|scope| scope.spawn(there).join()).unwrap_or(Err(Errno::IO))
}

/// Runs `work` with the calling thread inside `netns`, and comes back. Sockets opened in there
/// belong to `netns` for good.
///
/// # Errors
/// As setns(2).
pub fn within<T>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T) -> Result<T, Errno> {
    let home = current()?;
    set_namespace(netns, Namespaces::NET)?;
    let result = work();
    set_namespace(home.as_fd(), Namespaces::NET)?;
    Ok(result)
}
