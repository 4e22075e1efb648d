//! Flags as the original's had them: GNU long options, a value behind `=` or in the next word, a
//! last one that wins, booleans that take `=true` and `=false`.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};

/// Marks flags whose default is quoted in the help text.
const STRING: &str = "STRING";

/// A boolean: `--name`, `--name=true`, `--name=false`.
pub(crate) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .value_parser(boolean)
}

/// A string; the last one given counts.
pub(crate) fn text(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::Set)
        .value_name(STRING)
        .default_value(default)
        .allow_hyphen_values(true)
}

/// A flag that may be given many times.
pub(crate) fn list(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::Append)
        .allow_hyphen_values(true)
}

/// A flag that means `bare` when it stands without a value.
pub(crate) fn optional(
    name: &'static str,
    bare: &'static str,
    default: &'static str,
    help: &'static str,
) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value(bare)
        .default_value(default)
}

/// A duration such as `30m` or `1h30m0s`.
pub(crate) fn duration(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::Set)
        .default_value(default)
        .allow_hyphen_values(true)
        .value_parser(go_duration)
}

/// Positional arguments.
pub(crate) fn words(name: &'static str) -> Arg {
    Arg::new(name).action(ArgAction::Append).num_args(0..)
}

/// Whether the help text quotes the flag's default.
pub(crate) fn is_string(arg: &Arg) -> bool {
    arg.get_value_names()
        .is_some_and(|names| names.iter().any(|n| n.as_str() == STRING))
}

/// Whether the flag may stand without a value.
pub(crate) fn may_be_bare(arg: &Arg) -> bool {
    arg.is_require_equals_set()
}

/// A boolean as Go's strconv.ParseBool reads it.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("parsing {text:?}: invalid syntax")),
    }
}

/// A duration as Go's time.ParseDuration reads it; negative ones are refused.
pub(crate) fn go_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("invalid duration {text:?}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| format!("missing unit in duration {text:?}"))?;
        let (number, tail) = rest.split_at(digits);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(format!("unknown unit {unit:?} in duration {text:?}")),
        };
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| invalid())?;
        total = total.checked_add(part).ok_or_else(invalid)?;
        rest = tail;
    }
    Ok(total)
}

/// Values of parsed flags. Asking for a flag that the command does not have is a mistake in the
/// program and ends it, which the tests of every command would show.
pub(crate) trait Values {
    /// A boolean.
    fn is(&self, name: &str) -> bool;
    /// A string; empty when it was not given.
    fn str(&self, name: &str) -> &str;
    /// All values of a flag or of the positional arguments.
    fn strings(&self, name: &str) -> Vec<String>;
    /// A duration.
    fn duration(&self, name: &str) -> Duration;
    /// Whether the flag stands on the command line.
    fn given(&self, name: &str) -> bool;
}

impl Values for ArgMatches {
    fn is(&self, name: &str) -> bool {
        self.get_one::<bool>(name).copied().unwrap_or(false)
    }

    fn str(&self, name: &str) -> &str {
        self.get_one::<String>(name).map_or("", String::as_str)
    }

    fn strings(&self, name: &str) -> Vec<String> {
        self.get_many::<String>(name)
            .map(|v| v.cloned().collect())
            .unwrap_or_default()
    }

    fn duration(&self, name: &str) -> Duration {
        self.get_one::<Duration>(name).copied().unwrap_or_default()
    }

    fn given(&self, name: &str) -> bool {
        // Not every command has every deprecated flag.
        self.try_contains_id(name).unwrap_or(false)
            && self.value_source(name) == Some(clap::parser::ValueSource::CommandLine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_does() {
        for (text, seconds) in [
            ("1h30m", 5400.0),
            ("30m0s", 1800.0),
            ("1.5h", 5400.0),
            ("250ms", 0.25),
            ("0", 0.0),
        ] {
            assert_eq!(
                go_duration(text),
                Ok(Duration::from_secs_f64(seconds)),
                "{text}"
            );
        }
        for bad in ["", "5", "h", "1x", "-1s", "1..5s", "1e3s"] {
            assert!(go_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn booleans_are_read_as_go_does() {
        assert_eq!(boolean("T"), Ok(true));
        assert_eq!(boolean("0"), Ok(false));
        assert!(boolean("yes").is_err());
    }
}
