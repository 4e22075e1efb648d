//! Removing trees that anybody may have made: any depth, any modes, no path is followed.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

/// Levels that are removed where they are; each holds two descriptors open.
const LEVELS: usize = 64;

/// Removes a directory with all it holds; fine if it is not there.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match clear_tree(path) {
        Ok(()) => match fs::remove_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// Removes all that a directory holds.
pub(crate) fn clear_tree(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
            rustix::fs::open(path, flags, Mode::empty())?
        }
        other => other?,
    };
    clear(&root)
}

/// Removes an entry of a directory, and what is below it.
pub(crate) fn remove_at(directory: impl rustix::fd::AsFd, name: &[u8]) -> io::Result<()> {
    match unlinkat(&directory, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(e.into()),
    }
    let inner = open_directory(&directory, name)?;
    clear(&inner)?;
    drop(inner);
    unlinkat(&directory, name, AtFlags::REMOVEDIR)?;
    Ok(())
}

fn clear(root: &rustix::fd::OwnedFd) -> io::Result<()> {
    let mut moved = 0;
    loop {
        let before = moved;
        clear_level(root, root, 0, &mut moved)?;
        if moved == before {
            return Ok(());
        }
    }
}

/// Empties one directory. What lies too deep is moved up to the root, which is then read again,
/// so that depth costs neither stack nor descriptors.
fn clear_level(
    root: &rustix::fd::OwnedFd,
    directory: &rustix::fd::OwnedFd,
    level: usize,
    moved: &mut u64,
) -> io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if !matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
            unlink(directory, name)?;
            continue;
        }
        match unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::NOTDIR) => {
                unlink(directory, name)?;
                continue;
            }
            Err(_) => {}
        }
        if level >= LEVELS {
            move_up(root, directory, name, moved)?;
            continue;
        }
        let inner = open_directory(directory, name)?;
        clear_level(root, &inner, level + 1, moved)?;
        drop(inner);
        unlinkat(directory, name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Moves a directory to the root, under a name that nothing there has.
fn move_up(
    root: &rustix::fd::OwnedFd,
    directory: &rustix::fd::OwnedFd,
    name: &[u8],
    moved: &mut u64,
) -> io::Result<()> {
    loop {
        let up = format!(".removing-{moved}");
        *moved += 1;
        match renameat(directory, name, root, up.as_str()) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            other => return Ok(other?),
        }
    }
}

fn unlink(directory: &rustix::fd::OwnedFd, name: &[u8]) -> io::Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Opens a directory to empty it; its owner may have closed it to itself.
fn open_directory(parent: impl rustix::fd::AsFd, name: &[u8]) -> io::Result<rustix::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = match openat(&parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(&parent, name, Mode::RWXU, AtFlags::empty())?;
            openat(&parent, name, flags, Mode::empty())?
        }
        other => other?,
    };
    if !rustix::process::geteuid().is_root() {
        // Without write permission nothing can be taken out of it.
        let _ = rustix::fs::fchmod(&inner, Mode::RWXU);
    }
    Ok(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_very_deep_tree_goes_away() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().join("top");
        fs::create_dir(&top).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = rustix::fs::open(&top, flags, Mode::empty()).unwrap();
        for _ in 0..1500 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            rustix::fs::symlinkat("/etc", &at, "link").unwrap();
            at = openat(&at, "d", flags, Mode::empty()).unwrap();
        }
        drop(at);
        remove_tree(&top).unwrap();
        assert!(!top.exists());
        remove_tree(&top).unwrap();
    }
}
