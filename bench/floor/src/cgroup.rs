//! Joining control groups, in both ways there are.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A new group below each of these; the name is the process's id, so runs do not meet.
pub(crate) fn make(parents: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let name = format!("floor-{}", std::process::id());
    parents
        .iter()
        .map(|parent| {
            let group = parent.join(&name);
            fs::create_dir(&group)?;
            if parent.ends_with("cpuset") {
                // Empty sets refuse every process.
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    fs::write(group.join(file), fs::read(parent.join(file))?)?;
                }
            }
            Ok(group)
        })
        .collect()
}

/// Writes a process into the groups.
pub(crate) fn join(groups: &[PathBuf], pid: i32) -> io::Result<()> {
    groups
        .iter()
        .try_for_each(|group| fs::write(group.join("cgroup.procs"), pid.to_string()))
}

/// Opens a v2 group for `CLONE_INTO_CGROUP`.
pub(crate) fn open(group: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(group)
}

/// Removes the groups; the last process has gone by now.
pub(crate) fn remove(groups: &[PathBuf]) {
    for group in groups {
        let _ = fs::remove_dir(group);
    }
}
