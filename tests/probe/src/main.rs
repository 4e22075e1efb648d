//! A program that runs inside pods and tells the test suite what it finds there, or
//! misbehaves in one particular way. Static, so that an image needs nothing else.

mod attack;
mod behave;
mod exposure;
mod report;

use std::process::ExitCode;

const USAGE: &str = "usage: probe report | exposure | true | exit N | signal N | sleep | orphans N | \
                     spew BYTES | lines N | alloc BYTES | spin | getppid N bare|allow-all | serve PORT | echo PORT | round-trip ADDRESS:PORT | syscalls | mount | make PATH | try-write PATH | attack NAME OBJECT";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    match words.as_slice() {
        ["report", ..] => report::print(),
        ["exposure"] => exposure::print(),
        ["true"] => ExitCode::SUCCESS,
        ["exit", code] => number(code, |n| ExitCode::from(n as u8)),
        ["signal", signal] => number(signal, behave::raise),
        ["sleep"] => behave::sleep_until_killed(),
        ["orphans", count] => number(count, behave::orphans),
        ["spew", bytes] => number(bytes, behave::spew),
        ["lines", count] => number(count, behave::lines),
        ["flood", count, size] => number(count, |count| {
            number(size, |size| behave::flood(count, size as usize))
        }),
        ["alloc", bytes] => number(bytes, behave::allocate),
        ["spin"] => loop {
            std::hint::spin_loop();
        },
        ["getppid", count, "bare"] => number(count, behave::getppid),
        ["getppid", count, "allow-all"] => {
            exposure::allow_all();
            number(count, behave::getppid)
        }
        ["serve", port] => number(port, behave::serve),
        ["echo", port] => number(port, behave::echo),
        ["round-trip", address] => behave::round_trip(address),
        ["syscalls"] => behave::syscalls(),
        ["mount"] => behave::mount(),
        ["passed"] => behave::serve_passed(),
        ["notify", text] => behave::notify(text),
        ["attack", name, object] => attack::attack(name, object),
        ["make", path] => match std::fs::write(path, "") {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("probe: {path}: {error}");
                ExitCode::FAILURE
            }
        },
        ["try-write", path] => behave::try_write(path),
        // How `orphans` calls itself.
        ["orphan-parent"] => behave::orphan_parent(),
        ["orphan"] => ExitCode::SUCCESS,
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(64)
        }
    }
}

/// Parses a command's number and hands it on; exits 64 if it is none.
fn number(word: &str, then: impl FnOnce(u64) -> ExitCode) -> ExitCode {
    match word.parse() {
        Ok(n) => then(n),
        Err(error) => {
            eprintln!("probe: {word:?}: {error}");
            ExitCode::from(64)
        }
    }
}
