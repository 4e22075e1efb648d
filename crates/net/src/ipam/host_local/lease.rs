//! Leases as files, in the format of CNI's reference plugin, so that both can serve one network:
//! in `<state>/<network>/` a file for each address in use, holding the container's id, a line
//! break and the interface; `last_reserved_ip.<set>`; and `lock`, held by `flock` for changes.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::inspect::AddressInUse;

/// The reference plugin's line break.
const LINE_BREAK: &str = "\r\n";

/// Bytes of a lease that are read: an id and an interface.
const MOST_BYTES: u64 = 4096;

/// The directory of a network's leases, locked.
#[derive(Debug)]
pub(crate) struct Leases {
    directory: PathBuf,
    _lock: File,
}

impl Leases {
    /// Locks a network's leases, making the directory if need be.
    pub(crate) fn lock(directory: &Path) -> Result<Self> {
        let path = directory.join("lock");
        let open = || {
            File::options()
                .read(true)
                .append(true)
                .create(true)
                .open(&path)
        };
        let lock = match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(directory).map_err(Error::io("make directory", directory))?;
                open()
            }
            opened => opened,
        };
        let lock = lock.map_err(Error::io("open", &path))?;
        loop {
            match flock(&lock, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                locked => break locked.map_err(Error::os("lock", &path))?,
            }
        }
        Ok(Self {
            directory: directory.to_owned(),
            _lock: lock,
        })
    }

    /// The address given out last, if that is known.
    pub(crate) fn last(&self, set: usize) -> Option<IpAddr> {
        let text = read(&self.last_path(set)).ok()??;
        text.trim().parse().ok()
    }

    fn last_path(&self, set: usize) -> PathBuf {
        self.directory.join(format!("last_reserved_ip.{set}"))
    }

    /// Takes the first free address of `candidates`; `None` if none is free.
    pub(crate) fn take<T>(
        &self,
        candidates: impl Iterator<Item = (IpAddr, T)>,
        container: &str,
        interface: &str,
    ) -> Result<Option<(IpAddr, T)>> {
        /// From here on it is cheaper to read the whole directory once.
        const SINGLY: usize = 32;
        let text = format!("{container}{LINE_BREAK}{interface}");
        let mut used = None;
        for (tried, (addr, rest)) in candidates.enumerate() {
            if tried == SINGLY {
                used = Some(self.used()?);
            }
            if used.as_ref().is_some_and(|used| used.contains(&addr)) {
                continue;
            }
            let path = self.directory.join(addr.to_string());
            let file = match File::options().write(true).create_new(true).open(&path) {
                // Who is killed between making and writing, under the lock, leaves it empty.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if !fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() == 0) {
                        continue;
                    }
                    File::options().write(true).open(&path)
                }
                made => made,
            };
            let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|error| {
                let _ = fs::remove_file(&path);
                Error::io("write", &path)(error)
            })?;
            return Ok(Some((addr, rest)));
        }
        Ok(None)
    }

    fn used(&self) -> Result<std::collections::HashSet<IpAddr>> {
        let entries = fs::read_dir(&self.directory).map_err(Error::io("read", &self.directory))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    /// Notes which address was given out last. To lose this is harmless. It is written over the
    /// old one: file systems write out at once what is truncated first, and that takes longer
    /// than all the rest.
    pub(crate) fn remember(&self, set: usize, addr: IpAddr) -> Result<()> {
        let path = self.last_path(set);
        let text = addr.to_string();
        let write = || {
            let mut options = File::options();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            let longer = file.metadata()?.len() > text.len() as u64;
            file.write_all(text.as_bytes())?;
            if longer {
                file.set_len(text.len() as u64)
            } else {
                Ok(())
            }
        };
        write().map_err(Error::io("write", &path))
    }
}

