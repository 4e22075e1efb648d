//! What a person sees who typed something that is not a command line of rkt.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{FAILED, help};
use crate::commands::{ALL, Entry};
use crate::output;

/// Prints the mistake as the original did, and the command's help unless there is no command.
pub(super) fn report(error: &clap::Error, args: &[OsString]) -> ExitCode {
    let path = named(args);
    output::err(&format!("Error: {}\n", message(error, &path)));
    match (error.kind(), path.as_slice()) {
        (ErrorKind::InvalidSubcommand, _) | (_, []) => {
            output::err("Run 'rkt --help' for usage.\n");
        }
        (_, path) => output::err(&help::render(path)),
    }
    ExitCode::from(FAILED)
}

fn message(error: &clap::Error, path: &[&Entry]) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    // The flag without the placeholder of its value.
    let arg = context(ContextKind::InvalidArg);
    let flag = arg.split(['=', ' ', '[']).next().unwrap_or_default();
    let value = context(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand);
            let parents: String = path.iter().map(|e| format!(" {}", e.name)).collect();
            format!("unknown command {name:?} for \"rkt{parents}\"")
        }
        ErrorKind::UnknownArgument if flag.starts_with('-') => format!("unknown flag: {flag}"),
        ErrorKind::UnknownArgument => format!("unexpected argument {flag:?}"),
        ErrorKind::InvalidValue if value.is_empty() => format!("flag needs an argument: {flag}"),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            use std::error::Error;
            let reason = error.source().map(|s| format!(": {s}")).unwrap_or_default();
            format!("invalid argument {value:?} for {flag}={value}{reason}")
        }
        _ => error
            .to_string()
            .trim_start_matches("error: ")
            .trim_end()
            .to_owned(),
    }
}

/// The commands on the command line, as far as they are recognised.
fn named(args: &[OsString]) -> Vec<&'static Entry> {
    let (mut path, mut entries) = (Vec::new(), ALL);
    for word in super::groups::words(args) {
        match find(entries, &word) {
            Some(entry) => {
                path.push(entry);
                entries = entry.children;
            }
            None => break,
        }
    }
    path
}

/// A command by its name or an unambiguous beginning.
pub(crate) fn find(entries: &'static [Entry], word: &str) -> Option<&'static Entry> {
    if let Some(exact) = entries.iter().find(|e| e.name == word) {
        return Some(exact);
    }
    let starting = |newer| {
        let starts = move |e: &&Entry| e.newer == newer && e.name.starts_with(word);
        entries.iter().filter(starts)
    };
    let mut starting = starting(starting(false).next().is_none());
    match (starting.next(), starting.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// Warns about flags that are accepted for old scripts.
pub(super) fn warn_deprecated(matches: &ArgMatches, entry: &Entry) {
    for (name, instead) in entry.deprecated {
        if super::flags::Values::given(matches, name) {
            output::err(&format!("Flag --{name} has been deprecated, {instead}\n"));
        }
    }
}
