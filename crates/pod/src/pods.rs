//! The collection of all pods below a data directory.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use crate::error::Error;
use crate::pod::Pod;
use crate::state::Phase;

/// The directory `<data>/pods`.
#[derive(Debug)]
pub struct Pods {
    /// `None` when nothing was ever run here: an empty collection.
    root: Option<OwnedFd>,
    path: PathBuf,
}

impl Pods {
    /// Opens the pods of a data directory for reading. A directory that does not exist holds none.
    ///
    /// # Errors
    /// The directory is there and not readable.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join("pods");
        let root = match open_dir(CWD, &path) {
            Ok(fd) => Some(fd),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(Error::io("open directory", path, error)),
        };
        Ok(Self { root, path })
    }

    /// Opens the pods of a data directory and makes the directories that are missing.
    ///
    /// # Errors
    /// A directory cannot be made or opened.
    pub fn create(data_dir: &Path) -> Result<Self, Error> {
        let pods = Self::open(data_dir)?;
        if pods.root.is_some() {
            return Ok(pods);
        }
        std::fs::create_dir_all(data_dir)
            .map_err(|e| Error::io("create directory", data_dir, e))?;
        make(CWD, &pods.path)?;
        let pods = Self::open(data_dir)?;
        pods.make_phases()?;
        Ok(pods)
    }

    /// Makes the phases' directories.
    pub(crate) fn make_phases(&self) -> Result<(), Error> {
        let root = self.root()?;
        Phase::ALL
            .iter()
            .try_for_each(|phase| make(root, Path::new(phase.dir())))
    }

    /// The descriptor of `pods/`.
    pub(crate) fn root(&self) -> Result<BorrowedFd<'_>, Error> {
        use std::os::fd::AsFd;
        match &self.root {
            Some(fd) => Ok(fd.as_fd()),
            None => Err(Error::io("open directory", &self.path, Errno::NOENT)),
        }
    }

    /// Path of `pods/`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of a pod below `pods/`.
    pub(crate) fn relative(phase: Phase, uuid: &str) -> PathBuf {
        PathBuf::from(format!("{}/{uuid}", phase.dir()))
    }

    /// The names in a phase's directory, in no order. A missing directory is an empty one.
    pub(crate) fn names(&self, phase: Phase) -> Result<Vec<String>, Error> {
        let Some(root) = &self.root else {
            return Ok(Vec::new());
        };
        let failed = |e: Errno| Error::io("list", self.path.join(phase.dir()), e);
        let fd = match open_dir(root, Path::new(phase.dir())) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut entries = rustix::fs::RawDir::new(fd, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().to_str()
                && is_uuid(name)
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Every pod in the phases asked for, sorted by UUID within a phase. Pods that disappear or
    /// move meanwhile are left out or met in their next phase; the visitor gets each at most once.
    ///
    /// # Errors
    /// A directory cannot be read, or the visitor's own error.
    pub fn walk<E: From<Error>>(
        &self,
        phases: &[Phase],
        mut visit: impl FnMut(Pod) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut seen = std::collections::HashSet::new();
        for &phase in phases {
            let mut names = self.names(phase)?;
            names.sort_unstable();
            for name in names {
                if seen.contains(&name) {
                    continue;
                }
                match self.open_in(phase, &name) {
                    Ok(Some(pod)) => {
                        seen.insert(name);
                        visit(pod)?;
                    }
                    Ok(None) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

/// The form in which pods' directories are named: 36 characters, hexadecimal in groups.
pub(crate) fn is_uuid(name: &str) -> bool {
    name.len() == 36
        && name.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

pub(crate) fn open_dir(at: impl std::os::fd::AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(at, path, flags, Mode::empty())
}

fn make(at: impl std::os::fd::AsFd, path: &Path) -> Result<(), Error> {
    match mkdirat(at, path, Mode::from_raw_mode(0o750)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(Error::io("create directory", path, error)),
    }
}
