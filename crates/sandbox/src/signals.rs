//! Signals as descriptors: a process that blocks them all and reads them when it polls.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::Signal;

use crate::clone::last_errno;

/// All signals that can be blocked, blocked in this thread and readable from a descriptor.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// The sender in this process's pid namespace; 0 for the kernel and for senders outside.
    pub sender: u32,
    /// The kernel made it, for the terminal's keys for instance, which reach the whole foreground
    /// process group.
    pub from_kernel: bool,
}

impl SignalFd {
    /// Blocks every signal in the calling thread and returns the descriptor to read them from.
    ///
    /// # Errors
    /// As signalfd(2).
    pub fn block_all() -> Result<Self, Errno> {
        // SAFETY: an all-zero sigset_t is a valid object for sigfillset to fill.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is a valid sigset_t; the old mask is not asked for.
        let fd = unsafe {
            libc::sigfillset(&raw mut set);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        match fd {
            // SAFETY: signalfd returned a new descriptor that nobody else owns.
            0.. => Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) })),
            _ => Err(last_errno()),
        }
    }

    /// The next pending signal, `None` when there is none.
    ///
    /// # Errors
    /// As read(2).
    pub fn read(&self) -> Result<Option<Received>, Errno> {
        let mut info = [0u8; std::mem::size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.0, &mut info) {
            Ok(n) if n == info.len() => {
                let word = |at: usize| {
                    u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]])
                };
                // ssi_signo is the first word, ssi_code the third, ssi_pid the fourth (signalfd(2)).
                Ok(Some(Received {
                    signal: word(0) as i32,
                    sender: word(12),
                    from_kernel: word(8) as i32 == libc::SI_KERNEL,
                }))
            }
            Ok(_) => Err(Errno::IO),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Gives an app the signal state every program expects at its start: nothing blocked, every
/// disposition the default one.
pub fn reset() {
    for signal in 1..=64 {
        // KILL and STOP answer EINVAL, which is fine; so do the two that glibc keeps for itself.
        // SAFETY: SIG_DFL is a valid disposition; no handler of ours remains referenced.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an all-zero sigset_t is the empty set on Linux; sigemptyset makes it so everywhere.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Sends `signal` through a pidfd; a process that is gone already is not an error.
///
/// # Errors
/// As pidfd_send_signal(2).
pub fn send(pidfd: impl AsFd, signal: Signal) -> Result<(), Errno> {
    match rustix::process::pidfd_send_signal(pidfd, signal) {
        Err(Errno::SRCH) => Ok(()),
        other => other,
    }
}

/// Forwards a raw signal number, real-time ones included, through a pidfd.
///
/// # Errors
/// As pidfd_send_signal(2).
pub fn forward(pidfd: impl AsFd, signal: i32) -> Result<(), Errno> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: a null siginfo asks the kernel to make one as kill(2) would.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            fd,
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    match done {
        0 => Ok(()),
        _ => match last_errno() {
            Errno::SRCH => Ok(()),
            errno => Err(errno),
        },
    }
}

/// Signals every process of the pid namespace but the caller, which must be its PID 1.
///
/// # Errors
/// As kill(2); EPERM, with nobody signalled, for any other caller: on the host it would end
/// every process there is.
pub fn send_all(signal: Signal) -> Result<(), Errno> {
    if !rustix::process::getpid().is_init() {
        return Err(Errno::PERM);
    }
    // SAFETY: kill(2) has no memory arguments.
    match unsafe { libc::kill(-1, signal.as_raw()) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}
