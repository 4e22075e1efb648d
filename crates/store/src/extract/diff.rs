//! What a layer takes away from those below it (OCI image specification, "layer.md",
//! "Whiteouts"): written for overlayfs into a layer's own tree, or carried out where all layers are
//! written into one.

use std::collections::{BTreeSet, HashSet};
use std::os::fd::AsRawFd;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags, mknodat, openat,
    setxattr, statat,
};
use rustix::io::Errno;

use super::{Extractor, Failure, path, resolve};
use crate::remove::remove_at;
use crate::tar::Kind;
use crate::{Error, Limits, Result};

/// The prefix of a name that takes away what is called the rest.
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// The name that takes away all that lower layers have in its directory.
pub(crate) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
/// Names with this prefix are a storage driver's own.
pub(crate) const AUFS: &[u8] = b".wh..wh.";
/// The attribute by which overlayfs knows that a directory covers all below.
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";

/// What is remembered of a layer that is written by itself.
#[derive(Debug)]
pub(super) struct Diff {
    /// Whiteouts that nothing of the same layer has replaced.
    whiteouts: HashSet<Vec<u8>>,
    /// Something was met that means nothing without the layers below.
    needs_lower: bool,
}

/// What was found out about a layer.
#[derive(Debug)]
pub(crate) struct Written {
    /// Directories without an entry: their attributes are those of the layers below.
    pub(crate) implicit: BTreeSet<Vec<u8>>,
    /// Directories in which something is taken away.
    pub(crate) hiding: BTreeSet<Vec<u8>>,
    /// The layer can only be written over those below it.
    pub(crate) needs_lower: bool,
}

/// Overlayfs's sign that there is nothing.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

impl Extractor {
    /// Writes one layer of several by itself.
    pub(crate) fn of_layer(root: OwnedFd, limits: &Limits) -> Self {
        let mut extractor = Extractor::new(root, limits);
        extractor.parents.made().insert(Vec::new());
        extractor.diff = Some(Diff {
            whiteouts: HashSet::new(),
            needs_lower: false,
        });
        extractor
    }

    /// What was found out so far about the layer being written.
    pub(crate) fn written(&mut self) -> Written {
        let whiteouts = self.diff.iter().flat_map(|d| &d.whiteouts);
        Written {
            hiding: whiteouts.map(|w| path::split(w).0.to_vec()).collect(),
            implicit: std::mem::take(self.parents.made()),
            needs_lower: self.diff.as_ref().is_some_and(|d| d.needs_lower),
        }
    }

    /// Notes that the layer means nothing by itself; `false` if it is not written by itself.
    pub(super) fn needs_lower(&mut self) -> bool {
        match &mut self.diff {
            Some(diff) => {
                diff.needs_lower = true;
                true
            }
            None => false,
        }
    }