/// Gives one lease back if it is that container's; a missing one is no error.
pub(crate) fn release(
    directory: &Path,
    addr: IpAddr,
    container: &str,
    interface: &str,
) -> Result<()> {
    let path = directory.join(addr.to_string());
    let Some(lease) = read_lease(&path, addr)? else {
        return Ok(());
    };
    if !lease.is_of(container, interface) {
        return Ok(());
    }
    remove(directory, addr)
}

/// Removes a lease; a missing one is no error.
pub(crate) fn remove(directory: &Path, addr: IpAddr) -> Result<()> {
    let path = directory.join(addr.to_string());
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// All leases in a directory, without the lock: each file is complete as soon as it is there.
pub(crate) fn list(directory: &Path) -> Result<Vec<AddressInUse>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("read", directory))?,
    };
    let mut leases = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read", directory))?;
        if let Some(addr) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        {
            leases.extend(read_lease(&entry.path(), addr)?);
        }
    }
    Ok(leases)
}

fn read_lease(path: &Path, addr: IpAddr) -> Result<Option<AddressInUse>> {
    let Some(text) = read(path).map_err(Error::io("read", path))? else {
        return Ok(None);
    };
    let mut lines = text.trim().lines().map(str::trim);
    let mut line = || lines.next().unwrap_or_default().to_owned();
    Ok(Some(AddressInUse {
        addr,
        container: line(),
        interface: line(),
    }))
}

/// A small file's text; `None` if it is not there.
fn read(path: &Path) -> std::io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_files_are_the_reference_plugins() {
        let dir = TempDir::new();
        let leases = Leases::lock(&dir.path().join("net")).unwrap();
        let candidates = || ["10.0.0.2", "10.0.0.3"].iter().map(|a| (addr(a), ()));
        let take = |id: &str| {
            leases
                .take(candidates(), id, "eth0")
                .unwrap()
                .map(|(a, ())| a)
        };
        assert_eq!(take("a"), Some(addr("10.0.0.2")));
        assert_eq!(take("b"), Some(addr("10.0.0.3")));
        assert_eq!(take("c"), None);
        let net = dir.path().join("net");
        assert_eq!(fs::read(net.join("10.0.0.2")).unwrap(), b"a\r\neth0");
        leases.remember(0, addr("10.0.0.3")).unwrap();
        assert_eq!(
            fs::read(net.join("last_reserved_ip.0")).unwrap(),
            b"10.0.0.3"
        );
        assert_eq!(leases.last(0), Some(addr("10.0.0.3")));
        release(&net, addr("10.0.0.2"), "other", "eth0").unwrap();
        release(&net, addr("10.0.0.2"), "a", "eth1").unwrap();
        assert_eq!(list(&net).unwrap().len(), 2);
        release(&net, addr("10.0.0.2"), "a", "eth0").unwrap();
        release(&net, addr("10.0.0.2"), "a", "eth0").unwrap();
        assert_eq!(list(&net).unwrap().len(), 1);
    }

    #[test]
    fn corrupt_state_is_survived() {
        let dir = TempDir::new();
        let leases = Leases::lock(dir.path()).unwrap();
        fs::write(dir.path().join("last_reserved_ip.0"), [0xff, 0, 7]).unwrap();
        assert_eq!(leases.last(0), None);
        fs::write(dir.path().join("10.0.0.2"), "").unwrap();
        fs::write(dir.path().join("10.0.0.3"), [0xff, 0xfe]).unwrap();
        fs::write(dir.path().join("rubbish"), "a\r\neth0").unwrap();
        let candidates = ["10.0.0.3", "10.0.0.2"].iter().map(|a| (addr(a), ()));
        let taken = leases.take(candidates, "a", "eth0").unwrap().unwrap();
        assert_eq!(taken.0, addr("10.0.0.2"));
        assert_eq!(fs::read(dir.path().join("10.0.0.2")).unwrap(), b"a\r\neth0");
        assert_eq!(list(dir.path()).unwrap().len(), 2);
    }
}
