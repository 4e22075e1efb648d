//! The last steps before another program takes over the process.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use crate::clone::last_errno;

/// Arguments or environment in the form execve(2) takes: a null-terminated array of C strings.
#[derive(Debug)]
pub struct StringVec {
    strings: Vec<CString>,
}

impl StringVec {
    /// Takes the strings.
    ///
    /// # Errors
    /// `EINVAL` if one of them holds a NUL byte.
    pub fn new<S: Into<Vec<u8>>>(strings: impl IntoIterator<Item = S>) -> Result<Self, Errno> {
        let strings = strings
            .into_iter()
            .map(CString::new)
            .collect::<Result<_, _>>();
        Ok(Self {
            strings: strings.map_err(|_| Errno::INVAL)?,
        })
    }

    fn pointers(&self) -> Vec<*const libc::c_char> {
        self.strings
            .iter()
            .map(|s| s.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    }
}

/// Replaces the process by `program`.
///
/// # Errors
/// As execve(2); returns only then.
pub fn exec(program: &CStr, args: &StringVec, env: &StringVec) -> Result<Infallible, Errno> {
    let (args, env) = (args.pointers(), env.pointers());
    // SAFETY: both arrays end in a null pointer and borrow from strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Err(last_errno())
}

/// Like [`exec`], of the program with this name below a directory. It is another system call, which
/// an app's own filter need not allow. The program does not inherit that Rust's runtime ignores
/// SIGPIPE.
///
/// # Errors
/// As execveat(2); returns only then. A script cannot be executed through a directory that closes at
/// the exec (`ENOENT`).
pub fn exec_in(
    dir: impl AsFd,
    program: &Path,
    args: &StringVec,
    env: &StringVec,
) -> Result<Infallible, Errno> {
    let program = CString::new(program.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    let (args, env) = (args.pointers(), env.pointers());
    // SAFETY: SIG_DFL is a valid disposition; what was set before has no handler.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // SAFETY: both arrays end in a null pointer and, as the name, borrow from what outlives the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            dir.as_fd().as_raw_fd(),
            program.as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            0,
        )
    };
    let errno = last_errno();
    // SAFETY: the disposition is the one that was there before.
    unsafe { libc::signal(libc::SIGPIPE, before) };
    Err(errno)
}

/// Makes every descriptor from `first` up close at the next exec.
///
/// # Errors
/// As close_range(2).
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: only the close-on-exec flag changes; nothing is closed here.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if done == 0 { Ok(()) } else { Err(last_errno()) }
}

/// The lowest number that a passed descriptor can have (sd_listen_fds(3)).
pub const FIRST_PASSED: i32 = 3;

/// Takes the descriptors that whoever executed this program passed to it: so many from
/// [`FIRST_PASSED`] on. They close at the next exec from now on. To be called once, before the
/// program opens anything.
pub fn take_passed(count: usize) -> Vec<OwnedFd> {
    let end = FIRST_PASSED.saturating_add(i32::try_from(count).unwrap_or(0));
    let mut taken = Vec::new();
    for number in FIRST_PASSED..end {
        // SAFETY: fcntl(2) with F_SETFD takes no pointer; a number that is not open is an error.
        if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0 {
            // SAFETY: it is open, and was so before this program began: nobody in it owns it.
            taken.push(unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
    taken
}

/// Puts descriptors at [`FIRST_PASSED`] and the numbers that follow, where they stay open over an
/// exec. What was open there is gone: the caller has nothing there that it needs.
///
/// # Errors
/// As fcntl(2) and dup2(2).
pub fn pass(descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let above = FIRST_PASSED + i32::try_from(descriptors.len()).map_err(|_| Errno::MFILE)?;
    let moved: Vec<OwnedFd> = descriptors
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, above))
        .collect::<Result<_, _>>()?;
    for (fd, number) in moved.iter().zip(FIRST_PASSED..) {
        // SAFETY: the process is about to execute another program and uses no descriptor of these
        // numbers any more.
        if unsafe { libc::dup2(fd.as_raw_fd(), number) } < 0 {
            return Err(last_errno());
        }
    }
    Ok(())
}

/// Joins a new anonymous session keyring, so that a pod never sees the keys of who started it.
/// Kernels without keyrings have none to see.
pub fn leave_session_keyring() {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory is passed.
    unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
}

/// Ends the process at once: no destructor or exit handler of the program it was cloned from runs.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: _exit(2) has no precondition.
    unsafe { libc::_exit(i32::from(code)) }
}
