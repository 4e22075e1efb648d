//! What networks cost: a pod's start and end, many pods, and what goes through.

use std::collections::BTreeMap;
use std::process::Command;

use super::Programs;
use super::report::Table;
use super::through;
use crate::{Result, build};

/// Compares and enters the figures.
pub(crate) fn run(programs: &Programs, table: &mut Table) -> Result<()> {
    starts(programs, table)?;
    through::throughput(programs, table)?;
    through::limits(programs, table)
}

fn starts(programs: &Programs, table: &mut Table) -> Result<()> {
    build::cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "net",
        "--example",
        "figures",
    ])?;
    let figures = programs.floor.with_file_name("examples").join("figures");
    let alone = |program: &std::path::Path, args: &[&str]| {
        let mut command = Command::new("unshare");
        command.arg("--net").arg(program).args(args);
        output(command)
    };
    let floor = || -> Result<f64> {
        let text = alone(&programs.floor, &["--measure-veth"])?;
        text.trim()
            .parse()
            .map_err(|e| format!("floor: {text:?}: {e}"))
    };
    // Before and after, in case the machine is busier at one time than at the other.
    let before = floor()?;
    let text = alone(&figures, &[])?;
    let after = floor()?;
    println!("floor's namespace and veth part: {before:.0} us before, {after:.0} us after");
    let floor = f64::midpoint(before, after);
    print!("{text}");
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    let found: BTreeMap<&str, f64> = pairs
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    let get = |name: &str| {
        found
            .get(name)
            .copied()
            .ok_or_else(|| format!("figures has no {name}"))
    };
    for kind in ["ptp", "bridge"] {
        let up = get(&format!("{kind}-up"))?;
        table.at_most(
            &format!("{kind} with masquerading / floor's veth part"),
            up / floor,
            2.0,
            "x",
        );
        let debian = get(&format!("debian-{kind}-up"))?;
        table.at_most(
            &format!("{kind} with masquerading / Debian's plugin"),
            up / debian,
            0.1,
            "x",
        );
        table.at_most(
            &format!("{kind}, tear-down"),
            get(&format!("{kind}-down"))? / 1e3,
            3.0,
            "ms",
        );
    }
    let growth = get("many-last")? / get("many-first")?;
    table.at_most(
        "500 pods on one bridge, last 50 / first 50",
        growth,
        1.3,
        "x",
    );
    let allocation = get("allocate-lots")? / get("allocate-few")?;
    table.at_most(
        "an address with 20,000 in use / with 10",
        allocation,
        1.3,
        "x",
    );
    Ok(())
}

/// What a command prints.
pub(super) fn output(mut command: Command) -> Result<String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}
