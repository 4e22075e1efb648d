//! A Trusted Platform Module: Debian's `swtpm`.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running emulator.
#[derive(Debug)]
pub struct Emulator(Child);

impl Emulator {
    /// A TPM 2.0 that keeps its state in a directory, with these further arguments.
    pub fn start(state: &Path, args: &[&str]) -> Self {
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2"])
            .arg(format!("--tpmstate=dir={}", state.display()))
            .args(args)
            .stdin(Stdio::null())
            .spawn()
            .expect("swtpm");
        Self(child)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
