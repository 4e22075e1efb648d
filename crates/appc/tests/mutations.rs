//! A little fuzzing in every test run: the seeds of the fuzz targets, changed a few thousand times
//! in a way that is the same every time. Whatever is accepted must be written back to itself.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

use appc::{Error, ImageManifest, PodManifest};

const IMAGES: [&[u8]; 3] = [
    include_bytes!("../../../fuzz/seeds/image_manifest/reduce-worker.json"),
    include_bytes!("../../../fuzz/seeds/image_manifest/isolators.json"),
    include_bytes!("../../../fuzz/seeds/image_manifest/nulls.json"),
];
const PODS: [&[u8]; 2] = [
    include_bytes!("../../../fuzz/seeds/pod_manifest/reduce-worker.json"),
    include_bytes!("../../../fuzz/seeds/pod_manifest/nulls.json"),
];

/// Pieces that say something to a parser of JSON or to a rule of the specification.
const PIECES: [&str; 24] = [
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "1.5",
    "99999999999999999999",
    "\"\"",
    "[]",
    "{}",
    "[",
    "}",
    ",",
    ":",
    "\\u0000",
    "\\ud800",
    "\"/\"",
    "\"..\"",
    "\"name\"",
    "\"value\"",
    "\u{7f}",
    "\u{fffd}",
    "65536",
    "\"1Gi\"",
];

const ROUNDS: usize = 6000;

/// A xorshift generator: small, and the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }
}

/// One change: cut, repeat, replace or insert.
fn change(text: &mut Vec<u8>, numbers: &mut Numbers) {
    let from = numbers.below(text.len() + 1);
    let to = text.len().min(from + numbers.below(24));
    match numbers.below(5) {
        0 => drop(text.drain(from..to)),
        1 => {
            let part = text[from..to].to_vec();
            let at = numbers.below(text.len() + 1);
            text.splice(at..at, part);
        }
        2 => {
            let piece = PIECES[numbers.below(PIECES.len())];
            text.splice(from..from, piece.bytes());
        }
        3 => replace_value(text, from, PIECES[numbers.below(PIECES.len())]),
        _ => {
            if let Some(byte) = text.get_mut(from) {
                *byte ^= 1 << numbers.below(8);
            }
        }
    }
}

/// Puts a piece in the place of the next value, which mostly leaves valid JSON behind.
fn replace_value(text: &mut Vec<u8>, from: usize, piece: &str) {
    let Some(start) = text[from..]
        .iter()
        .position(|b| *b == b':')
        .map(|at| from + at + 1)
    else {
        return;
    };
    let end = text[start..]
        .iter()
        .position(|b| b",}]".contains(b))
        .map(|at| start + at);
    text.splice(start..end.unwrap_or(text.len()), piece.bytes());
}

/// Feeds changed seeds to `parse`; gives how many were accepted.
fn run<T: PartialEq + std::fmt::Debug>(
    seeds: &[&[u8]],
    parse: fn(&[u8]) -> Result<T, Error>,
    write: fn(&T) -> Vec<u8>,
) -> usize {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut accepted = 0;
    for round in 0..ROUNDS {
        let mut text = seeds[round % seeds.len()].to_vec();
        for _ in 0..=numbers.below(4) {
            change(&mut text, &mut numbers);
        }
        let Ok(manifest) = parse(&text) else {
            continue;
        };
        accepted += 1;
        let written = write(&manifest);
        let shown = || String::from_utf8_lossy(&text).into_owned();
        let again = parse(&written).unwrap_or_else(|error| panic!("{error}\n{}", shown()));
        assert_eq!(manifest, again, "{}", shown());
        assert_eq!(written, write(&again), "{}", shown());
    }
    accepted
}

#[test]
fn changed_image_manifests() {
    let accepted = run(&IMAGES, ImageManifest::parse, ImageManifest::to_json);
    // Too many or too few would mean that the changes no longer reach the rules.
    assert!(
        (ROUNDS / 20..ROUNDS / 2).contains(&accepted),
        "{accepted} of {ROUNDS} accepted"
    );
}

#[test]
fn changed_pod_manifests() {
    let accepted = run(&PODS, PodManifest::parse, PodManifest::to_json);
    assert!(
        (ROUNDS / 20..ROUNDS / 2).contains(&accepted),
        "{accepted} of {ROUNDS} accepted"
    );
}
