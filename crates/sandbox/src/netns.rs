//! Network namespaces as file descriptors.
//!
//! A network namespace belongs to a thread, not to a process. Everything here moves the calling
//! thread only and brings it back, so the callers' other threads (tests have them, the stage1
//! programs do not) notice nothing.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// The network namespace of the calling thread.
///
/// # Errors
/// The error of opening `/proc/thread-self/ns/net`.
pub fn current() -> Result<OwnedFd> {
    let file = File::open("/proc/thread-self/ns/net").map_err(|error| {
        Errno::from_io_error(&error).unwrap_or(Errno::IO)
    })?;
    Ok(file.into())
}

/// Makes a new network namespace and returns a descriptor that keeps it alive; the caller stays
/// where it is.
///
/// # Errors
/// The kernel's error, `EPERM` without `CAP_SYS_ADMIN` foremost.
pub fn create() -> Result<OwnedFd> {
    let back = current()?;
    unshare()?;
    let made = current();
    return_to(back.as_fd())?;
    made
}

/// Moves the calling thread into a new network namespace of its own, for good.
///
/// # Errors
/// The kernel's error.
pub fn unshare() -> Result<()> {
    // SAFETY: of all flags only FILES can break Rust's ownership of descriptors, and it is not
    // among these.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
}

/// Runs `work` with the calling thread inside the namespace `netns`, then comes back.
///
/// Sockets opened inside stay there; that is what this is for. `/proc/sys/net` and
/// `/proc/thread-self/net` show the namespace too.
///
/// # Errors
/// The kernel's error in entering. When the way back is barred, the process cannot go on in the
/// wrong network: the error is returned and the caller must end.
pub fn enter<T>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T) -> Result<T> {
    let back = current()?;
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))?;
    let result = work();
    return_to(back.as_fd())?;
    Ok(result)
}

fn return_to(netns: BorrowedFd<'_>) -> Result<()> {
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn identity(fd: impl AsFd) -> u64 {
        rustix::fs::fstat(fd).unwrap().st_ino
    }

    #[test]
    fn a_created_namespace_is_new_and_entered_only_for_the_work() {
        let home = identity(current().unwrap());
        let made = create().unwrap();
        assert_ne!(home, identity(&made));
        let inside = enter(made.as_fd(), || identity(current().unwrap())).unwrap();
        assert_eq!(inside, identity(&made));
        assert_eq!(home, identity(current().unwrap()));
    }
}
