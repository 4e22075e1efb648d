//! The front door: from the command line to one call of a command.

pub(crate) mod flags;
pub(crate) mod groups;
pub(crate) mod help;
mod order;
mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::commands::{self, Entry};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use flags::{list, switch, text};

/// Exit status of a usage error, and of rkt's own failures.
const FAILED: u8 = 254;
/// Exit status of a command line without a command.
const NO_COMMAND: u8 = 2;

/// Reads the command line and runs what it asks for.
pub(crate) fn main() -> ExitCode {
    if let Some(status) = commands::net_plugin::as_link() {
        return status;
    }
    let args = order::command_first(std::env::args_os().collect());
    let (args, groups) = match groups::split(args) {
        Ok(split) => split,
        Err(message) => {
            output::err(&format!("Error: {message}\n"));
            return ExitCode::from(FAILED);
        }
    };
    // Only a command line that is wrong is read with all commands at hand, to say what is.
    let read = root(|name| is_named(name, &args)).try_get_matches_from(&args);
    let matches = match read.or_else(|_| root(|_| true).try_get_matches_from(&args)) {
        Ok(matches) => matches,
        Err(error) => return usage::report(&error, &args),
    };
    let (path, inner) = descend(&matches);
    if inner.get_flag("help") {
        output::out(&help::render(&path));
        return ExitCode::SUCCESS;
    }
    let Some(entry) = path.last() else {
        output::err("missing command\n");
        output::out(&help::render(&[]));
        return ExitCode::from(NO_COMMAND);
    };
    run(entry, &path, inner, groups)
}

fn run(entry: &Entry, path: &[&Entry], matches: &ArgMatches, groups: groups::Groups) -> ExitCode {
    output::set_prefix(path.first().map_or("rkt", |e| e.name));
    usage::warn_deprecated(matches, entry);
    let debug = flags::Values::is(matches, "debug");
    let whole = match groups::without_value(matches) {
        Some(flag) => Err(Failure::new(format!("--{flag} needs a value before --"))),
        None => Ok(()),
    };
    let outcome = whole
        .and_then(|()| Context::new(matches, groups))
        .and_then(|context| {
            crate::rootless::enter(&context, entry)?;
            (entry.run)(&context, matches)
        });
    match outcome {
        Ok(status) => status,
        Err(failure) => {
            output::note(&match debug {
                true => failure.tree(),
                false => failure.brief(),
            });
            ExitCode::from(failure.status())
        }
    }
}

/// Whether a command may be meant: one of the words is its name.
fn is_named(name: &str, args: &[OsString]) -> bool {
    args.iter().skip(1).any(|word| word == name)
}

/// The command line with the `wanted` commands: each costs as much as all flags that every command
/// takes. A subcommand's own flags are only built when it is used.
pub(crate) fn root(wanted: impl Fn(&str) -> bool) -> Command {
    let command = Command::new("rkt")
        .infer_subcommands(true)
        .args_override_self(true)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true);
    commands::ALL
        .iter()
        .filter(|entry| wanted(entry.name))
        .fold(globals(command), |command, entry| {
            command.subcommand(build(entry))
        })
}

fn build(entry: &'static Entry) -> Command {
    let command = Command::new(entry.name)
        .about(entry.about)
        .hide(entry.hidden)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .infer_subcommands(true)
        .args_override_self(true);
    match entry.children {
        [] => command.defer(entry.arguments),
        children => children.iter().fold(command, |c, e| c.subcommand(build(e))),
    }
}

/// The flags that every command takes (page "rkt Commands", "Global Options").
pub(crate) fn globals(command: Command) -> Command {
    let hidden = |name, help| text(name, "", help).hide(true);
    let all = [
        switch("debug", "print out more debug information to stderr"),
        text("dir", commands::DEFAULT_DATA_DIR, "rkt data directory"),
        text("system-config", "/usr/lib/rkt", "system configuration directory"),
        text("local-config", "/etc/rkt", "local configuration directory"),
        text("user-config", "", "user configuration directory"),
        list(
            "insecure-options",
            "comma-separated list of security features to disable. Allowed values: \"none\", \"image\", \"tls\", \"ondisk\", \"http\", \"pubkey\", \"capabilities\", \"paths\", \"seccomp\", \"all-fetch\", \"all-run\", \"all\"",
        )
        .default_value("none"),
        switch(
            "trust-keys-from-https",
            "automatically trust gpg keys fetched from https",
        ),
        hidden("cpuprofile", "write CPU profile to the file"),
        hidden("memprofile", "write memory profile to the file"),
        Arg::new("help")
            .long("help")
            .short('h')
            .action(ArgAction::SetTrue)
            .hide(true),
    ];
    command.args(all.map(|arg| arg.global(true)))
}

/// The commands that were named, outermost first, and the innermost one's values.
fn descend(matches: &ArgMatches) -> (Vec<&'static Entry>, &ArgMatches) {
    let (mut path, mut entries, mut inner) = (Vec::new(), commands::ALL, matches);
    while let Some((name, sub)) = inner.subcommand() {
        let Some(entry) = entries.iter().find(|e| e.name == name) else {
            break;
        };
        path.push(entry);
        entries = entry.children;
        inner = sub;
    }
    (path, inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_well_formed() {
        let mut command = root(|_| true);
        command.build();
        command.debug_assert();
        deprecated_flags_exist(commands::ALL);
    }

    fn deprecated_flags_exist(entries: &[Entry]) {
        for entry in entries {
            let command = (entry.arguments)(Command::new(entry.name));
            for (name, _) in entry.deprecated {
                assert!(
                    command.get_arguments().any(|a| a.get_id() == name),
                    "{}: {name}",
                    entry.name
                );
            }
            deprecated_flags_exist(entry.children);
        }
    }
}
