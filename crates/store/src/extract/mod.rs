//! Writing an archive's entries below a directory.
//!
//! Every path is resolved by the kernel inside that directory ([`parents`]); names are never
//! trusted to stay where they were. Later entries replace earlier ones, of the same archive or of
//! the images below, whatever their types.

mod acl;
mod attributes;
mod diff;
mod known;
mod parents;
pub(crate) mod path;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, ftruncate, linkat, mkdirat, mknodat,
    openat, statat, symlinkat,
};
use rustix::io::Errno;

use crate::limits::Limits;
use crate::remove::remove_at;
use crate::tar::{Archive, Entry, Kind};
use crate::{Error, Result};
use attributes::Attributes;
use diff::Diff;
use parents::{Parents, resolve};

pub(crate) use attributes::{copy as copy_attributes, is_label, welcome};
pub(crate) use diff::{AUFS, OPAQUE, OPAQUE_NAME, WHITEOUT, is_whiteout};
pub(crate) use known::{Digests, Known, Looks};

/// What this process may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Whether owners and capabilities are set; without root they cannot be.
    pub(crate) owners: bool,
    /// Whether devices are made; only the host's root can, others leave them out.
    devices: bool,
    /// The user namespace has one id: everything is its.
    one_id: bool,
    /// Whose what this process makes is, but for directories that hand on their group.
    own: (u32, u32),
}

impl Policy {
    /// All of it as root, of this user namespace at least.
    pub(crate) fn of_this_process() -> Self {
        let hosts = sandbox::ids::is_hosts();
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        let owners = user.is_root();
        Policy {
            owners,
            devices: owners && hosts,
            one_id: !hosts && has_one_id(),
            own: (user.as_raw(), group.as_raw()),
        }
    }

    fn sets_owners(self) -> bool {
        self.owners && !self.one_id
    }
}

/// Whether this process's user namespace has one id only.
fn has_one_id() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().skip(2).eq(["1"])
}

/// Writes entries below one directory. [`Extractor::finish`] sets what directories get last.
pub(crate) struct Extractor {
    parents: Parents,
    policy: Policy,
    limits: Limits,
    /// Attributes of directories: set at the end, the deepest first, because entries written into
    /// them change their times, and a mode may close them to us.
    directories: BTreeMap<Vec<u8>, Attributes>,
    digests: Digests,
    /// There when one layer is written by itself, to be laid over others.
    diff: Option<Diff>,
}

impl Extractor {
    /// Writes below an open directory. The bounds are those of paths; others are the reader's.
    pub(crate) fn new(root: OwnedFd, limits: &Limits) -> Self {
        Extractor {
            parents: Parents::new(root),
            policy: Policy::of_this_process(),
            limits: limits.clone(),
            directories: BTreeMap::new(),
            digests: HashMap::new(),
            diff: None,
        }
    }