    /// Takes away what lower layers have at a path. What the layer itself has there stays.
    pub(crate) fn whiteout(&mut self, entry: &[u8], path: &[u8]) -> Result<()> {
        let failed = |e| Failure::with(entry, "create", e);
        let (above, name) = path::split(path);
        if name.is_empty() || name == b"." || name == b".." {
            return Err(Error::entry(entry, "a whiteout of nothing"));
        }
        if self.diff.is_none() {
            return self.take_away(path).map_err(failed);
        }
        self.uncover(above, &Kind::Directory)?;
        let parent = self.parents.get(above).map_err(failed)?;
        self.bounded()?;
        match statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if FileType::from_raw_mode(there.st_mode) == FileType::Directory => {
                self.make_opaque(path).map_err(failed)
            }
            Ok(_) => Ok(()),
            Err(Errno::NOENT) => {
                let nothing = FileType::CharacterDevice;
                match mknodat(&*parent, name, nothing, Mode::empty(), 0) {
                    Ok(()) => {
                        self.diff_whiteouts().insert(path.to_vec());
                        Ok(())
                    }
                    // Only the first user namespace may.
                    Err(Errno::PERM) if self.needs_lower() => Ok(()),
                    Err(e) => Err(failed(e)),
                }
            }
            Err(e) => Err(failed(e)),
        }
    }

    /// Takes away all that lower layers have in a directory.
    pub(crate) fn opaque(&mut self, entry: &[u8], path: &[u8]) -> Result<()> {
        let failed = |e| Failure::with(entry, "create", e);
        if self.diff.is_none() {
            return self.empty(path).map_err(failed);
        }
        if path.is_empty() {
            // Overlayfs does not look for the attribute there.
            self.needs_lower();
            return Ok(());
        }
        self.uncover(path, &Kind::Directory)?;
        self.parents.get(path).map_err(failed)?;
        self.bounded()?;
        self.make_opaque(path).map_err(failed)
    }

    /// Makes room where a whiteout of the same layer is, or lies above, what is written now:
    /// a directory there shows nothing of the layers below.
    pub(super) fn uncover(&mut self, path: &[u8], kind: &Kind) -> Result<()> {
        let Some(diff) = self.diff.as_ref().filter(|d| !d.whiteouts.is_empty()) else {
            return Ok(());
        };
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/');
        let whole = (*kind == Kind::Directory).then_some(path.len());
        let ends = ends.map(|(at, _)| at).chain(whole);
        let covered = ends.map(|end| &path[..end]);
        let covered: Vec<Vec<u8>> = covered
            .filter(|p| diff.whiteouts.contains(*p))
            .map(<[u8]>::to_vec)
            .collect();
        for path in covered {
            let failed = |e| Failure::with(&path, "create", e);
            self.diff_whiteouts().remove(&path);
            let (above, name) = path::split(&path);
            let parent = self.parents.get(above).map_err(failed)?;
            remove_at(&*parent, name)
                .map_err(|e| failed(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
            self.parents.get(&path).map_err(failed)?;
            self.make_opaque(&path).map_err(failed)?;
        }
        Ok(())
    }

    fn diff_whiteouts(&mut self) -> &mut HashSet<Vec<u8>> {
        &mut self
            .diff
            .get_or_insert_with(|| Diff {
                whiteouts: HashSet::new(),
                needs_lower: false,
            })
            .whiteouts
    }

    fn make_opaque(&mut self, path: &[u8]) -> Result<(), Errno> {
        let directory = self.parents.get(path)?;
        let own = format!("/proc/self/fd/{}", directory.as_raw_fd());
        match setxattr(own.as_str(), OPAQUE, b"y", XattrFlags::empty()) {
            Err(Errno::PERM | Errno::OPNOTSUPP) if self.needs_lower() => Ok(()),
            other => other,
        }
    }

    /// Removes what is at a path, where all layers are written into one tree.
    fn take_away(&mut self, path: &[u8]) -> Result<(), Errno> {
        let (above, name) = path::split(path);
        let Some(parent) = self.there(above)? else {
            return Ok(());
        };
        remove_at(&parent, name).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        self.forget_below(path);
        Ok(())
    }

    /// Empties a directory.
    fn empty(&mut self, path: &[u8]) -> Result<(), Errno> {
        let Some(directory) = self.there(path)? else {
            return Ok(());
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = openat(&directory, ".", flags, Mode::empty())?;
        for entry in Dir::read_from(&readable)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                remove_at(&readable, &name)
                    .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
            }
        }
        let kept = self.directories.remove(path);
        self.forget_below(path);
        self.directories.extend(kept.map(|a| (path.to_vec(), a)));
        Ok(())
    }

    /// Attributes of what is gone are not set on what may come in its place.
    fn forget_below(&mut self, path: &[u8]) {
        self.parents.forget();
        let below = |key: &Vec<u8>| {
            key.strip_prefix(path)
                .is_some_and(|rest| path.is_empty() || rest.is_empty() || rest[0] == b'/')
        };
        let from = self.directories.range(path.to_vec()..);
        let gone: Vec<_> = from
            .map(|(key, _)| key.clone())
            .take_while(|key| key.starts_with(path))
            .filter(below)
            .collect();
        for key in gone {
            self.directories.remove(&key);
        }
    }

    /// A directory that is there, and nothing that is made for the question.
    pub(super) fn there(&mut self, path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = self.parents.root().as_fd();
        let opened = if path.is_empty() {
            openat(root, ".", flags, Mode::empty())
        } else {
            let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            resolve(root, path, flags, how)
        };
        match opened {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            other => other.map(Some),
        }
    }
}
