//! containerd, with a root of its own: what it pulls through `ctr`.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::TempDir;

use crate::Result;

/// A running containerd, which ends with this value.
pub(crate) struct Containerd {
    child: Child,
    address: String,
}

impl Containerd {
    /// Starts one below a directory, without what only Kubernetes asks of it, and waits for it to
    /// answer.
    pub(crate) fn start(dir: &TempDir) -> Result<Self> {
        let config = dir.join("containerd.toml");
        let text = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
        std::fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
        let address = dir.join("containerd.sock").display().to_string();
        let child = Command::new("containerd")
            .arg("--config")
            .arg(&config)
            .arg("--root")
            .arg(dir.join("containerd"))
            .arg("--state")
            .arg(dir.join("containerd-state"))
            .args(["--address", &address])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot execute containerd: {e}"))?;
        let started = Self { child, address };
        e2e::until(Duration::from_secs(20), "containerd", || started.answers());
        Ok(started)
    }

    fn answers(&self) -> bool {
        let mut ctr = self.ctr();
        ctr.arg("version").stdout(Stdio::null());
        ctr.stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    }

    fn ctr(&self) -> Command {
        let mut ctr = Command::new("ctr");
        ctr.args(["--address", &self.address]);
        ctr
    }

    /// Pulls an image (`HOST:PORT/NAME:TAG`) and unpacks it.
    pub(crate) fn pull(&self, image: &str) -> Command {
        let mut ctr = self.ctr();
        ctr.args(["images", "pull", "--plain-http", image]);
        ctr
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
