//! SELinux: processes and files have contexts, `user:role:type` and a level, and the host's policy says
//! what the one may do with the other.

use std::io;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

/// Whether the loaded policy has levels: `1` or `0`. Missing without SELinux.
const LEVELS: &str = "/sys/fs/selinux/mls";
/// Takes a context that the policy has, and no other.
const CHECK: &str = "/sys/fs/selinux/context";

/// What a thread asks for about what it makes next, a file each.
const AT_EXEC: &str = "/proc/thread-self/attr/exec";
const AT_CREATE: &str = "/proc/thread-self/attr/fscreate";
const AT_SOCKET: &str = "/proc/thread-self/attr/sockcreate";
const AT_KEY: &str = "/proc/thread-self/attr/keycreate";

/// Whether the kernel's policy has levels; `None` without SELinux, which takes one look to see.
pub fn has_levels() -> Option<bool> {
    let file = openat(CWD, LEVELS, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut value = [0; 1];
    let length = rustix::io::read(file, &mut value).ok()?;
    Some(length == 1 && value[0] == b'1')
}

/// Whether the policy has this context.
///
/// # Errors
/// As open(2) and write(2), where the policy does not let this process ask.
pub fn is_known(context: &str) -> io::Result<bool> {
    let file = openat(CWD, CHECK, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    match rustix::io::write(file, &terminated(context)) {
        Ok(_) => Ok(true),
        Err(Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Has the program that this thread executes next run in a context.
///
/// # Errors
/// The policy does not have the context, or something else than the kernel's `/proc` is there.
pub fn execute_in(context: &str) -> io::Result<()> {
    set(AT_EXEC, context)
}

/// Gives the sockets that this process makes from now on to a context, so that programs in it reach
/// them as their own.
///
/// # Errors
/// As [`execute_in`], and where the policy does not allow it.
pub fn create_sockets_in(context: &str) -> io::Result<()> {
    set(AT_SOCKET, context)
}

/// Likewise keys, up to the next exec.
///
/// # Errors
/// As [`create_sockets_in`].
pub fn create_keys_in(context: &str) -> io::Result<()> {
    set(AT_KEY, context)
}

/// While this is there, the files that this thread makes, and threads that it starts, are labelled
/// with a context.
#[derive(Debug)]
#[must_use]
pub struct FilesIn(());

impl FilesIn {
    /// Begins.
    ///
    /// # Errors
    /// As [`create_sockets_in`].
    pub fn new(context: &str) -> io::Result<Self> {
        set(AT_CREATE, context).map(Self)
    }
}

impl Drop for FilesIn {
    fn drop(&mut self) {
        // Nothing is what the kernel's own choice is asked for by. Where `/proc` went away since,
        // files go on to be the pod's, which opens nothing of the host's.
        let _ = super::attribute(&[AT_CREATE]).map(|file| rustix::io::write(file, b"\n"));
    }
}

fn set(file: &str, context: &str) -> io::Result<()> {
    let file = super::attribute(&[file])?;
    match rustix::io::write(file, &terminated(context)) {
        Ok(_) => Ok(()),
        Err(Errno::INVAL) => Err(io::Error::other("the loaded policy has no such context")),
        Err(errno) => Err(errno.into()),
    }
}

/// As libselinux writes contexts.
fn terminated(context: &str) -> Vec<u8> {
    [context.as_bytes(), b"\0"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the kernel has SELinux or not.
    #[test]
    fn what_no_policy_has_labels_nothing() {
        let context = "rkt:no:such:context";
        assert!(execute_in(context).is_err());
        assert!(FilesIn::new(context).is_err());
        assert!(!is_known(context).unwrap_or(false));
    }
}
