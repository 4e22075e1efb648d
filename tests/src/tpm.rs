//! A Trusted Platform Module: Debian's `swtpm`.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::dir::TempDir;
use crate::wait::until;

/// How long it may take to start.
const LIMIT: Duration = Duration::from_secs(60);

/// A running emulator of a TPM 2.0, which ends with this.
#[derive(Debug)]
pub struct Emulator {
    process: Child,
    directory: TempDir,
}

impl Emulator {
    /// One that a virtual machine takes by its control socket.
    pub fn of_machine() -> Self {
        Self::start(|_| Vec::new())
    }

    /// One that is on already, and takes commands by a socket of its own.
    pub fn on() -> Self {
        Self::start(|directory| {
            let socket = directory.join("tpm").display().to_string();
            vec![
                format!("--server=type=unixio,path={socket}"),
                "--flags=not-need-init,startup-clear".to_owned(),
            ]
        })
    }

    fn start(more: impl Fn(&TempDir) -> Vec<String>) -> Self {
        let directory = TempDir::new();
        // tpm2-tools look for it beside the other socket, by this name.
        let control = directory.join("tpm.ctrl");
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2"])
            .arg(format!("--tpmstate=dir={}", directory.path().display()))
            .arg(format!("--ctrl=type=unixio,path={}", control.display()))
            .args(more(&directory))
            .stdin(Stdio::null())
            .spawn()
            .expect("swtpm");
        let emulator = Self { process, directory };
        until(LIMIT, "swtpm", || control.exists());
        emulator
    }

    /// Where it is told to begin and to end.
    pub fn control(&self) -> PathBuf {
        self.directory.join("tpm.ctrl")
    }

    /// Where it takes commands.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("tpm")
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
