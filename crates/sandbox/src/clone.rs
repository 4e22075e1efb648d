//! Starting processes in namespaces and cgroups of their own.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, waitpid};

bitflags::bitflags! {
    /// Namespaces that a new process gets of its own.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Namespaces: u64 {
        /// Mounts.
        const MOUNT = libc::CLONE_NEWNS as u64;
        /// Host name.
        const UTS = libc::CLONE_NEWUTS as u64;
        /// System V and POSIX message queues, shared memory, semaphores.
        const IPC = libc::CLONE_NEWIPC as u64;
        /// Process ids; the new process is PID 1.
        const PID = libc::CLONE_NEWPID as u64;
        /// Network stack.
        const NET = libc::CLONE_NEWNET as u64;
        /// View of the cgroup tree.
        const CGROUP = libc::CLONE_NEWCGROUP as u64;
        /// User and group ids.
        const USER = libc::CLONE_NEWUSER as u64;
    }
}

/// The two returns of [`clone`].
#[derive(Debug)]
pub enum Cloned {
    /// In the calling process.
    Parent(Child),
    /// In the new process.
    Child,
}

/// A process started by [`clone`].
#[derive(Debug)]
pub struct Child {
    /// Its pid in the caller's pid namespace.
    pub pid: Pid,
    /// Readable once it has ended; its signals and waits cannot hit a recycled pid.
    pub pidfd: OwnedFd,
}

/// A process that is killed, and waited for, when this is dropped.
#[derive(Debug)]
pub struct Attendant(Child);

impl From<Child> for Attendant {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        let _ = crate::signals::send(self.0.pidfd.as_fd(), Signal::KILL);
        let _ = waitpid(Some(self.0.pid), WaitOptions::empty());
    }
}

/// Argument block of clone3(2), as far as this crate uses it.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Copies the calling process, like fork(2), into new `namespaces` and, on cgroup v2, straight
/// into `cgroup`.
///
/// # Errors
/// As clone3(2).
///
/// # Safety
/// The calling process must have one thread only: locks that another thread holds, in the
/// allocator for instance, would stay held in the copy for ever.
pub unsafe fn clone(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Cloned, Errno> {
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: namespaces.bits() | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid clone_args of the size given; without CLONE_VM the child works on
    // a copy of this address space, so both sides may go on as after fork(2). The caller promises
    // that there is no other thread.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut args,
            std::mem::size_of::<CloneArgs>(),
        )
    };
    match pid {
        0 => Ok(Cloned::Child),
        1.. => Ok(Cloned::Parent(Child {
            pid: Pid::from_raw(pid as i32).ok_or(Errno::INVAL)?,
            // SAFETY: with CLONE_PIDFD the kernel stored a descriptor here that nobody else owns.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        })),
        _ => Err(last_errno()),
    }
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The errno of the libc call that just failed.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Moves the calling process into new `namespaces`.
///
/// # Errors
/// As unshare(2).
pub fn unshare(namespaces: Namespaces) -> Result<(), Errno> {
    // SAFETY: none of the flags in `Namespaces` changes memory or descriptors of the process.
    match unsafe { libc::unshare(namespaces.bits() as libc::c_int) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Moves the calling thread into the namespace (or, given a pidfd, into the `namespaces` of that
/// process).
///
/// # Errors
/// As setns(2).
pub fn enter(fd: BorrowedFd<'_>, namespaces: Namespaces) -> Result<(), Errno> {
    // SAFETY: setns(2) changes neither memory nor descriptors of the process.
    match unsafe { libc::setns(fd.as_raw_fd(), namespaces.bits() as libc::c_int) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{WaitId, WaitIdOptions, getpid, waitid};

    #[test]
    fn a_clone_in_a_pid_namespace_is_pid_1() {
        // SAFETY: the child only asks for its pid and exits.
        match unsafe { clone(Namespaces::PID, None) }.unwrap() {
            Cloned::Child => std::process::exit(getpid().as_raw_nonzero().get()),
            Cloned::Parent(child) => {
                use std::os::fd::AsFd;
                let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
                assert_eq!(status.unwrap().unwrap().exit_status(), Some(1));
            }
        }
    }
}
