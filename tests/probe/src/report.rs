//! What a process can see of itself, as one JSON object on one line.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::ExitCode;

use serde_json::{Value, json};

/// Prints the report.
pub(crate) fn print() -> ExitCode {
    let report = json!({
        "args": std::env::args().collect::<Vec<_>>(),
        "env": std::env::vars().collect::<BTreeMap<_, _>>(),
        "cwd": std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default(),
        "pid": std::process::id(),
        "hostname": text("/proc/sys/kernel/hostname").trim(),
        "namespaces": links("/proc/self/ns"),
        "fds": links("/proc/self/fd"),
        "status": status(),
        "mounts": mounts(),
        "cgroups": text("/proc/self/cgroup").lines().collect::<Vec<_>>(),
        "interfaces": interfaces(),
        "dev": devices(),
        "root": listing("/"),
        "oom_score_adj": text("/proc/self/oom_score_adj").trim(),
        "processes": processes(),
    });
    println!("{report}");
    ExitCode::SUCCESS
}

/// The process's own `/proc/self/status`.
pub(crate) fn status() -> BTreeMap<String, String> {
    fields("/proc/self/status")
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// `Name:\tvalue` lines, such as `/proc/self/status` has.
fn fields(path: &str) -> BTreeMap<String, String> {
    let pairs = text(path);
    let pairs = pairs.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect()
}

fn links(dir: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some((
            entry.file_name().into_string().ok()?,
            target.display().to_string(),
        ))
    });
    named.collect()
}

/// Mount point, options, type and super options of each mount.
fn mounts() -> Vec<Value> {
    let table = text("/proc/self/mountinfo");
    let lines = table.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let before: Vec<_> = before.split(' ').collect();
        let after: Vec<_> = after.split(' ').collect();
        Some(json!({
            "target": before.get(4)?, "options": before.get(5)?,
            "type": after.first()?, "source": after.get(1)?, "super": after.get(2)?,
        }))
    });
    lines.collect()
}

fn interfaces() -> Vec<String> {
    let table = text("/proc/self/net/dev");
    let names = table.lines().filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

/// Character and block devices below `/dev` with `type major:minor mode`.
pub(crate) fn devices() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![std::path::PathBuf::from("/dev")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(meta) = fs::symlink_metadata(entry.path()) else {
                continue;
            };
            let kind = meta.file_type();
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_char_device() || kind.is_block_device() {
                let letter = if kind.is_char_device() { 'c' } else { 'b' };
                let device = meta.rdev();
                let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
                let line = format!("{letter} {major}:{minor} {:o}", meta.mode() & 0o7777);
                found.insert(entry.path().display().to_string(), line);
            }
        }
    }
    found
}

fn listing(dir: &str) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The command names of all processes in sight.
pub(crate) fn processes() -> BTreeMap<String, String> {
    let pids = listing("/proc")
        .into_iter()
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    pids.map(|pid| {
        (
            pid.clone(),
            text(&format!("/proc/{pid}/comm")).trim().to_owned(),
        )
    })
    .collect()
}
