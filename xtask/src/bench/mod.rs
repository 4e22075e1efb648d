//! `cargo xtask bench`: rkt beside its peers and beside the floor, in the same run.

mod bulk;
mod fetch;
mod idle;
mod life;
mod measure;
mod net;
pub(crate) mod peers;
mod podman_net;
mod registry;
mod report;
mod seccomp;
mod start;
mod through;

use std::path::PathBuf;

use crate::{Result, build, setup};
use report::Table;

/// The programs that are measured, as they are released.
#[derive(Debug)]
pub(crate) struct Programs {
    rkt: PathBuf,
    floor: PathBuf,
    probe: PathBuf,
}

type Bench = fn(&Programs, &mut Table) -> Result<()>;

const BENCHES: &[(&str, Bench)] = &[
    ("start", start::run),
    ("seccomp", seccomp::run),
    ("idle", idle::run),
    ("fetch", fetch::run),
    ("registry", registry::run),
    ("net", net::run),
    ("log", life::log),
    ("apps", life::apps),
    ("many-apps", life::many_apps),
    ("many-pods", life::many_pods),
    ("wait", life::wait),
    ("list", bulk::list),
    ("gc", bulk::gc),
];

/// Runs the benches of these names, or all, and says which targets were reached.
pub(crate) fn run(what: &[&str]) -> Result<()> {
    if let Some(unknown) = what
        .iter()
        .find(|name| BENCHES.iter().all(|(known, _)| known != *name))
    {
        let known: Vec<_> = BENCHES.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "bench: unknown {unknown:?}; there are {}",
            known.join(", ")
        ));
    }
    setup::run(&["bench"])?;
    let dir = build::release(&["rkt", "floor", "probe"])?;
    let programs = Programs {
        rkt: dir.join("rkt"),
        floor: dir.join("floor"),
        probe: dir.join("probe"),
    };
    let mut table = Table::default();
    for (name, bench) in BENCHES
        .iter()
        .filter(|(name, _)| what.is_empty() || what.contains(name))
    {
        settle();
        println!("== {name}");
        bench(&programs, &mut table)?;
    }
    table.print();
    Ok(())
}

/// Waits until what was done before costs nothing any more: ext4 without a journal, when it makes a
/// file, passes by each inode that was deleted within the last minute (or five, while that is not on
/// the disk), one by one.
fn settle() {
    let Ok(file_systems) = std::fs::read_dir("/proc/fs/ext4") else {
        return;
    };
    let journals: Vec<_> = std::fs::read_dir("/proc/fs/jbd2")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let has_journal = |name: &str| journals.iter().any(|journal| journal.starts_with(name));
    let mut names = file_systems.flatten().map(|entry| entry.file_name());
    if names.any(|name| !has_journal(&name.to_string_lossy())) {
        rustix::fs::sync();
        std::thread::sleep(std::time::Duration::from_secs(65));
    }
}
