//! What a machine has in mounts, interfaces, rules, groups and files: compared before and
//! after the tests, so that nothing stays behind unseen.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Everything there is, a line each.
#[derive(Debug)]
pub(crate) struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Takes it.
    pub(crate) fn take() -> Self {
        let mut lines = BTreeSet::new();
        lines.extend(mounts());
        lines.extend(names("/sys/class/net").map(|name| format!("interface {name}")));
        lines.extend(rules());
        groups(Path::new("/sys/fs/cgroup"), 0, &mut lines);
        // Of networks, the directories with their locks and last addresses stay, as with the
        // reference plugins; leases and results must not.
        for dir in [
            "/var/tmp",
            "/run",
            "/run/netns",
            "/var/lib/cni/results",
            "/var/lib/rkt",
        ] {
            lines.extend(names(dir).map(|name| format!("file {dir}/{name}")));
        }
        // Here others have files too: only what bears our name.
        let ours = names("/tmp").filter(|name| name.contains("rkt") || name.contains("floor"));
        lines.extend(ours.map(|name| format!("file /tmp/{name}")));
        lines.extend(leases());
        lines.extend(orphans());
        Self(lines)
    }

    /// What is there now and was not then. Waits a little for it to go: the kernel removes
    /// the interfaces of a dead network namespace when it finds the time.
    pub(crate) fn added(&self) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let now = Self::take();
            let added: Vec<String> = now.0.difference(&self.0).cloned().collect();
            if added.is_empty() || Instant::now() > end {
                return added;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn names(dir: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| format!("mount {point}"))
        .collect()
}

/// Tables, chains and rules without their counters' values.
fn rules() -> Vec<String> {
    let Ok(output) = Command::new("nft")
        .args(["--stateless", "list", "ruleset"])
        .output()
    else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .map(str::trim)
        .filter(|line| line.len() > 1)
        .map(|line| format!("nft {line}"))
        .collect()
}

fn groups(dir: &Path, depth: usize, lines: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if depth < 8 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            lines.insert(format!("cgroup {}", entry.path().display()));
            groups(&entry.path(), depth + 1, lines);
        }
    }
}

/// Addresses given out; the directories and the `last_reserved_ip` notes may stay.
fn leases() -> Vec<String> {
    let base = "/var/lib/cni/networks";
    let mut held = Vec::new();
    for network in names(base) {
        let dir = format!("{base}/{network}");
        for file in names(&dir) {
            if file.starts_with(|first: char| first.is_ascii_hexdigit()) {
                held.push(format!("lease {network}/{file}"));
            }
        }
    }
    held
}

/// Processes that lost their parent and fell to this program: see [`adopt_orphans`].
fn orphans() -> Vec<String> {
    let me = std::process::id().to_string();
    let mut found = Vec::new();
    for pid in names("/proc").filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((before, after)) = stat.rsplit_once(") ") else {
            continue;
        };
        let fields: Vec<_> = after.split(' ').collect();
        // A zombie has ended; nobody waits for it here, that is all.
        if fields.get(1) == Some(&me.as_str()) && fields.first() != Some(&"Z") {
            found.push(format!(
                "process {pid} {}",
                before.rsplit('(').next().unwrap_or_default()
            ));
        }
    }
    found
}

/// From now on a descendant whose parent has gone becomes a child of this program.
pub(crate) fn adopt_orphans() -> Result<(), String> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| format!("cannot become the reaper of orphans: {e}"))
}
