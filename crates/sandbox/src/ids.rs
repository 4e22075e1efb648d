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

/// Whether this process is in the host's own user namespace. Root of another one has no privileges
/// over what belongs to the host.
pub fn is_hosts() -> bool {
    // The kernel's fixed number of it (PROC_USER_INIT_INO). Without `/proc` there is no other.
    const HOSTS: &str = "user:[4026531837]";
    std::fs::read_link("/proc/self/ns/user").map_or(true, |link| link.as_os_str() == HOSTS)
}

/// Moves this process, an ordinary user's with one thread, into a new user namespace, as its root,
/// and into a mount namespace of that. `name` is called in another process of the user's: it gives
/// this one its ids, by programs that may, and says whether it did. Supplementary groups stay.
///
/// # Errors
/// As unshare(2) and setresuid(2); `EPERM` if no ids were given.
pub fn enter_new(name: impl FnOnce(Pid) -> bool) -> Result<(), Error> {
    let making = || ("make", "a user namespace");
    let (waits, goes) = pipe_with(PipeFlags::CLOEXEC).context(making().0, making().1)?;
    let own = rustix::process::getpid();
    // SAFETY: this process has one thread, as unshare(2) of a user namespace demands anyway.
    match unsafe { clone(Namespaces::empty(), None) }.context(making().0, making().1)? {
        Cloned::Child => {
            // SAFETY: the copy of the descriptor in this process is used by nobody else.
            unsafe { rustix::io::close(goes.as_raw_fd()) };
            let named = wait(&waits) == Ok(true) && name(own);
            crate::exec::exit_now(u8::from(!named))
        }
        Cloned::Parent(child) => {
            let moved = crate::clone::unshare(Namespaces::USER | Namespaces::MOUNT)
                .and_then(|()| rustix::io::write(&goes, b"G").map(drop));
            drop(goes);
            let none = rustix::process::WaitOptions::empty();
            let ended = rustix::process::waitpid(Some(child.pid), none);
            moved.context(making().0, making().1)?;
            match ended.context("wait for", "the one who gives ids")? {
                Some((_, status)) if status.exit_status() == Some(0) => {}
                _ => return Err(Errno::PERM).context("get ids for", "a user namespace"),
            }
            take_root().context("become", "root of a user namespace")
        }
    }
}

/// Moves this process, which has one thread, into the user namespace that a user of the same id
/// made, as its root, and into a new mount namespace of that.
///
/// # Errors
/// As setns(2), setresuid(2) and unshare(2).
pub fn enter_that_of(pid: Pid) -> Result<(), Error> {
    let what = || format!("the user namespace of process {}", pid.as_raw_nonzero());
    crate::clone::enter(of(pid)?.as_fd(), Namespaces::USER)
        .and_then(|()| take_root())
        .and_then(|()| crate::clone::unshare(Namespaces::MOUNT))
        .context("enter", what())
}

/// Gives the user namespace of a process of this user's the one id that needs no privileges: its
/// own, as root.
///
/// # Errors
/// As write(2) to `uid_map` and `gid_map`.
pub fn map_own(pid: Pid) -> Result<(), Error> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    for (name, text) in [
        ("uid_map", format!("0 {} 1", uid.as_raw())),
        ("setgroups", "deny".to_owned()),
        ("gid_map", format!("0 {} 1", gid.as_raw())),
    ] {
        let path = of_process(pid, name);
        std::fs::write(&path, text).context("map ids with", path.display())?;
    }
    Ok(())
}

fn take_root() -> Result<(), Errno> {
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    set_dumpable_behavior(DumpableBehavior::Dumpable)
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
    take_root()
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
