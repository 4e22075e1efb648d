//! Control files of cgroups.

use std::os::fd::BorrowedFd;

use crate::error::{Context, Error};

/// Writes one value to a control file of a cgroup that not every kernel has; where it is missing,
/// what it limits is missing, too.
pub(super) fn set_if_there(dir: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Error> {
    match set(dir, file, value) {
        Err(error) if error.errno == rustix::io::Errno::NOENT => Ok(()),
        result => result,
    }
}

/// Writes one value to a control file of a cgroup.
pub(super) fn set(dir: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Error> {
    use rustix::fs::{Mode, OFlags, openat};
    openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|fd| rustix::io::write(fd, value.as_bytes()))
        .map(drop)
        .context("set", format_args!("{file} to {value:?}"))
}
