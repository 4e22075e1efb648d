//! What the tests of journals share: a pod's, and the real `journalctl`.

use std::path::Path;
use std::process::Command;

use journal::{Identity, Journal, Limits};

pub(crate) const IDENTITY: Identity = Identity {
    machine: *b"\x12\x34\x56\x78\x9a\xbc\x4d\xef\x81\x23\x45\x67\x89\xab\xcd\xef",
    boot: [7; 16],
};
/// The machine's ID, which a directory is named by.
pub(crate) const MACHINE: &str = "123456789abc4def8123456789abcdef";

/// A journal below a directory. All its entries have these fields.
pub(crate) fn journal(dir: &Path, limits: Limits, all: &[&str]) -> Journal {
    let all = all.iter().map(|field| field.as_bytes().to_vec()).collect();
    Journal::new(dir.join(MACHINE), IDENTITY, limits, all)
}

/// What journalctl says of the journals below a directory.
pub(crate) fn journalctl(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("journalctl")
        .arg("--directory")
        .arg(dir)
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{args:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}
