//! `rkt measurements`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use measure::hex;
use measure::log::{Event, Log};
use serde_json::{Value, json};

use super::Entry;
use super::pretty::{Format, format_flag};
use crate::cli::flags::Values;
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};
use crate::output;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "measurements",
    about: "Show what was measured into the Trusted Platform Module",
    usage: "measurements [--format=json|json-pretty]",
    long: "Prints the events by which pods were measured before they ran, for each start of the machine, and\nthe value of PCR 15 that follows from them. The logs are in \"measurements\" of the data directory,\nin the TCG's crypto-agile format, which other programs read, too.",
    arguments: |command| command.arg(format_flag()),
    run: measurements,
    newer: true,
    ..Entry::BASE
};

fn measurements(context: &Context, matches: &clap::ArgMatches) -> Outcome {
    let format = Format::parse(matches.str("format"))?;
    let mut all = Vec::new();
    for path in logs(&context.data_dir.join(measure::DIRECTORY))? {
        let problem = || format!("cannot read the log of measurements {}", path.display());
        let bytes = std::fs::read(&path).doing_with(problem)?;
        // Somebody is beginning it.
        if !bytes.is_empty() {
            all.push((path.clone(), Log::parse(&bytes).doing_with(problem)?));
        }
    }
    match format {
        Format::Text => all.iter().for_each(|(path, log)| print(path, log)),
        _ => format.print(&all.iter().map(to_json).collect::<Vec<_>>())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The logs, the oldest first.
fn logs(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let problem = || format!("cannot list {}", directory.display());
    let listing = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.doing_with(problem)?,
    };
    let mut logs = Vec::new();
    for entry in listing {
        let entry = entry.doing_with(problem)?;
        let meta = entry.metadata().doing_with(problem)?;
        if meta.is_file() {
            logs.push((meta.modified().doing_with(problem)?, entry.path()));
        }
    }
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

fn print(path: &Path, log: &Log) {
    output::line(&format!("log={}", path.display()));
    for event in &log.events {
        let mark = match event.is_consistent() {
            true => "",
            false => " (its digest is not that of this text)",
        };
        let text = String::from_utf8_lossy(&event.data);
        output::line(&format!("event={}{mark}", text.escape_debug()));
    }
    for (bank, value) in log.replay() {
        output::line(&format!(
            "pcr{}-{}={}",
            measure::PCR,
            bank.name(),
            hex(&value)
        ));
    }
}

fn to_json((path, log): &(PathBuf, Log)) -> Value {
    let event = |event: &Event| {
        json!({
            "pcr": event.pcr,
            "type": event.kind,
            "digests": banks(&event.digests),
            "consistent": event.is_consistent(),
            "data": String::from_utf8_lossy(&event.data),
        })
    };
    json!({
        "log": path.display().to_string(),
        "events": log.events.iter().map(event).collect::<Vec<_>>(),
        "pcr": banks(&log.replay()),
    })
}

fn banks(all: &[measure::Bank]) -> Value {
    let fields = all
        .iter()
        .map(|(bank, value)| (bank.name().to_owned(), hex(value).into()));
    Value::Object(fields.collect())
}
