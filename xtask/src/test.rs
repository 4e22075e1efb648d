//! `cargo xtask test`: what CI runs.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use e2e::fixtures;

use crate::snapshot::{Snapshot, adopt_orphans};
use crate::{Result, build, setup};

/// Directories that other people's programs make when they run for the first time, and leave: the
/// reference plugin `tuning`, and firewalld. The inner ones first.
const OF_OTHERS: [&str; 3] = ["/run/cni/tuning", "/run/cni", "/run/firewalld"];

/// Format, lints, fixtures, all tests, and a look at what they left. A filter runs the
/// tests whose names contain it, and nothing else.
pub(crate) fn run(filter: &[&str]) -> Result<()> {
    let start = Instant::now();
    setup::run(&["test"])?;
    if filter.is_empty() {
        step("format", || build::cargo(&["fmt", "--all", "--check"]))?;
        step("lints", || {
            build::cargo(&[
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ])
        })?;
    }
    step("build", || {
        build::cargo(&["build", "--quiet", "--workspace"])
    })?;
    step("fixtures", make_fixtures)?;
    adopt_orphans()?;
    let before = Snapshot::take();
    let new = OF_OTHERS.iter().filter(|dir| !Path::new(dir).exists());
    let new: Vec<_> = new.collect();
    let tested = step("tests", || run_tests(filter));
    for dir in new {
        // Whatever is in them was left by a test, and is said below.
        let _ = std::fs::remove_dir(dir);
    }
    let left = before.added();
    for line in &left {
        eprintln!("left behind: {line}");
    }
    tested?;
    if !left.is_empty() {
        return Err(format!("the tests left {} things behind", left.len()));
    }
    println!(
        "All tests passed and nothing is left behind ({:.0} s).",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    println!("== {name}");
    let done = work();
    println!("== {name}: {} s", start.elapsed().as_secs());
    done
}

fn make_fixtures() -> Result<()> {
    fixtures::debian().map_err(|e| format!("cannot make the Debian image: {e}"))?;
    fixtures::redis().map_err(|e| format!("cannot make the Redis image: {e}"))?;
    fixtures::guest().map_err(|e| format!("cannot make the virtual machine: {e}"))?;
    Ok(())
}

fn run_tests(filter: &[&str]) -> Result<()> {
    let nextest = Command::new("cargo-nextest")
        .arg("--version")
        .output()
        .is_ok();
    let runner: &[&str] = if nextest {
        &["nextest", "run", "--workspace"]
    } else {
        &["test", "--workspace"]
    };
    build::cargo(&[runner, filter].concat())
}
