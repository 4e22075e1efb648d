//! What the supervisor tells the host: exit statuses, pids and readiness, as files below the
//! stage1 root file system (implementor's guide, "Filesystem Layout Assumptions").

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, symlinkat, unlinkat};
use rustix::io::Errno;
use sandbox::{Context, Error};
use stage1_abi::path;

/// Status of an app whose program could not be executed, as systemd reported it.
pub const FAILED_TO_START: u8 = 203;
/// Added to the number of the signal that killed an app.
pub const KILLED_BY_SIGNAL: u8 = 128;

/// The open directory of the status files.
#[derive(Debug)]
pub(crate) struct StatusDirectory(OwnedFd);

impl StatusDirectory {
    /// Opens it below the process's root, making it where a stage1 image does not bring it.
    pub(crate) fn open() -> Result<Self, Error> {
        for dir in ["/rkt", "/rkt/status"] {
            match mkdirat(CWD, dir, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno).context("make directory", dir),
            }
        }
        openat(
            CWD,
            "/rkt/status",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map(Self)
        .context("open directory", "/rkt/status")
    }

    /// Records how an app ended.
    pub(crate) fn exited(&self, app: &str, code: u8) -> Result<(), Error> {
        self.write(app, &code.to_string())
    }

    /// Records an app's pid in the pod, for the enter entrypoint.
    pub(crate) fn started(&self, app: &str, pid: i32) -> Result<(), Error> {
        self.write(&format!("{app}.pid"), &pid.to_string())
    }

    /// Removes what was recorded of an app's earlier run.
    pub(crate) fn forget(&self, app: &str) -> Result<(), Error> {
        for name in [app, &format!("{app}.pid")] {
            match unlinkat(&self.0, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).context("remove status file", name),
            }
        }
        Ok(())
    }

    /// Replaces a file; a reader sees the old text or the new one.
    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let flags =
            OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.0, name, flags, Mode::from_raw_mode(0o644))
            .and_then(|fd| rustix::io::write(fd, text.as_bytes()))
            .map(drop)
            .context("write status file", name)
    }
}

/// Tells that all apps were started.
pub(crate) fn ready() -> Result<(), Error> {
    let path = format!("/{}", path::SUPERVISOR_STATUS);
    match symlinkat(path::SUPERVISOR_READY, CWD, &path) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).context("make", path),
    }
}
