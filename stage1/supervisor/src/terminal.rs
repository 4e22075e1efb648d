//! Between the terminal of who runs rkt and a terminal inside the pod.
//!
//! An app never gets the outer terminal itself: it could read and type what it likes there.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, Mode as FileMode, OFlags, openat};
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
    tcsetwinsize,
};

/// `^]`, which ends a pod, or detaches from an app, when it comes three times in a row.
pub const ESCAPE: u8 = 0x1D;
const ESCAPES: u8 = 3;
const ESCAPE_TIME: Duration = Duration::from_secs(5);
const BUFFER: usize = 4096;

/// A terminal inside the pod: the supervisor's end, and the app's.
#[derive(Debug)]
pub struct Inner {
    /// Reads and writes of it do not wait.
    pub master: OwnedFd,
    /// What the app has as standard input and output.
    pub slave: OwnedFd,
    /// Of the app's end.
    pub path: CString,
}

impl Inner {
    /// A new terminal of the `/dev/pts` that this process sees: the app's own. It has the outer one's
    /// size at once, not only when a [`Relay`] takes it: a program may ask before that.
    ///
    /// # Errors
    /// As open(2), when that has no terminals or no more of them.
    pub fn open() -> Result<Self, Errno> {
        let open = |path: &CStr, flags| {
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | flags;
            openat(CWD, path, flags, FileMode::empty())
        };
        let master = open(c"/dev/pts/ptmx", OFlags::NONBLOCK)?;
        rustix::pty::unlockpt(&master)?;
        let path = rustix::pty::ptsname(&master, Vec::new())?;
        take_size(&master);
        Ok(Self {
            slave: open(&path, OFlags::empty())?,
            master,
            path,
        })
    }
}

/// Gives an inner terminal the size of the outer one, standard input, if that is a terminal.
fn take_size(master: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(rustix::stdio::stdin()) {
        // The inner terminal may be hung up; then its size matters to nobody.
        let _ = tcsetwinsize(master, size);
    }
}

/// The outer terminal in another mode, until dropped.
#[derive(Debug)]
pub struct Mode {
    before: Termios,
}

impl Mode {
    /// Every byte comes as typed, as for a terminal that is relayed. `None` if standard input is
    /// not a terminal in whose foreground this process is.
    pub fn raw() -> Option<Self> {
        Self::change(Termios::make_raw)
    }

    /// Bytes come one by one and are not shown, while `^C` and output work as usual: enough to
    /// see the escape.
    pub fn unbuffered() -> Option<Self> {
        Self::change(|modes| {
            modes
                .local_modes
                .remove(LocalModes::ICANON | LocalModes::ECHO)
        })
    }

    fn change(change: impl FnOnce(&mut Termios)) -> Option<Self> {
        let stdin = rustix::stdio::stdin();
        if !isatty(stdin) || tcgetpgrp(stdin).ok()? != rustix::process::getpgrp() {
            return None;
        }
        let before = tcgetattr(stdin).ok()?;
        let mut modes = before.clone();
        change(&mut modes);
        tcsetattr(stdin, OptionalActions::Now, &modes).ok()?;
        Some(Self { before })
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        // A terminal that is gone has no mode to restore.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Watches what is typed for the escape.
#[derive(Debug, Default)]
pub struct Escape {
    seen: u8,
    first: Option<Instant>,
}

impl Escape {
    /// Whether these bytes complete the escape.
    pub fn typed(&mut self, bytes: &[u8], now: Instant) -> bool {
        for &byte in bytes {
            if byte != ESCAPE {
                self.seen = 0;
                continue;
            }
            let in_time = self
                .first
                .is_some_and(|first| now.duration_since(first) <= ESCAPE_TIME);
            if self.seen == 0 || !in_time {
                (self.seen, self.first) = (0, Some(now));
            }
            self.seen += 1;
            if self.seen == ESCAPES {
                return true;
            }
        }
        false
    }
}

/// What came of a round of relaying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relayed {
    /// Go on.
    Open,
    /// The inner terminal was hung up: all its users are gone.
    HungUp,
    /// The user typed the escape.
    Escaped,
}

/// Copies between the outer terminal (standard input and output) and the master of an inner one.
#[derive(Debug)]
pub struct Relay {
    master: OwnedFd,
    to_app: Vec<u8>,
    to_user: Vec<u8>,
    input_ended: bool,
    escape: Escape,
}

impl Relay {
    /// Takes the master of the inner terminal.
    pub fn new(master: OwnedFd) -> Self {
        let relay = Self {
            master,
            to_app: Vec::new(),
            to_user: Vec::new(),
            input_ended: false,
            escape: Escape::default(),
        };
        relay.resize();
        relay
    }

