//! What an engine can leave behind on a machine, looked for by its data directory and the
//! ids of its pods, so that tests may run beside each other.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};

/// Where the built-in networks keep their leases, one file an address.
const LEASES: &str = "/var/lib/cni/networks";

/// Everything found that belongs to `data` or to one of the pods, a line each.
pub(crate) fn of(data: &Path, pods: &[String]) -> Vec<String> {
    let mut found: Vec<String> = mounts_below(data)
        .into_iter()
        // A disk that the test itself has put there.
        .filter(|mount| mount != data)
        .map(|mount| format!("mount {}", mount.display()))
        .collect();
    found.extend(
        processes(data)
            .into_iter()
            .map(|(pid, name)| format!("process {pid} ({name})")),
    );
    for pod in pods {
        found.extend(
            leases(pod)
                .into_iter()
                .map(|file| format!("lease {}", file.display())),
        );
        found.extend(
            cgroups(pod)
                .into_iter()
                .map(|dir| format!("cgroup {}", dir.display())),
        );
    }
    found
}

/// Mount points at and below a directory in this mount namespace, deepest first.
fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from);
    let mut points: Vec<_> = points.filter(|point| point.starts_with(dir)).collect();
    points.reverse();
    points
}

/// Detaches whatever is still mounted at or below a directory.
pub(crate) fn unmount_below(dir: &Path) {
    for point in mounts_below(dir) {
        let _ = unmount(&point, UnmountFlags::DETACH);
    }
}

/// Processes of the directory's pods: those that run from it or stand in it, and those
/// whose own mounts are made of a pod's directory there. That the directory itself is
/// among a process's mounts says nothing: the whole machine may see a disk mounted there.
pub(crate) fn processes(data: &Path) -> Vec<(u32, String)> {
    let me = std::process::id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let dir = entry.path();
        let links = ["exe", "root", "cwd"]
            .into_iter()
            .filter_map(|link| fs::read_link(dir.join(link)).ok());
        let inside = links.into_iter().any(|target| target.starts_with(data));
        if pid != me && (inside || made_of(&dir, data)) {
            let name = fs::read_to_string(dir.join("comm")).unwrap_or_default();
            found.push((pid, name.trim().to_owned()));
        }
    }
    found
}

/// Whether a process in a mount namespace of its own has a mount made of a data directory:
/// an overlay of its trees, or a bind of something in its pods.
fn made_of(process: &Path, data: &Path) -> bool {
    let namespace = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
    if namespace(process) == namespace(Path::new("/proc/self")) {
        return false;
    }
    let table = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
    let trees = format!("lowerdir={}/", data.display());
    let pods = data.join("pods");
    table.lines().any(|line| {
        let root = line.split(' ').nth(3).unwrap_or_default();
        line.contains(&trees) || Path::new(root).starts_with(&pods)
    })
}

/// Address leases of a pod, in all networks.
fn leases(pod: &str) -> Vec<PathBuf> {
    let networks = fs::read_dir(LEASES).into_iter().flatten().flatten();
    let files =
        networks.flat_map(|network| fs::read_dir(network.path()).into_iter().flatten().flatten());
    let held = files
        .map(|file| file.path())
        .filter(|file| fs::read_to_string(file).is_ok_and(|text| text.contains(pod)));
    held.collect()
}

/// Control groups, in any hierarchy, whose name contains a pod's id.
fn cgroups(pod: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((dir, depth)) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy().contains(pod) {
                found.push(entry.path());
            } else if depth < 6 {
                dirs.push((entry.path(), depth + 1));
            }
        }
    }
    found
}
