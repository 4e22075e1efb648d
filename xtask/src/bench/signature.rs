//! Fetching a large signed image, beside hashing the file.

use std::process::Command;

use e2e::{Aci, Compression, Gpg, Rkt, TempDir};

use super::Programs;
use super::measure::{Random, median, time_warm};
use super::registry::as_nobody;
use super::report::Table;
use crate::Result;

const FILES: usize = 16;
const FILE_BYTES: usize = 64 << 20;
const ROUNDS: usize = 5;

/// Compares and enters the figure. Nobody fetches, so that no tree is made: what remains is
/// reading, the signature, the image's ID, the archive's check and the blob.
pub(crate) fn run(programs: &Programs, table: &mut Table) -> Result<()> {
    let dir = TempDir::new();
    let image = dir.join("signed.aci");
    let mut random = Random::new();
    let mut aci = Aci::new("example.com/signed");
    for number in 0..FILES {
        let name = format!("/data/{number}");
        aci = aci.file(&name, 0o644, random.bytes(FILE_BYTES));
    }
    let written = aci.write(&image, Compression::None);
    written.map_err(|e| format!("cannot write {}: {e}", image.display()))?;
    let gpg = Gpg::with_key("rsa2048", "Bench <bench@example.com>");
    let path = image.display().to_string();
    gpg.sign_beside(&path, &["--digest-algo=SHA512"]);
    let key = gpg.export(&dir.join("key.gpg"));
    let (mut hashes, mut fetches) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        hashes.push(time_warm(
            Command::new("openssl").args(["dgst", "-sha512", &path]),
        )?);
        let rkt = Rkt::of(programs.rkt.clone());
        rkt.strict(&["trust", "--skip-fingerprint-review", "--root", &key])
            .expect(0);
        let fetch = rkt.strict_command(&["fetch", &path]);
        fetches.push(time_warm(&mut as_nobody(&rkt, &fetch)?)?);
    }
    let (hash, fetch) = (median(hashes), median(fetches));
    println!("openssl dgst -sha512 of 1 GB      {hash:>8.1} ms");
    println!("rkt fetch, signed, without a tree {fetch:>8.1} ms");
    table.at_least("openssl dgst / signed fetch", hash / fetch, 0.9);
    Ok(())
}