    /// Gives the inner terminal the size of the outer one.
    pub fn resize(&self) {
        take_size(&self.master);
    }

    /// What to poll for: the master, standard input and standard output, in this order.
    pub fn poll_fds(&self) -> [PollFd<'_>; 3] {
        let mut master = PollFlags::empty();
        master.set(PollFlags::IN, self.to_user.is_empty());
        master.set(PollFlags::OUT, !self.to_app.is_empty());
        let input = if self.to_app.is_empty() && !self.input_ended {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let output = if self.to_user.is_empty() {
            PollFlags::empty()
        } else {
            PollFlags::OUT
        };
        [
            PollFd::from_borrowed_fd(self.master.as_fd(), master),
            PollFd::from_borrowed_fd(rustix::stdio::stdin(), input),
            PollFd::from_borrowed_fd(rustix::stdio::stdout(), output),
        ]
    }

    /// Moves what the last poll found ready: the three results in [`Self::poll_fds`]'s order.
    pub fn pump(&mut self, ready: [PollFlags; 3]) -> Relayed {
        let [master, input, output] = ready;
        if input.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) && self.read_input() {
            return Relayed::Escaped;
        }
        if master.contains(PollFlags::OUT) {
            write_some(self.master.as_fd(), &mut self.to_app);
        }
        if output.intersects(PollFlags::OUT | PollFlags::ERR) {
            write_some(rustix::stdio::stdout(), &mut self.to_user);
        }
        let readable = PollFlags::IN | PollFlags::HUP;
        if self.to_user.is_empty() && master.intersects(readable) && !self.read_master() {
            return Relayed::HungUp;
        }
        Relayed::Open
    }

    fn read_input(&mut self) -> bool {
        let mut buffer = [0; BUFFER];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) => self.input_ended = true,
            Ok(n) => {
                self.to_app.extend_from_slice(&buffer[..n]);
                return self.escape.typed(&buffer[..n], Instant::now());
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.input_ended = true,
        }
        false
    }

    fn read_master(&mut self) -> bool {
        let mut buffer = [0; BUFFER];
        match rustix::io::read(&self.master, &mut buffer) {
            Ok(0) => false,
            Ok(n) => {
                self.to_user.extend_from_slice(&buffer[..n]);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            // EIO is how a master says that its last slave was closed.
            Err(_) => false,
        }
    }

    /// Writes out the rest when all is over.
    pub fn finish(mut self) {
        while self.read_master() || !self.to_user.is_empty() {
            if self.to_user.is_empty() || !write_some(rustix::stdio::stdout(), &mut self.to_user) {
                break;
            }
        }
    }
}

/// Writes what the descriptor takes now; `false` if it takes nothing ever again.
fn write_some(fd: BorrowedFd<'_>, bytes: &mut Vec<u8>) -> bool {
    match rustix::io::write(fd, bytes) {
        Ok(n) => {
            bytes.drain(..n);
            true
        }
        Err(Errno::AGAIN | Errno::INTR) => true,
        Err(_) => {
            bytes.clear();
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_escapes_in_time() {
        let start = Instant::now();
        let mut escape = Escape::default();
        assert!(escape.typed(b"\x1d\x1d\x1d", start));
        let mut escape = Escape::default();
        assert!(!escape.typed(b"\x1d\x1dx\x1d", start));
        assert!(!escape.typed(b"\x1d", start + Duration::from_secs(6)));
        assert!(!escape.typed(b"\x1d", start + Duration::from_secs(7)));
        assert!(escape.typed(b"\x1d", start + Duration::from_secs(8)));
    }
}
