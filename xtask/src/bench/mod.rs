//! `cargo xtask bench`: rkt beside its peers and beside the floor, in the same run.

mod bulk;
mod containerd;
mod fetch;
mod idle;
mod journald;
mod life;
mod measure;
mod net;
pub(crate) mod peers;
mod podman_net;
mod registry;
mod report;
mod seccomp;
mod signature;
mod start;
mod through;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, build, setup};
use report::Table;

/// The programs that are measured, as they are released.
#[derive(Debug)]
pub(crate) struct Programs {
    rkt: PathBuf,
    floor: PathBuf,
    probe: PathBuf,
}

impl Programs {
    /// Builds them and copies them, as packages do. The linker writes a program's file page by page,
    /// and the page cache keeps it so; of a file that was written in one go it keeps runs of pages,
    /// which the kernel maps and unmaps at once: a tenth of a start's processor time.
    fn installed() -> Result<Self> {
        let built = build::release(&["rkt", "floor", "probe"])?;
        let install = |name: &str| {
            let (from, to) = (built.join(name), Path::new("/var/tmp").join(name));
            match std::fs::copy(&from, &to) {
                Ok(_) => Ok(to),
                Err(e) => Err(format!("cannot install {}: {e}", from.display())),
            }
        };
        Ok(Self {
            rkt: install("rkt")?,
            floor: install("floor")?,
            probe: install("probe")?,
        })
    }
}

type Bench = fn(&Programs, &mut Table) -> Result<()>;

const BENCHES: &[(&str, Bench)] = &[
    ("start", start::run),
    ("seccomp", seccomp::run),
    ("idle", idle::run),
    ("fetch", fetch::run),
    ("registry", registry::run),
    ("signature", signature::run),
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
    if std::env::var_os(FRESH_DISK).is_none() {
        return on_fresh_disk(what);
    }
    let programs = Programs::installed()?;
    let mut table = Table::default();
    for (name, bench) in BENCHES
        .iter()
        .filter(|(name, _)| what.is_empty() || what.contains(name))
    {
        println!("== {name}");
        bench(&programs, &mut table)?;
    }
    table.print();
    Ok(())
}

/// Set where [`on_fresh_disk`] was.
const FRESH_DISK: &str = "RKT_BENCH_ON_FRESH_DISK";

/// A new ext4, with a journal as users' have, over `/var/tmp`, where everything that is measured
/// has its files. The machine's own may remember what was deleted a minute ago: without a journal
/// ext4 passes by each such inode whenever it makes a file, and a start takes twice as long.
const SCRIPT: &str = r#"set -e
image=$(mktemp /var/tmp/rkt-bench.XXXXXX)
truncate --size=30G "$image"
mkfs.ext4 -q -i 32768 -E lazy_itable_init=0,lazy_journal_init=0 "$image"
device=$(losetup --find --show "$image")
rm "$image"
mount "$device" /var/tmp
chmod 1777 /var/tmp
losetup --detach "$device"
exec "$0" bench "$@""#;

/// Runs the benches in a mount namespace with a disk of their own, which goes with it.
fn on_fresh_disk(what: &[&str]) -> Result<()> {
    let own = std::env::current_exe().map_err(|e| format!("cannot find myself: {e}"))?;
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c", SCRIPT])
        .arg(own)
        .args(what)
        .env(FRESH_DISK, "1")
        .status()
        .map_err(|e| format!("cannot execute unshare: {e}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("bench: {status}")),
    }
}
