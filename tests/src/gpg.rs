//! The real `gpg`, with a home of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dir::TempDir;

/// A home with keys.
#[derive(Debug)]
pub struct Gpg {
    home: TempDir,
}

impl Gpg {
    /// A home without keys.
    pub fn new() -> Self {
        let home = TempDir::new();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self { home }
    }

    /// A home with one key of that algorithm, that signs, belongs to this user and never expires;
    /// for instance `rsa2048`.
    pub fn with_key(algorithm: &str, user: &str) -> Self {
        let gpg = Self::new();
        gpg.run(&[
            "--quick-generate-key",
            user,
            algorithm,
            "cert,sign",
            "never",
        ]);
        gpg
    }

    /// Runs it without questions and returns what it wrote.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command
            .env("GNUPGHOME", self.home.path())
            .args([
                "--batch",
                "--yes",
                "--quiet",
                "--pinentry-mode=loopback",
                "--passphrase=",
            ])
            .args(args);
        let output = command.output().unwrap();
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {args:?}: {problem}");
        output.stdout
    }

    /// The fingerprint of the first key.
    pub fn fingerprint(&self) -> String {
        let listing = String::from_utf8(self.run(&["--list-keys", "--with-colons"])).unwrap();
        let line = listing.lines().find(|l| l.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_lowercase()
    }

    /// Writes all public keys into a file, armoured.
    pub fn export(&self, to: &Path) -> String {
        fs::write(to, self.run(&["--armor", "--export"])).unwrap();
        to.to_str().unwrap().to_owned()
    }

    /// Signs a file with more options and returns the armoured signature.
    #[track_caller]
    pub fn sign(&self, file: &Path, options: &[&str]) -> Vec<u8> {
        let own = [
            "--armor",
            "--output=-",
            "--detach-sign",
            file.to_str().unwrap(),
        ];
        self.run(&[options, &own].concat())
    }

    /// Signs an image and puts the signature where rkt looks for it.
    #[track_caller]
    pub fn sign_beside(&self, image: &str, options: &[&str]) {
        let signature = self.sign(Path::new(image), options);
        fs::write(format!("{image}.asc"), signature).unwrap();
    }

    /// Edits a key as a person would, who types this.
    pub fn edit(&self, key: &str, typed: &str) {
        use std::io::Write;
        use std::process::Stdio;
        let mut command = Command::new("gpg");
        command.env("GNUPGHOME", self.home.path());
        command.args([
            "--quiet",
            "--pinentry-mode=loopback",
            "--passphrase=",
            "--no-tty",
        ]);
        command.args(["--command-fd=0", "--status-fd=2", "--edit-key", key]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null());
        child = child.stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(typed.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg --edit-key: {problem}");
    }

    /// Revokes the first key.
    pub fn revoke(&self) {
        let fingerprint = self.fingerprint().to_uppercase();
        let file = self
            .home
            .join(&format!("openpgp-revocs.d/{fingerprint}.rev"));
        // A colon guards against importing it by accident.
        let text = fs::read_to_string(file)
            .unwrap()
            .replace(":-----BEGIN", "-----BEGIN");
        let cleared: PathBuf = self.home.join("revoke.asc");
        fs::write(&cleared, text).unwrap();
        self.run(&["--import", cleared.to_str().unwrap()]);
    }
}

impl Default for Gpg {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut stop = Command::new("gpgconf");
        stop.env("GNUPGHOME", self.home.path());
        let _ = stop.args(["--kill", "all"]).output();
    }
}
