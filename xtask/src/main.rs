//! The project's own tooling: `cargo xtask demo|test|bench|exposure|setup`.

mod bench;
mod build;
mod demo;
mod exposure;
mod setup;
mod snapshot;
mod test;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND

  demo             build rkt and the hello image, run it as a pod, talk to it, collect it
  test [FILTER]    everything that CI checks: format, lints, all tests, nothing left behind
  bench [WHAT]...  start, idle, fetch, list, gc: rkt beside its peers and beside the floor
  exposure         what apps can reach, beside podman: writes the table of docs/security.md
  setup [WHAT]...  install the Debian packages that demo, test and bench need (default: all)";

/// What a command answers with: the error is a sentence for the reader.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["demo"] => demo::run(),
        ["test", filter @ ..] => test::run(filter),
        ["bench", what @ ..] => bench::run(what),
        ["exposure"] => exposure::run(),
        ["setup"] => setup::run(&setup::EVERYTHING),
        ["setup", what @ ..] => setup::run(what),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
