//! Copies of directories, with everything that an image can hold.

use std::io::{BufReader, Write};
use std::path::Path;

use crate::extract::Extractor;
use crate::oci::write_plain;
use crate::tar::Archive;
use crate::tar::write::append_tree;
use crate::tree::open_root;
use crate::{Error, Limits, Result};

/// Copies what is in a directory, and the directory's own owner, mode and attributes, into one that
/// is there and empty. `owner` turns a user or group id into the one that the copy gets. Nobody
/// changes either meanwhile.
///
/// # Errors
/// A file that cannot be read or written.
pub fn copy_tree(from: &Path, to: &Path, owner: &(dyn Fn(u32) -> u32 + Sync)) -> Result<()> {
    let root = open_root(to)?;
    let (reader, writer) = std::io::pipe().map_err(Error::io("copy", from))?;
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut tar = tar::Builder::new(writer);
            append_tree(&mut tar, from, Path::new("."), owner)
                .and_then(|()| tar.into_inner()?.flush())
        });
        let limits = Limits::none();
        let mut archive =
            Archive::without_mark(BufReader::with_capacity(64 << 10, reader), &limits);
        let mut extractor = Extractor::new(root, &limits);
        let written = write_plain(&mut archive, &mut extractor).and_then(|()| extractor.finish());
        // Where writing failed, reading ends with a broken pipe: that is not the cause.
        drop(archive);
        match (written, reading.join()) {
            (Ok(_), Ok(read)) => read.map_err(Error::io("copy", from)),
            (Err(error), _) => Err(error),
            (Ok(_), Err(panic)) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_copy_has_everything() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("sub/.wh.odd")).unwrap();
        fs::write(from.join("sub/file"), "text").unwrap();
        fs::hard_link(from.join("sub/file"), from.join("twin")).unwrap();
        symlink("/nowhere", from.join("link")).unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o1750)).unwrap();
        fs::create_dir(&to).unwrap();
        copy_tree(&from, &to, &|id| id).unwrap();
        assert_eq!(fs::read_to_string(to.join("twin")).unwrap(), "text");
        let inode = |name: &str| fs::metadata(to.join(name)).unwrap().ino();
        assert_eq!(inode("twin"), inode("sub/file"));
        assert_eq!(
            fs::read_link(to.join("link")).unwrap(),
            Path::new("/nowhere")
        );
        assert!(to.join("sub/.wh.odd").is_dir());
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o1750);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_the_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = copy_tree(dir.path(), &dir.path().join("none"), &|id| id).unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
    }
}
