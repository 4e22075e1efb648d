//! What the default filter costs: in a start, and in a program that makes nothing but calls.

use std::process::Command;
use std::time::Duration;

use e2e::{Rkt, fixtures};

use super::Programs;
use super::measure::{Contestant, compare, median};
use super::report::Table;
use crate::Result;

const ROUNDS: usize = 40;
const PAUSE: Duration = Duration::from_millis(40);
/// Calls of one loop, and how many loops of each kind, in turns.
const CALLS: &str = "20000000";
const LOOPS: usize = 7;
const NO_FILTER: &str = "--seccomp=mode=retain,@appc.io/all";
const WITH: &str = "rkt run, default filter";
const WITHOUT: &str = "rkt run, no filter";

/// Measures both and enters the figures.
pub(crate) fn run(programs: &Programs, table: &mut Table) -> Result<()> {
    let rkt = Rkt::of(programs.rkt.clone());
    let image = rkt.fetch(&fixtures::probe_with(&programs.probe));
    let command = |flags: &[&str], words: &[&str]| {
        let args = [
            &["run", "--net=none", &image],
            flags,
            &["--exec=/probe", "--"],
            words,
        ];
        rkt.command(&args.concat())
    };
    let start = |flags: &[&str]| {
        let inner = command(flags, &["true"]);
        let words: Vec<_> = inner.get_args().map(ToOwned::to_owned).collect();
        let program = inner.get_program().to_owned();
        move |_| {
            let mut command = Command::new(&program);
            command.args(&words);
            command
        }
    };
    let contestants = [
        Contestant::new(WITH, start(&[])),
        Contestant::new(WITHOUT, start(&[NO_FILTER])),
    ];
    let medians = compare(&contestants, ROUNDS, PAUSE)?;
    let (with, without) = (medians[WITH], medians[WITHOUT]);
    let what = "the default filter adds to a start";
    table.at_most(what, with.wall - without.wall, 0.3, "ms");

    let once = |flags: &[&str]| {
        let output = command(flags, &["getppid", CALLS]).output();
        let output = output.map_err(|e| format!("cannot execute rkt: {e}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = text
            .split_whitespace()
            .last()
            .and_then(|word| word.parse().ok());
        number.ok_or_else(|| format!("no time per call in {text:?}"))
    };
    let (mut filtered, mut free) = (Vec::new(), Vec::new());
    for _ in 0..LOOPS {
        filtered.push(once(&[])?);
        free.push(once(&[NO_FILTER])?);
    }
    let (filtered, free): (f64, f64) = (median(filtered), median(free));
    println!("getppid: {filtered:.1} ns with the default filter, {free:.1} ns without");
    table.at_most(
        "getppid with the default filter / without",
        filtered / free,
        1.03,
        "x",
    );
    Ok(())
}
