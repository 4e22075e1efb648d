//! Help texts in the original's layout, made from the same definitions that parse.

use clap::{Arg, ArgAction, Command};

use crate::commands::Entry;
use crate::output::table::align;

/// The program's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The help text of rkt itself (`path` empty) or of a command.
pub(crate) fn render(path: &[&Entry]) -> String {
    let mut text = String::from("NAME:\n");
    let command = match path.last() {
        None => {
            text.push_str(
                "\trkt - rkt, the application container runner\n\nUSAGE:\n\trkt [command]\n",
            );
            text.push_str(&format!("\nVERSION:\n\t{VERSION}\n"));
            Command::new("rkt")
        }
        Some(entry) => {
            let names: Vec<_> = path.iter().map(|e| e.name).collect();
            text.push_str(&format!("\t{} - {}\n", names.join(" "), entry.about));
            let parents = &names[..names.len() - 1];
            let prefix: String = parents.iter().map(|n| format!("{n} ")).collect();
            text.push_str(&format!("\nUSAGE:\n\trkt {prefix}{}\n", entry.usage));
            (entry.arguments)(Command::new(entry.name))
        }
    };
    let children = path.last().map_or(crate::commands::ALL, |e| e.children);
    if !children.is_empty() {
        text.push_str("\nCOMMANDS:\n");
        for child in children.iter().filter(|c| !c.hidden) {
            text.push_str(&format!("\t{}\t{}\n", child.name, child.about));
        }
    }
    let long = path.last().map_or(ABOUT, |e| e.long);
    if !long.is_empty() {
        text.push_str("\nDESCRIPTION:\n");
        long.lines()
            .for_each(|l| text.push_str(&format!("\t{l}\n")));
    }
    let globals = flags(&super::globals(Command::new("rkt")));
    match path.is_empty() {
        true => section(&mut text, "OPTIONS", &globals),
        false => {
            section(&mut text, "OPTIONS", &flags(&command));
            section(&mut text, "GLOBAL OPTIONS", &globals);
        }
    }
    align(&text)
}

const ABOUT: &str = "A CLI for running app containers on Linux.

To get the help on any specific command, run \"rkt help command\".";

fn section(text: &mut String, title: &str, flags: &str) {
    if !flags.is_empty() {
        text.push_str(&format!("\n{title}:\n{flags}"));
    }
}

/// The visible flags of a command, sorted, one a line.
fn flags(command: &Command) -> String {
    let mut args: Vec<&Arg> = command
        .get_arguments()
        .filter(|a| !a.is_hide_set() && a.get_long().is_some())
        .collect();
    args.sort_by_key(|a| a.get_long());
    args.into_iter().map(flag).collect()
}

fn flag(arg: &Arg) -> String {
    let name = arg.get_long().unwrap_or_default();
    let default = arg
        .get_default_values()
        .iter()
        .map(|v| v.to_string_lossy())
        .collect::<Vec<_>>()
        .join(",");
    let default = match super::flags::is_string(arg) {
        true => format!("{default:?}"),
        false => default,
    };
    let value = match (super::flags::may_be_bare(arg), arg.get_action()) {
        (true, _) => format!("[={default}]"),
        (false, ArgAction::SetTrue) => String::new(),
        (false, _) => format!("={default}"),
    };
    let help = arg.get_help().map(|h| h.to_string()).unwrap_or_default();
    format!("\t--{name}{value}\t{help}\n")
}
