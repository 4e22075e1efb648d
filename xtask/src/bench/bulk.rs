//! Many pods at once: listing and collecting them.

use e2e::{Rkt, fixtures};

use super::Programs;
use super::measure::{median, time};
use super::report::Table;
use crate::Result;

const LISTED: usize = 1000;
const COLLECTED: usize = 100;
const ROUNDS: usize = 10;

/// `rkt list` with a thousand pods.
pub(crate) fn list(programs: &Programs, table: &mut Table) -> Result<()> {
    let rkt = Rkt::of(programs.rkt.clone());
    let image = rkt.fetch(&fixtures::probe_with(&programs.probe));
    let mut prepares = Vec::new();
    for _ in 0..LISTED {
        prepares.push(time(&mut rkt.command(&["prepare", "--quiet", &image]))?);
    }
    let mut lists = Vec::new();
    for _ in 0..ROUNDS {
        lists.push(time(&mut rkt.command(&["list"]))?);
    }
    let (prepare, list) = (median(prepares), median(lists));
    println!(
        "rkt prepare               {prepare:>8.2} ms\nrkt list, {LISTED} pods       {list:>8.2} ms"
    );
    table.at_most("list of 1,000 pods", list, 50.0, "ms");
    Ok(())
}

/// `rkt gc` of a hundred exited pods.
pub(crate) fn gc(programs: &Programs, table: &mut Table) -> Result<()> {
    let rkt = Rkt::of(programs.rkt.clone());
    let image = rkt.fetch(&fixtures::probe_with(&programs.probe));
    for _ in 0..COLLECTED {
        time(&mut rkt.command(&["run", &image, "--exec=/probe", "--", "true"]))?;
    }
    let mark = time(&mut rkt.command(&["gc", "--grace-period=0s"]))?;
    let sweep = time(&mut rkt.command(&["gc", "--grace-period=0s"]))?;
    println!(
        "rkt gc of {COLLECTED} pods: mark {mark:.1} ms, then {sweep:.1} ms; left: {}",
        rkt.pods().len()
    );
    table.at_most("gc of 100 exited pods", mark + sweep, 1000.0, "ms");
    Ok(())
}
