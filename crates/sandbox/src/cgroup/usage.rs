//! What a pod or an app uses, as its cgroups account for it.

use std::path::{Path, PathBuf};

use super::MOUNT;

/// What the processes of a cgroup use; `None` is what this host does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, in nanoseconds.
    pub cpu: Option<u64>,
    /// Bytes of memory, caches of files included.
    pub memory: Option<u64>,
    /// Bytes of memory that it may use.
    pub memory_limit: Option<u64>,
    /// Bytes read from disks.
    pub read: Option<u64>,
    /// Bytes written to disks.
    pub written: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// Nanoseconds in which a process of it waited for processor time, for memory, and for a disk
    /// (the kernel's pressure stall information; version 2 only).
    pub stalled: [Option<u64>; 3],
}

/// A limit above this is none: version 1 rounds "unlimited" down to a page.
const UNLIMITED: u64 = i64::MAX as u64 & !0xffff;

/// What a pod uses, or one app of it; `directories` are those that [`super::Location::directories`]
/// gave when the pod was started. Of a pod that ended nothing is left to see.
pub fn usage(directories: &[PathBuf], app: Option<&str>) -> Usage {
    let mut usage = Usage::default();
    for directory in directories {
        let mut below = directory.strip_prefix(MOUNT).unwrap_or(directory).iter();
        let hierarchy = below.next().unwrap_or_default().to_string_lossy();
        let place = app.map_or_else(|| directory.clone(), |app| directory.join(app));
        match place.join("cgroup.controllers").exists() {
            true => usage = of_unified(&place),
            false => {
                for controller in hierarchy.split(',') {
                    add(&mut usage, controller, &place);
                }
            }
        }
    }
    usage
}

/// Version 2: everything in one directory.
fn of_unified(place: &Path) -> Usage {
    let io = |key| {
        let text = read(place, "io.stat")?;
        let words = text.split_whitespace();
        Some(words.filter_map(|w| value_of(w, key)).sum())
    };
    let cpu = read(place, "cpu.stat").and_then(|text| field(&text, "usage_usec"));
    Usage {
        cpu: cpu.map(|micros| micros * 1000),
        memory: number(place, "memory.current"),
        memory_limit: number(place, "memory.max"),
        read: io("rbytes="),
        written: io("wbytes="),
        tasks: number(place, "pids.current"),
        stalled: ["cpu", "memory", "io"].map(|what| stalled(place, what)),
    }
}

/// The sum of a pressure file's line about some processes, which is in microseconds.
fn stalled(place: &Path, what: &str) -> Option<u64> {
    let text = read(place, &format!("{what}.pressure"))?;
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let total = line.split_whitespace().find_map(|w| value_of(w, "total="));
    total.map(|micros| micros * 1000)
}

/// Version 1: what one controller knows.
fn add(usage: &mut Usage, controller: &str, place: &Path) {
    match controller {
        "cpuacct" => usage.cpu = number(place, "cpuacct.usage"),
        "memory" => {
            usage.memory = number(place, "memory.usage_in_bytes");
            usage.memory_limit = number(place, "memory.limit_in_bytes").filter(|n| *n < UNLIMITED);
        }
        "pids" => {
            usage.tasks = number(place, "pids.current");
            // Pods join no hierarchy for disks unless they are limited: their processes are asked.
            (usage.read, usage.written) = of_processes(place);
        }
        _ => {}
    }
}

/// Bytes read and written by the processes of a cgroup and of those below it, and by the children
/// that they have waited for.
fn of_processes(place: &Path) -> (Option<u64>, Option<u64>) {
    let (mut bytes_read, mut written) = (None, None);
    let mut waiting = vec![place.to_owned()];
    while let Some(place) = waiting.pop() {
        for pid in read(&place, "cgroup.procs").unwrap_or_default().lines() {
            let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/io")) else {
                continue;
            };
            let count = |total: &mut Option<u64>, key| {
                *total = Some(total.unwrap_or(0) + field(&text, key).unwrap_or(0));
            };
            count(&mut bytes_read, "read_bytes:");
            count(&mut written, "write_bytes:");
        }
        let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
        let directories = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
        waiting.extend(directories.map(|e| e.path()));
    }
    (bytes_read, written)
}

fn read(place: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(place.join(file)).ok()
}

fn number(place: &Path, file: &str) -> Option<u64> {
    read(place, file)?.trim().parse().ok()
}

/// The number after a key, in a text of lines with a key and a number.
fn field(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().parse().ok()
}

fn value_of(word: &str, key: &str) -> Option<u64> {
    word.strip_prefix(key)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_is_read_from_its_files() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("cgroup.controllers", ""),
            ("cpu.stat", "usage_usec 1500\nuser_usec 1000\n"),
            ("memory.current", "4096\n"),
            ("memory.max", "max\n"),
            ("pids.current", "3\n"),
            (
                "cpu.pressure",
                "some avg10=1.53 avg60=1.20 avg300=0.44 total=2000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
            ),
            (
                "io.stat",
                "254:0 rbytes=10 wbytes=1 rios=1\n254:16 rbytes=5 wbytes=2\n",
            ),
        ] {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        let found = usage(&[dir.path().to_owned()], None);
        assert_eq!(
            found,
            Usage {
                cpu: Some(1_500_000),
                memory: Some(4096),
                memory_limit: None,
                read: Some(15),
                written: Some(3),
                tasks: Some(3),
                stalled: [Some(2_000_000), None, None],
            }
        );
    }
}
