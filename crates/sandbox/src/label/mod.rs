//! Labels of Linux security modules: what a thread asks for about itself, through `/proc`.

pub mod apparmor;
pub mod selinux;

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, openat};
use rustix::io::Errno;

/// Opens the first of these files of `/proc` that is there. Where something else than the kernel's
/// `/proc` is in its place that is an error: an image may mount there what it likes, and would be
/// confined by nothing.
fn attribute(paths: &[&str]) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut opened = Err(Errno::NOENT);
    for path in paths {
        opened = openat(CWD, *path, flags, Mode::empty());
        if opened.is_ok() {
            break;
        }
    }
    let file = opened.map_err(io::Error::from)?;
    match fstatfs(&file)?.f_type == PROC_SUPER_MAGIC {
        true => Ok(file),
        false => Err(io::Error::other("/proc is not the kernel's")),
    }
}
