//! User namespaces: ids of the host under other numbers.
//!
//! A pod's ids are a range of the host's. One namespace serves two ends: processes live in it, and
//! mounts made with it ([`crate::mounts::idmap`]) show the files that the disk has for root as files
//! of the pod's root, so that no file is ever chowned.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, Gid, Pid, Uid, set_dumpable_behavior};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::clone::{Cloned, Namespaces, clone};
use crate::error::{Context, Error};

/// Consecutive ids of a user namespace and what they are outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// First id in the namespace.
    pub inside: u32,
    /// First id outside it.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Gives the user namespace of a process its ids, the same for users and groups. It has none yet,
/// and this process is privileged over it.
///
/// # Errors
/// As write(2) to `uid_map` and `gid_map`.
pub fn map(pid: Pid, ranges: &[IdRange]) -> Result<(), Error> {
    use std::fmt::Write as _;
    let mut text = String::new();
    for IdRange {
        inside,
        outside,
        count,
    } in ranges
    {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{inside} {outside} {count}");
    }
    for name in ["uid_map", "gid_map"] {
        let path = of_process(pid, name);
        File::options()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .context("map ids with", path.display())?;
    }
    Ok(())
}

/// A user namespace with these ids and no process. It lives as long as its descriptor and the
/// mounts that use it.
///
/// # Errors
/// As clone(2) and [`map`].
pub fn namespace(ranges: &[IdRange]) -> Result<OwnedFd, Error> {
    let making = || ("make", "a user namespace");
    let (waits, holds) = pipe_with(PipeFlags::CLOEXEC).context(making().0, making().1)?;
    // SAFETY: the new process makes system calls only: it takes no lock, and allocates nothing.
    match unsafe { clone(Namespaces::USER, None) }.context(making().0, making().1)? {
        Cloned::Child => {
            // SAFETY: the copy of the descriptor in this process is used by nobody else.
            unsafe { rustix::io::close(holds.as_raw_fd()) };
            let _ = wait(&waits);
            crate::exec::exit_now(0)
        }
        Cloned::Parent(child) => {
            let made = map(child.pid, ranges).and_then(|()| of(child.pid));
            // Its end, as this process's would be.
            drop(holds);
            let ended =
                rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty());
            ended.context("wait for", "the maker of a user namespace")?;
            made
        }
    }
}

/// The user namespace of a process.
///
/// # Errors
/// A process that is gone.
pub fn of(pid: Pid) -> Result<OwnedFd, Error> {
    let path = of_process(pid, "ns/user");
    File::open(&path)
        .map(OwnedFd::from)
        .context("open", path.display())
}

/// Waits for the other end of a pipe to write a byte; `false` if it closed.
///
/// # Errors
/// As read(2).
pub fn wait(pipe: impl AsFd) -> Result<bool, Errno> {
    let mut byte = [0; 1];
    loop {
        match rustix::io::read(&pipe, &mut byte) {
            Err(Errno::INTR) => {}
            other => return other.map(|n| n == 1),
        }
    }
}

/// Becomes root of the process's own user namespace, which it has all privileges in. Its files in
/// `/proc` are its own again.
///
/// # Errors
/// As setresuid(2); `EINVAL` where the namespace has no id 0.
pub fn become_root() -> Result<(), Errno> {
    set_thread_groups(&[])?;
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    set_dumpable_behavior(DumpableBehavior::Dumpable)
}

fn of_process(pid: Pid, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{file}", pid.as_raw_nonzero()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const RANGE: IdRange = IdRange {
        inside: 0,
        outside: 700_000,
        count: 65_536,
    };

    #[test]
    fn mounts_show_other_owners_and_leave_the_disk_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let users = namespace(&[RANGE]).unwrap();
        let copy = crate::mounts::copy(rustix::fs::CWD, dir.path(), false).unwrap();
        crate::mounts::idmap(&copy, &users, false).unwrap();
        let seen = rustix::fs::statat(&copy, "file", rustix::fs::AtFlags::empty()).unwrap();
        assert_eq!((seen.st_uid, seen.st_gid), (700_000, 700_000));
        assert_eq!(std::fs::metadata(&file).unwrap().uid(), 0);
    }

    #[test]
    fn ids_twice_are_refused_and_nobody_is_left() {
        let error = namespace(&[RANGE, RANGE]).unwrap_err();
        assert_eq!(error.errno, Errno::INVAL);
        assert_eq!(
            rustix::process::wait(rustix::process::WaitOptions::NOHANG).unwrap_err(),
            Errno::CHILD
        );
    }
}
