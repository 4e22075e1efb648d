//! Attaching to an app's streams (devel-log-attach-design): what the original left to a sidecar of
//! each app, iottymux, the supervisor does itself, with the same files.

mod client;
mod endpoint;
mod spool;

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::termios::{Winsize, tcsetwinsize};
use sandbox::{Context, Error};
use stage1_abi::path;

use crate::output::Output;

pub(crate) use endpoint::{Endpoint, Part, bind_in, listener_of};

/// Name of a terminal's endpoint.
const TTY: &str = "tty";

/// What one can attach to of one app.
#[derive(Debug, Default)]
pub(crate) struct Attachable {
    pub(crate) endpoints: Vec<Endpoint>,
}

/// The supervisor's ends of an app's streams.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<Output>,
    pub(crate) stderr: Option<Output>,
    pub(crate) terminal: Option<OwnedFd>,
}

impl Attachable {
    /// Opens these streams of `app` to clients.
    pub(crate) fn open(&mut self, app: &str, ends: Ends) -> Result<(), Error> {
        let dir = directory(app)?;
        // Sockets are bound by a name of any length only in the working directory.
        rustix::process::fchdir(&dir).context("enter", path::attach(app).display())?;
        let opened = self
            .add(ends)
            .and_then(|()| self.write_endpoints(&dir, app))
            .context("open streams of app", app);
        rustix::process::chdir("/").context("enter", "/")?;
        opened
    }

    fn add(&mut self, ends: Ends) -> Result<(), Errno> {
        if let Some(stdin) = ends.stdin {
            self.endpoints.push(Endpoint::input("stdin", stdin)?);
        }
        if let Some(stdout) = ends.stdout {
            self.endpoints.push(Endpoint::output("stdout", stdout)?);
        }
        if let Some(stderr) = ends.stderr {
            self.endpoints.push(Endpoint::output("stderr", stderr)?);
        }
        if let Some(master) = ends.terminal {
            self.endpoints.push(Endpoint::terminal(TTY, master)?);
        }
        Ok(())
    }

    /// The file by which clients find the sockets ("Attaching").
    fn write_endpoints(&self, dir: &OwnedFd, app: &str) -> Result<(), Errno> {
        let base = path::attach(app);
        let targets: Vec<String> = self
            .endpoints
            .iter()
            .map(|endpoint| {
                let name = endpoint.name;
                let address = base.join(format!("sock-{name}"));
                let address = address.to_string_lossy();
                format!(r#"{{"name":"{name}","domain":"unix","address":"/{address}"}}"#)
            })
            .collect();
        let text = format!(r#"{{"version":1,"targets":[{}]}}"#, targets.join(","));
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC;
        let temporary = ".endpoints";
        let file = openat(dir, temporary, flags, Mode::from_raw_mode(0o644))?;
        rustix::io::write(&file, text.as_bytes())?;
        rustix::fs::renameat(dir, temporary, dir, path::ENDPOINTS)
    }

    /// Gives the app's terminal another size; `false` if it has none.
    pub(crate) fn resize(&self, size: Winsize) -> bool {
        let master = self.endpoints.iter().find_map(Endpoint::master);
        master.is_some_and(|master| tcsetwinsize(master.as_fd(), size).is_ok())
    }

    pub(crate) fn sweep(&mut self) {
        self.endpoints.iter_mut().for_each(Endpoint::sweep);
    }

    /// After the app's end.
    pub(crate) fn close(&mut self) {
        self.endpoints.iter_mut().for_each(Endpoint::close);
    }

    pub(crate) fn is_read(&self) -> bool {
        self.endpoints.iter().any(Endpoint::is_read)
    }
}

/// The directory of an app's sockets, emptied of those of an earlier start.
fn directory(app: &str) -> Result<OwnedFd, Error> {
    let dir = std::path::Path::new("/").join(path::attach(app));
    let open = endpoint::directory(&dir)?;
    let stale = std::fs::read_dir(&dir).context("read directory", dir.display())?;
    for entry in stale.flatten() {
        std::fs::remove_file(entry.path()).context("remove", entry.path().display())?;
    }
    Ok(open)
}
