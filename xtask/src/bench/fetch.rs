//! Fetching a large image, beside hashing and copying the file.

use std::path::Path;
use std::process::Command;

use e2e::{Aci, Compression, Rkt, TempDir};

use super::Programs;
use super::measure::{Random, median, time_warm};
use super::report::Table;
use crate::Result;

const FILES: usize = 10_000;
const FILE_BYTES: usize = 25_000;
const ROUNDS: usize = 9;

/// Compares and enters the figures.
pub(crate) fn run(programs: &Programs, table: &mut Table) -> Result<()> {
    let dir = TempDir::new();
    let image = dir.join("large.aci");
    large_image(programs, &image).map_err(|e| format!("cannot write {}: {e}", image.display()))?;
    let (mut floors, mut fetches, mut firsts, mut seconds) = (vec![], vec![], vec![], vec![]);
    // Nothing goes before the end: what the disk still does for removed files would be measured, too.
    let mut written = Vec::new();
    for round in 0..ROUNDS {
        let hash = time_warm(
            Command::new("openssl")
                .args(["dgst", "-sha512"])
                .arg(&image),
        )?;
        let to = dir.join(&format!("copy-{round}"));
        let copy = time_warm(Command::new("cp").arg(&image).arg(&to))?;
        floors.push(hash + copy);
        let rkt = Rkt::of(programs.rkt.clone());
        fetches.push(time_warm(
            &mut rkt.command(&["fetch", &image.display().to_string()]),
        )?);
        let run = [
            "run",
            "--net=none",
            "example.com/large",
            "--exec=/probe",
            "--",
            "true",
        ];
        firsts.push(time_warm(&mut rkt.command(&run))?);
        seconds.push(time_warm(&mut rkt.command(&run))?);
        written.push(rkt);
    }
    let (floor, fetch) = (median(floors), median(fetches));
    let (first, second) = (median(firsts), median(seconds));
    println!(
        "openssl dgst -sha512 + cp {floor:>8.1} ms\nrkt fetch                 {fetch:>8.1} ms"
    );
    println!(
        "first run from it         {first:>8.1} ms\nsecond run                {second:>8.1} ms"
    );
    table.at_most(
        "fetch of 250 MB, 10,000 files / openssl + cp",
        fetch / floor,
        1.5,
        "x",
    );
    table.at_most(
        "first run after the fetch / second run",
        first / second,
        3.0,
        "x",
    );
    Ok(())
}

fn large_image(programs: &Programs, to: &Path) -> std::io::Result<()> {
    let mut random = Random::new();
    let mut aci = Aci::new("example.com/large")
        .exec(&["/probe", "true"])
        .copy(&programs.probe, "/probe", 0o755);
    for number in 0..FILES {
        let name = format!("/data/{:02}/{number}", number % 100);
        aci = aci.file(&name, 0o644, random.bytes(FILE_BYTES));
    }
    aci.write(to, Compression::None)
}
