//! The directories that entries lie in, found by the kernel inside the root.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;

use super::path::split;

/// Directories kept open at a time.
const OPEN: usize = 128;

/// The root of a tree being written, and the directories used last.
///
/// Links in an archive's paths are followed as a process whose root this is would follow them
/// (`RESOLVE_IN_ROOT`), as lower images of real bases need (`lib` → `usr/lib`); nothing that an
/// archive holds leads outside.
pub(super) struct Parents {
    root: Arc<OwnedFd>,
    open: HashMap<Vec<u8>, Arc<OwnedFd>>,
    /// Directories that were made because something lies in them, and had no entry of their own
    /// so far.
    made: BTreeSet<Vec<u8>>,
}

impl Parents {
    pub(super) fn new(root: OwnedFd) -> Self {
        Parents {
            root: Arc::new(root),
            open: HashMap::new(),
            made: BTreeSet::new(),
        }
    }

    /// Directories without an entry of their own.
    pub(super) fn made(&mut self) -> &mut BTreeSet<Vec<u8>> {
        &mut self.made
    }

    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// An open directory (`O_PATH`), created with what is above it if nobody has named it yet.
    pub(super) fn get(&mut self, path: &[u8]) -> Result<Arc<OwnedFd>, Errno> {
        if path.is_empty() {
            return Ok(self.root.clone());
        }
        if let Some(known) = self.open.get(path) {
            return Ok(known.clone());
        }
        let directory = match open_in(&*self.root, path) {
            Err(Errno::NOENT) => {
                let (above, name) = split(path);
                let above = self.get(above)?;
                // Its entry may follow, and then sets owner and mode.
                mkdirat(&*above, name, Mode::from_raw_mode(0o755))?;
                rustix::fs::chmodat(
                    &*above,
                    name,
                    Mode::from_raw_mode(0o755),
                    rustix::fs::AtFlags::empty(),
                )?;
                self.made.insert(path.to_vec());
                open_in(&*self.root, path)
            }
            other => other,
        };
        let directory = Arc::new(directory?);
        if self.open.len() >= OPEN {
            self.open.clear();
        }
        self.open.insert(path.to_vec(), directory.clone());
        Ok(directory)
    }

    /// Forgets what is open: something that a path led through was replaced.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }
}

/// Opens a directory inside the root.
fn open_in(root: impl AsFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    resolve(
        root,
        path,
        flags,
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

/// `openat2`, again when a rename elsewhere on the machine came between.
pub(super) fn resolve(
    root: impl AsFd,
    path: &[u8],
    flags: OFlags,
    how: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let mut tries = 0;
    loop {
        match openat2(&root, path, flags, Mode::empty(), how) {
            Err(Errno::AGAIN) if tries < 100 => tries += 1,
            other => return other,
        }
    }
}
