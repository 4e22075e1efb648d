//! SELinux policies for the virtual machine, compiled by `secilc`.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::dir::TempDir;

/// The newest format that every kernel since Linux 5.5 reads.
const VERSION: &str = "32";

/// A compiled policy.
#[derive(Debug)]
pub struct Policy {
    dir: TempDir,
}

impl Policy {
    /// Compiles a policy in the Common Intermediate Language, to which the levels of `s0` with 1024
    /// categories are added: `low`, and `every_level`.
    ///
    /// # Panics
    /// If the compiler refuses it.
    pub fn compile(text: &str) -> Self {
        let dir = TempDir::new();
        let mut source = text.to_owned();
        let mut order = String::new();
        for number in 0..1024 {
            let _ = writeln!(source, "(category c{number})");
            let _ = write!(order, " c{number}");
        }
        let _ = write!(
            source,
            "(categoryorder ({order}))\n(sensitivity s0)\n(sensitivityorder (s0))\n\
             (sensitivitycategory s0 (range c0 c1023))\n(level low (s0))\n\
             (level high (s0 (range c0 c1023)))\n(levelrange every_level (low high))\n"
        );
        fs::write(dir.join("policy.cil"), source).unwrap();
        let output = Command::new("secilc")
            .args([
                "-c",
                VERSION,
                "-o",
                "policy",
                "-f",
                "file_contexts",
                "policy.cil",
            ])
            .current_dir(dir.path())
            .output()
            .unwrap_or_else(|e| panic!("secilc: {e}"));
        assert!(output.status.success(), "{output:?}");
        Self { dir }
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.dir.join("policy")
    }
}
