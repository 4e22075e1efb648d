//! What an idle pod costs: memory and time.

use std::fs;

use e2e::{Rkt, fixtures};

use super::Programs;
use super::report::Table;
use crate::Result;

pub(super) const IDLE: std::time::Duration = std::time::Duration::from_secs(2);
const LIMIT_KIB: f64 = 1024.0;

/// One pod with one sleeping app: PSS of every process but the app.
pub(crate) fn run(programs: &Programs, table: &mut Table) -> Result<()> {
    let rkt = Rkt::of(programs.rkt.clone());
    let image = rkt.fetch(&fixtures::probe_with(&programs.probe));
    let (pod, uuid) = rkt.start_pod(&[&image, "--exec=/probe", "--", "sleep"]);
    // An idle pod is one in which nothing has happened for a while.
    std::thread::sleep(IDLE);
    let (sum, processes) = footprint(pod.pid())?;
    for (name, pss) in processes {
        println!("{name:<16} {pss:>8.0} KiB");
    }
    rkt.ok(&["stop", &uuid]);
    pod.finish();
    table.at_most("resident memory of an idle pod", sum, LIMIT_KIB, "KiB");
    Ok(())
}

/// Memory of a pod's processes but its apps, in KiB: together, and one by one.
pub(super) fn footprint(main: u32) -> Result<(f64, Vec<(String, f64)>)> {
    let mut processes = Vec::new();
    for (pid, name) in tree(main) {
        if name != "probe" {
            processes.push((name, pss_kib(pid)?));
        }
    }
    Ok((processes.iter().map(|(_, pss)| pss).sum(), processes))
}

/// A process and all its descendants.
fn tree(root: u32) -> Vec<(u32, String)> {
    let mut found = vec![(root, name(root))];
    let mut next = 0;
    while let Some((pid, _)) = found.get(next).cloned() {
        for task in fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|word| word.parse().ok())
                    .map(|pid| (pid, name(pid))),
            );
        }
        next += 1;
    }
    found
}

fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn pss_kib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let value = line
        .and_then(|rest| rest.trim().split(' ').next())
        .and_then(|word| word.parse().ok());
    value.ok_or_else(|| format!("{path}: no Pss"))
}
