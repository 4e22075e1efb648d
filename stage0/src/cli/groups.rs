//! Arguments of images: `IMAGE -- args --- IMAGE …`.
//!
//! `--` starts the arguments of the image before it and `---` or the end of the line ends them.
//! They are taken out before anything else is parsed; a hidden flag stays behind in their place, so
//! that the parser's positions tell which image they belong to.

use std::ffi::OsString;

use clap::{ArgMatches, Id};

/// The hidden flag that marks where a group stood.
pub(crate) const MARK: &str = "app-args-group";

/// The groups taken out, in order.
pub(crate) type Groups = Vec<Vec<String>>;

/// Commands whose images take arguments.
const GROUPED: [&str; 2] = ["run", "prepare"];
/// The one among the subcommands of `app`.
const GROUPED_APP: [&str; 2] = ["app", "add"];

/// Global flags that take the next word as their value.
pub(super) const GLOBALS_WITH_VALUE: [&str; 7] = [
    "--dir",
    "--system-config",
    "--local-config",
    "--user-config",
    "--insecure-options",
    "--cpuprofile",
    "--memprofile",
];

/// Takes the groups out of a command line of `run` or `prepare`, whose command is
/// [written out](super::order); leaves every other one alone.
pub(crate) fn split(args: Vec<OsString>) -> Result<(Vec<OsString>, Groups), String> {
    let words = words(&args);
    let command = words.first().cloned().unwrap_or_default();
    let adds = words.iter().take(2).eq(&GROUPED_APP);
    let grouped = adds || GROUPED.contains(&command.as_str());
    if !grouped || !args.iter().any(|a| a == "--" || a == "---") {
        return Ok((args, Groups::new()));
    }
    let (mut kept, mut groups) = (Vec::with_capacity(args.len()), Groups::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        // An image without arguments may be ended like one with some.
        if arg == "---" {
            continue;
        }
        if arg != "--" {
            kept.push(arg);
            continue;
        }
        let mut group = Vec::new();
        for arg in args.by_ref().take_while(|a| a != "---") {
            let text = arg
                .into_string()
                .map_err(|bad| format!("image argument {bad:?} is not UTF-8"))?;
            group.push(text);
        }
        kept.push(format!("--{MARK}={}", groups.len()).into());
        groups.push(group);
    }
    Ok((kept, groups))
}

/// The name of a flag that stands before `--` and takes the mark for its value.
pub(super) fn without_value(matches: &ArgMatches) -> Option<&str> {
    let mark = format!("--{MARK}=");
    let took = |id: &str| {
        let mut values = matches.get_raw(id).into_iter().flatten();
        values.any(|value| value.as_encoded_bytes().starts_with(mark.as_bytes()))
    };
    matches.ids().map(Id::as_str).find(|id| took(id))
}

/// The words of a command line that are no flags and no values of global flags.
pub(crate) fn words(args: &[OsString]) -> Vec<String> {
    let mut words = Vec::new();
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        if GLOBALS_WITH_VALUE.contains(&text.as_ref()) {
            args.next();
        } else if text == "--" {
            break;
        } else if !text.starts_with('-') {
            words.push(text.into_owned());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::order::command_first;
    use super::*;

    fn line(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn groups_are_taken_out_where_images_have_them() {
        let (kept, groups) =
            split(line("rkt --dir /d run a -- -x --- b --name=c -- y ---")).unwrap();
        assert_eq!(
            kept,
            line("rkt --dir /d run a --app-args-group=0 b --name=c --app-args-group=1")
        );
        assert_eq!(groups, [["-x"], ["y"]]);
        let (kept, groups) = split(line("rkt run a --- b -- c")).unwrap();
        assert_eq!(kept, line("rkt run a b --app-args-group=0"));
        assert_eq!(groups, [["c"]]);
        let enter = line("rkt enter u -- ls");
        assert_eq!(split(enter.clone()).unwrap(), (enter, Groups::new()));
        let (_, groups) = split(command_first(line("rkt prep a -- z"))).unwrap();
        assert_eq!(groups, [["z"]]);
    }
}
