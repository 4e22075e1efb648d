//! `rkt help [COMMAND]`.

use std::process::ExitCode;

use super::{ALL, Entry};
use crate::cli::flags::{Values, words};
use crate::cli::help::render;
use crate::failure::Failure;
use crate::output;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "help",
    about: "Help about any command",
    usage: "help [command]",
    long: "Help provides help for any command in the application.\nSimply type rkt help [path to command] for full details.",
    arguments: |command| command.arg(words("command")),
    run: |_, matches| {
        let (mut path, mut entries) = (Vec::new(), ALL);
        for name in matches.strings("command") {
            let entry = entries
                .iter()
                .find(|e| e.name == name)
                .ok_or_else(|| Failure::new(format!("unknown help topic {name:?}")))?;
            path.push(entry);
            entries = entry.children;
        }
        output::out(&render(&path));
        Ok(ExitCode::SUCCESS)
    },
    ..Entry::BASE
};