    /// Writes an entry at a clean path, its data taken from the archive that stands before it.
    /// `link` is the clean path of a hard link's target.
    pub(crate) fn write<R: std::io::BufRead>(
        &mut self,
        archive: &mut Archive<'_, R>,
        entry: &Entry,
        path: &[u8],
        link: Option<&[u8]>,
    ) -> Result<()> {
        let attributes =
            Attributes::of(entry).map_err(|reason| Error::entry(&entry.name, reason))?;
        if path.is_empty() {
            if entry.kind != Kind::Directory {
                return Err(Error::entry(&entry.name, "the root is not a directory"));
            }
            self.directories.insert(Vec::new(), attributes);
            self.parents.made().remove(path);
            return Ok(());
        }
        self.uncover(path, &entry.kind)?;
        let (above, name) = path::split(path);
        let failed = |action: &'static str| {
            let entry = entry.name.clone();
            move |e: Errno| Failure::with(&entry, action, e)
        };
        let parent = self
            .parents
            .get(above)
            .map_err(failed("open the directory of"))?;
        self.bounded()?;
        match &entry.kind {
            Kind::File => return self.file(archive, entry, &attributes, &parent, name),
            Kind::Directory => {
                self.directory(&parent, name).map_err(failed("create"))?;
                self.directories.insert(path.to_vec(), attributes);
                self.parents.made().remove(path);
                return Ok(());
            }
            Kind::HardLink(target) => {
                let link = link.unwrap_or(target);
                return match self.hard_link(link, &parent, name) {
                    Err(Errno::NOENT | Errno::NOTDIR) if self.needs_lower() => Ok(()),
                    other => other.map_err(failed("link")),
                };
            }
            Kind::SymbolicLink(target) => {
                if target.is_empty() || target.len() > Limits::PATH {
                    let reason = "a symbolic link to nothing, or to more than 4095 bytes";
                    return Err(Error::entry(&entry.name, reason));
                }
                self.replacing(&parent, name, || {
                    symlinkat(target.as_slice(), &*parent, name)
                })
            }
            Kind::Character(..) | Kind::Block(..) if !self.policy.devices => return Ok(()),
            Kind::Character(major, minor) => {
                self.node(&parent, name, FileType::CharacterDevice, (*major, *minor))
            }
            Kind::Block(major, minor) => {
                self.node(&parent, name, FileType::BlockDevice, (*major, *minor))
            }
            Kind::Fifo => self.node(&parent, name, FileType::Fifo, (0, 0)),
        }
        .map_err(failed("create"))?;
        let link = matches!(entry.kind, Kind::SymbolicLink(_));
        attributes
            .set_at(&parent, name, link, self.policy)
            .map_err(failed("set the attributes of"))
    }

    fn file<R: std::io::BufRead>(
        &mut self,
        archive: &mut Archive<'_, R>,
        entry: &Entry,
        attributes: &Attributes,
        parent: &Arc<OwnedFd>,
        name: &[u8],
    ) -> Result<()> {
        let failed = |action: &'static str| move |e: Errno| Failure::with(&entry.name, action, e);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // What the file gets in the end, so that most need no second call; the special bits wait for
        // the owner.
        let mode = attributes.mode() & (Mode::RWXU | Mode::RWXG | Mode::RWXO);
        let file = self
            .replacing(parent, name, || openat(&**parent, name, flags, mode))
            .map_err(failed("create"))?;
        let content = match &entry.map {
            None => {
                let mut hash = blake3::Hasher::new();
                archive.data(|bytes| {
                    hash.update(bytes);
                    write_all(&file, bytes).map_err(failed("write"))
                })?;
                Some(hash.finalize())
            }
            Some(map) => {
                let mut sparse = Pieces::new(&file, map);
                archive.data(|bytes| sparse.write(bytes).map_err(failed("write")))?;
                ftruncate(&file, entry.size).map_err(failed("set the size of"))?;
                None
            }
        };
        let stat = attributes
            .set_new(&file, self.policy)
            .map_err(failed("set the attributes of"))?;
        match content {
            Some(content) => {
                let known = Known {
                    content,
                    plain: attributes::is_plain(&file),
                    looks: Some(Looks::of(&stat)),
                };
                self.digests.insert(stat.st_ino, known);
            }
            // The number was that of a file which has gone.
            None => drop(self.digests.remove(&stat.st_ino)),
        }
        Ok(())
    }

    fn directory(&mut self, parent: &Arc<OwnedFd>, name: &[u8]) -> Result<(), Errno> {
        let create = || {
            mkdirat(&**parent, name, Mode::RWXU)?;
            rustix::fs::chmodat(&**parent, name, Mode::RWXU, AtFlags::empty())
        };
        match create() {
            Err(Errno::EXIST) => {}
            other => return other,
        }
        let there = statat(&**parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(there.st_mode) == FileType::Directory {
            return Ok(());
        }
        self.replacing(parent, name, create)
    }

    /// Links to what an earlier entry wrote. A link to itself, or to what it shares an inode with
    /// already, changes nothing.
    fn hard_link(
        &mut self,
        target: &[u8],
        parent: &Arc<OwnedFd>,
        name: &[u8],
    ) -> Result<(), Errno> {
        let (above, from) = path::split(target);
        let above = self.parents.get(above)?;
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        let source = statat(&*above, from, no_follow)?;
        if self.diff.is_some() && diff::is_whiteout(&source) {
            return Err(Errno::NOENT);
        }
        if let Ok(there) = statat(&**parent, name, no_follow)
            && there.st_ino == source.st_ino
            && there.st_dev == source.st_dev
        {
            return Ok(());
        }
        self.replacing(parent, name, || {
            linkat(&*above, from, &**parent, name, AtFlags::empty())
        })?;
        // Its bytes must not be counted twice.
        if let Some(known) = self.digests.get_mut(&source.st_ino) {
            known.looks = None;
        }
        Ok(())
    }

    fn node(
        &mut self,
        parent: &Arc<OwnedFd>,
        name: &[u8],
        kind: FileType,
        (major, minor): (u32, u32),
    ) -> Result<(), Errno> {
        let device = rustix::fs::makedev(major, minor);
        self.replacing(parent, name, || {
            mknodat(&**parent, name, kind, Mode::RUSR | Mode::WUSR, device)
        })
    }

    /// Creates something, after removing what has the name.
    fn replacing<T>(
        &mut self,
        parent: &Arc<OwnedFd>,
        name: &[u8],
        create: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        match create() {
            Err(Errno::EXIST) => {}
            other => return other,
        }
        remove_at(&**parent, name).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        // A directory or a link that was kept open may be what has gone.
        self.parents.forget();
        create()
    }

    /// Sets the attributes of all directories. Returns the digests of the files.
    pub(crate) fn finish(mut self) -> Result<Digests> {
        self.date_made()
            .map_err(|e| Failure::with(b"/", "set the time of", e))?;
        for (path, attributes) in self.directories.iter().rev() {
            let failed = |e| Failure::with(path, "set the attributes of", e);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = if path.is_empty() {
                openat(self.parents.root(), ".", flags, Mode::empty())
            } else {
                let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                resolve(self.parents.root(), path, flags, how)
            };
            let directory = match opened {
                // Replaced by a later entry.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                other => other.map_err(failed)?,
            };
            let stat = fstat(&directory).map_err(failed)?;
            attributes
                .set(&directory, Some(&stat), self.policy)
                .map_err(failed)?;
        }
        Ok(self.digests)
    }

    /// Gives directories that no entry speaks of a time that does not depend on when this is: what is
    /// made of an image twice is the same. What is to be laid over others gets theirs.
    fn date_made(&mut self) -> Result<(), Errno> {
        if self.diff.is_some() {
            return Ok(());
        }
        let mut made = std::mem::take(self.parents.made());
        if !self.directories.contains_key(&[][..]) {
            made.insert(Vec::new());
        }
        for path in made {
            // It may have been replaced or taken away by a later entry.
            if let Some(directory) = self.there(&path)? {
                attributes::set_epoch(&directory)?;
            }
        }
        Ok(())
    }

    /// Directories that no entry speaks of cost an inode too.
    fn bounded(&mut self) -> Result<()> {
        match self.parents.made().len() as u64 > self.limits.entries {
            false => Ok(()),
            true => Err(Error::TooLarge {
                what: "directories",
                limit: self.limits.entries,
            }),
        }
    }

    /// The bounds on paths.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// Turns a failed call for an entry into an error: a full disk is the machine's fault, anything
/// else the entry's.
struct Failure;

impl Failure {
    fn with(name: &[u8], action: &'static str, errno: Errno) -> Error {
        match errno {
            Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::ROFS | Errno::MFILE | Errno::NFILE => {
                Error::Io {
                    action,
                    path: String::from_utf8_lossy(name).into_owned().into(),
                    source: errno.into(),
                }
            }
            errno => Error::entry(name, format!("cannot {action} it: {errno}")),
        }
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Puts the data of a sparse file where its map says.
struct Pieces<'a> {
    file: &'a OwnedFd,
    map: std::slice::Iter<'a, (u64, u64)>,
    at: u64,
    left: u64,
}

impl<'a> Pieces<'a> {
    fn new(file: &'a OwnedFd, map: &'a [(u64, u64)]) -> Self {
        Pieces {
            file,
            map: map.iter(),
            at: 0,
            left: 0,
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            while self.left == 0 {
                // The map was checked to be as long as the data.
                (self.at, self.left) = *self.map.next().ok_or(Errno::IO)?;
            }
            let take = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let written = match rustix::io::pwrite(self.file, &bytes[..take], self.at) {
                Ok(0) => return Err(Errno::IO),
                Err(Errno::INTR) => continue,
                other => other?,
            };
            self.at += written as u64;
            self.left -= written as u64;
            bytes = &bytes[written..];
        }
        Ok(())
    }
}
