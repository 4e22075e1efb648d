//! `rkt config`.

use std::process::ExitCode;

use super::{Entry, pretty};
use crate::cli::flags::{Values, switch};
use crate::failure::Doing;
use crate::output;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "config",
    about: "Prints configuration for each stage in JSON format",
    usage: "config",
    long: "Prints the configuration of stage0 as it is merged from the system, the local and the\nuser directory: one entry for each host, and no entry for what is not configured.",
    arguments: |command| {
        command
            .arg(switch("pretty-print", "apply indent to format the output").default_value("true"))
    },
    run: |context, matches| {
        let config = config::Config::load(&context.dirs).doing("cannot read the configuration")?;
        let value = config.to_json();
        output::line(&match matches.is("pretty-print") {
            true => pretty::indented(&value)?,
            false => value.to_string(),
        });
        Ok(ExitCode::SUCCESS)
    },
    ..Entry::BASE
};
