//! Whether a data directory can hold overlays (page "rkt prepare").

use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, openat, statfs};

const AUFS: i64 = 0x6175_6673;
const ZFS: i64 = 0x2FC1_2FC1;

/// Says why the file system of `data_dir` cannot hold overlays.
///
/// # Errors
/// The reason, as the original worded it.
pub fn overlay_supported(data_dir: &Path) -> Result<(), String> {
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.ends_with("\toverlay")) {
        return Err("overlay entry not present in /proc/filesystems".into());
    }
    let stat = statfs(data_dir)
        .map_err(|e| format!("cannot statfs {:?}: {}", data_dir, std::io::Error::from(e)))?;
    match stat.f_type as i64 {
        AUFS => return Err("unsupported filesystem: aufs".into()),
        ZFS => return Err("unsupported filesystem: zfs".into()),
        _ => {}
    }
    match has_types(data_dir) {
        Some(false) => Err("unsupported filesystem: missing d_type support".into()),
        _ => Ok(()),
    }
}

/// Whether directory entries carry their type; `None` if there is no entry to see it by.
fn has_types(dir: &Path) -> Option<bool> {
    let fd = openat(
        CWD,
        dir,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .ok()?;
    let mut space = Vec::with_capacity(4096);
    let mut entries = rustix::fs::RawDir::new(fd, space.spare_capacity_mut());
    let entry = entries.next()?.ok()?;
    Some(entry.file_type() != FileType::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_directory_can() {
        assert_eq!(overlay_supported(Path::new("/var/tmp")), Ok(()));
        assert!(overlay_supported(Path::new("/nowhere")).is_err());
    }
}
