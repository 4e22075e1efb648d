//! What an idle pod costs: memory and time.

use std::fs;

use e2e::{Rkt, fixtures};

use super::Programs;
use super::report::Table;
use crate::Result;

const IDLE: std::time::Duration = std::time::Duration::from_secs(2);
const LIMIT_KIB: f64 = 1024.0;

/// One pod with one sleeping app: PSS of every process but the app.
pub(crate) fn run(programs: &Programs, table: &mut Table) -> Result<()> {
    let rkt = Rkt::of(programs.rkt.clone());
    let image = rkt.fetch(&fixtures::probe_with(&programs.probe));
    let (pod, uuid) = rkt.start_pod(&[&image, "--exec=/probe", "--", "sleep"]);
    // An idle pod is one in which nothing has happened for a while.
    std::thread::sleep(IDLE);
    let mut sum = 0.0;
    for (pid, name) in tree(pod.pid()) {
        let pss = pss_kib(pid)?;
        let app = name == "probe";
        println!(
            "{pid:>8} {name:<16} {pss:>8.0} KiB{}",
            if app { "  (the app, not counted)" } else { "" }
        );
        if !app {
            sum += pss;
        }
    }
    rkt.ok(&["stop", &uuid]);
    pod.finish();
    table.at_most("resident memory of an idle pod", sum, LIMIT_KIB, "KiB");
    Ok(())
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
