//! Pods named on the command line or in a file that `--uuid-file-save` wrote.

use clap::{Arg, ArgMatches};

use crate::cli::flags::{Values, text};
use crate::failure::{Doing, Failure};

/// `--uuid-file`.
pub(super) fn file_flag() -> Arg {
    text(
        "uuid-file",
        "",
        "read pod UUID from file instead of argument",
    )
}

/// As [`given`], for the commands whose unreadable UUID file ends them with status 1.
pub(super) fn given_or_1(matches: &ArgMatches) -> Result<Vec<String>, Failure> {
    let from_file = !matches.str("uuid-file").is_empty();
    given(matches).map_err(|failure| match from_file {
        true => failure.with_status(1),
        false => failure,
    })
}

/// A UUID file holds little more than 36 bytes.
const MAX_FILE: u64 = 4096;

/// The UUIDs or prefixes that the command was given: from the file, or its arguments. Not both,
/// and not none.
pub(super) fn given(matches: &ArgMatches) -> Result<Vec<String>, Failure> {
    let (file, words) = (matches.str("uuid-file"), matches.strings("uuid"));
    match (file, words.is_empty()) {
        ("", true) => Err(Failure::new(
            "must provide at least one UUID, or --uuid-file",
        )),
        ("", false) => Ok(words),
        (_, false) => Err(Failure::new("a UUID and --uuid-file exclude each other")),
        (file, true) => Ok(vec![read(file)?]),
    }
}

fn read(file: &str) -> Result<String, Failure> {
    use std::io::Read;
    let read = || -> std::io::Result<String> {
        let mut content = String::new();
        std::fs::File::open(file)?
            .take(MAX_FILE)
            .read_to_string(&mut content)?;
        Ok(content.trim().to_owned())
    };
    read().doing_with(|| format!("unable to resolve UUID from file {file:?}"))
}

/// Writes a pod's UUID where `--uuid-file-save` says.
pub(super) fn save(file: &str, uuid: &str) -> Result<(), Failure> {
    match file {
        "" => Ok(()),
        file => std::fs::write(file, uuid)
            .doing_with(|| format!("cannot save the pod UUID in {file:?}")),
    }
}
