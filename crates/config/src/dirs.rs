//! The directories, and how a kind is gathered from them.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::entry::{Entry, entries};

/// The configuration directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// The vendor's (`--system-config`).
    pub system: PathBuf,
    /// The machine's (`--local-config`).
    pub local: PathBuf,
    /// The user's (`--user-config`), if there is one.
    pub user: Option<PathBuf>,
}

impl Dirs {
    /// From the one that is superseded by all to the one that supersedes all.
    fn ascending(&self) -> impl Iterator<Item = &Path> {
        let all = [Some(&self.system), Some(&self.local), self.user.as_ref()];
        all.into_iter().flatten().map(PathBuf::as_path)
    }
}

/// What one kind of configuration says, or several that share a subdirectory.
pub(crate) trait Layer: Default {
    /// The subdirectory.
    const DIRECTORY: &'static str;

    /// Adds what a file says to what other files of the same directory said.
    fn add(&mut self, entry: &Entry) -> Result<()>;

    /// Lets what a higher directory says take the place of what this one says.
    fn supersede(&mut self, higher: Self);
}

/// Reads a kind from all directories.
pub(crate) fn load<L: Layer>(dirs: &Dirs) -> Result<L> {
    let mut merged = L::default();
    for dir in dirs.ascending() {
        let mut layer = L::default();
        for entry in entries(&dir.join(L::DIRECTORY))? {
            layer.add(&entry)?;
        }
        merged.supersede(layer);
    }
    Ok(merged)
}
