//! What the default filter costs: when it is loaded, and in a program that makes nothing but calls.

use std::time::Instant;

use e2e::{Rkt, fixtures};
use rustix::thread::set_no_new_privs;
use sandbox::seccomp::{Arch, Policy, Program};

use super::Programs;
use super::measure::median;
use super::report::Table;
use crate::Result;

/// How often it is loaded.
const LOADS: usize = 200;
/// Calls of one loop, and how many loops of each kind, in turns.
const CALLS: &str = "5000000";
const LOOPS: usize = 9;
const NO_FILTER: &str = "--seccomp=mode=retain,@appc.io/all";

/// Measures both and enters the figures.
pub(crate) fn run(programs: &Programs, table: &mut Table) -> Result<()> {
    let program = Policy::default().compile(Arch::native());
    let program = program.map_err(|e| e.to_string())?;
    let loads: Vec<f64> = (0..LOADS).map(|_| load(&program)).collect::<Result<_>>()?;
    table.at_most("loading the default filter", median(loads), 0.3, "ms");

    let rkt = Rkt::of(programs.rkt.clone());
    let image = rkt.fetch(&fixtures::probe_with(&programs.probe));
    let once = |flag: &str, kind: &str| {
        let words = ["--exec=/probe", "--", "getppid", CALLS, kind];
        let output = rkt.run(&[&["run", "--net=none", &image, flag][..], &words].concat());
        let number = output.stdout.split_whitespace().last();
        let number = number.and_then(|word| word.parse().ok());
        number.ok_or_else(|| format!("no time per call: {}", output.all()))
    };
    let [mut default, mut least, mut none] = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..LOOPS {
        default.push(once("--seccomp=mode=remove,@appc.io/empty", "bare")?);
        least.push(once(NO_FILTER, "allow-all")?);
        none.push(once(NO_FILTER, "bare")?);
    }
    let (default, least, none): (f64, f64, f64) = (median(default), median(least), median(none));
    println!(
        "getppid: {none:.1} ns without a filter, {least:.1} ns with one that allows all, \
         {default:.1} ns with the default filter"
    );
    // Since Linux 5.11 the kernel remembers which calls a filter always allows; what is left is
    // its own slow path for any filter.
    let what = "getppid, default filter / one that allows all";
    table.at_most(what, default / least, 1.03, "x");
    table.at_most("getppid, default filter / none", default / none, 1.03, "x");
    Ok(())
}

/// Milliseconds of one load, in a thread that ends with it.
fn load(program: &Program) -> Result<f64> {
    let timed = || {
        set_no_new_privs(true)?;
        let start = Instant::now();
        program.load()?;
        Ok::<_, rustix::io::Errno>(start.elapsed().as_secs_f64() * 1e3)
    };
    let done = std::thread::scope(|scope| scope.spawn(timed).join());
    match done {
        Ok(time) => time.map_err(|e| format!("cannot load the filter: {e}")),
        Err(_) => Err("the thread that loads the filter died".into()),
    }
}
