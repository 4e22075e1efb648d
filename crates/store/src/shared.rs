//! Files in directories that others write too: members of the group that shares a store may have
//! put a link, a pipe or somebody else's file there (page "rkt configuration" of the data directory:
//! `dist/scripts/setup-data-dir.sh`). Nothing is followed, and nobody waits for a pipe.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags};

use crate::layout::file_mode;
use crate::lock::is_at;
use crate::{Error, Result};

/// How often something else is taken out of the way.
const ATTEMPTS: usize = 16;

fn options() -> OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.custom_flags(flags.bits().cast_signed());
    options
}

fn regular(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file")),
    }
}

/// Opens a regular file to read it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    regular(options().read(true).open(path)?)
}

/// Opens a regular file to change its times.
pub(crate) fn open_to_write(path: &Path) -> io::Result<File> {
    regular(options().write(true).open(path)?)
}

/// Reads a regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let expected = usize::try_from(file.metadata()?.len()).unwrap_or(limit);
    let mut bytes = Vec::with_capacity(expected.min(limit) + 1);
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > limit {
        false => Ok(bytes),
        true => Err(io::Error::other(format!("more than {limit} bytes"))),
    }
}

/// Opens the file that something is downloaded into, and waits until nobody else does that; what is
/// in it stays. Links, pipes and files that have another name as well are taken out of the way:
/// whatever they lead to is not for us to write.
///
/// # Errors
/// The file system refuses.
pub fn open_download(path: &Path) -> Result<File> {
    for _ in 0..ATTEMPTS {
        let opened = options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path);
        let file = match opened {
            // A link.
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                take_away(path)?;
                continue;
            }
            other => other.map_err(Error::io("open", path))?,
        };
        let own = |file: &File| file.metadata().is_ok_and(|m| m.is_file() && m.nlink() <= 1);
        if !own(&file) {
            take_away(path)?;
            continue;
        }
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))
            .map_err(Error::io("lock", path))?;
        if is_at(&file, path) && own(&file) {
            // Whoever shares the store may go on with it; it is not ours if another made it.
            let mode = fs::Permissions::from_mode(file_mode(path.parent()));
            let _ = file.set_permissions(mode);
            return Ok(file);
        }
    }
    let busy = io::Error::other("somebody puts other things in its place all the time");
    Err(Error::io("open", path)(busy))
}

fn take_away(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_leads_elsewhere_is_taken_out_of_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("victim"), "precious").unwrap();
        symlink(at("victim"), at("link")).unwrap();
        fs::hard_link(at("victim"), at("twin")).unwrap();
        let pipe = at("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        for name in ["link", "twin", "pipe", "new"] {
            let mut file = open_download(&at(name)).unwrap();
            file.write_all(b"downloaded").unwrap();
            assert_eq!(read(&at(name), 100).unwrap(), b"downloaded", "{name}");
        }
        assert_eq!(fs::read(at("victim")).unwrap(), b"precious");
        assert_eq!(fs::metadata(at("victim")).unwrap().nlink(), 1);
    }

    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        symlink("/etc/passwd", &link).unwrap();
        open(&link).unwrap_err();
        open_to_write(&link).unwrap_err();
        open(dir.path()).unwrap_err();
        let file = dir.path().join("file");
        fs::write(&file, "four").unwrap();
        assert_eq!(read(&file, 4).unwrap(), b"four");
        read(&file, 3).unwrap_err();
    }
}
