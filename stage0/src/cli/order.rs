//! The command first: flags of a command may stand before it, and its name may be cut short.

use std::ffi::OsString;

use super::groups::GLOBALS_WITH_VALUE;
use super::usage::find;
use crate::commands::ALL;

/// Global flags without a value.
const GLOBAL_SWITCHES: [&str; 4] = ["--debug", "--trust-keys-from-https", "--help", "-h"];

/// Puts flags that stand before the command and are its own behind it, and writes out its name.
pub(super) fn command_first(args: Vec<OsString>) -> Vec<OsString> {
    let mut args = args.into_iter().peekable();
    let mut ordered: Vec<OsString> = args.next().into_iter().collect();
    let (mut own, mut entries) = (Vec::new(), ALL);
    while let Some(arg) = args.next_if(|arg| !entries.is_empty() && arg != "--") {
        let text = arg.to_string_lossy();
        if !text.starts_with('-') {
            let Some(entry) = find(entries, &text) else {
                own.push(arg);
                break;
            };
            ordered.push(entry.name.into());
            entries = entry.children;
            continue;
        }
        let name = text.split('=').next().unwrap_or_default();
        let with_value = GLOBALS_WITH_VALUE.contains(&name);
        let global = with_value || GLOBAL_SWITCHES.contains(&name);
        let alone = text.contains('=') || (global && !with_value);
        let place = if global { &mut ordered } else { &mut own };
        place.push(arg);
        // What follows a flag of nobody knows which command is its value, unless it is a command.
        let is_value = |next: &OsString| {
            let next = next.to_string_lossy();
            with_value || !(next.starts_with('-') || find(entries, &next).is_some())
        };
        if !alone && let Some(value) = args.next_if(is_value) {
            place.push(value);
        }
    }
    ordered.into_iter().chain(own).chain(args).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(line: &str) -> String {
        let words = line.split_whitespace().map(OsString::from).collect();
        let words = command_first(words).into_iter();
        let words: Vec<_> = words.map(|w| w.into_string().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn flags_follow_the_command_they_belong_to() {
        for (given, expected) in [
            (
                "rkt --net=none run a --exec=b",
                "rkt run --net=none a --exec=b",
            ),
            ("rkt --grace-period 1h gc", "rkt gc --grace-period 1h"),
            ("rkt --no-legend list --full", "rkt list --no-legend --full"),
            (
                "rkt --dir /run --full im --debug li x",
                "rkt --dir /run image --debug list --full x",
            ),
            (
                "rkt --debug --quiet prep a -- run",
                "rkt --debug prepare --quiet a -- run",
            ),
            ("rkt list --dir=x", "rkt list --dir=x"),
            ("rkt --no-such thing", "rkt --no-such thing"),
            ("rkt nothing --x run", "rkt nothing --x run"),
            ("rkt", "rkt"),
        ] {
            assert_eq!(ordered(given), expected);
        }
    }

    #[test]
    fn the_global_flags_are_all_listed() {
        let command = crate::cli::globals(clap::Command::new("rkt"));
        let mut flags = vec!["-h".to_owned()];
        flags.extend(
            command
                .get_arguments()
                .map(|arg| format!("--{}", arg.get_id())),
        );
        let mut listed = [&GLOBALS_WITH_VALUE[..], &GLOBAL_SWITCHES].concat();
        flags.sort();
        listed.sort_unstable();
        assert_eq!(flags, listed);
    }

    #[test]
    fn what_the_original_understood_is_not_ambiguous() {
        for (given, expected) in [
            ("rkt stat u", "rkt status u"),
            ("rkt l", "rkt list"),
            ("rkt lo u", "rkt logs u"),
            ("rkt stats u", "rkt stats u"),
            ("rkt st", "rkt st"),
        ] {
            assert_eq!(ordered(given), expected);
        }
    }
}
