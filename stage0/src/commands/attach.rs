//! `rkt attach`.

use std::process::ExitCode;

use clap::ArgMatches;
use stage1_abi::{AttachAction, AttachArgs, Wanted};

use super::{Entry, running};
use crate::cli::flags::{Values, switch, text, words};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::stage1::{Entrypoints, Kind};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "attach",
    about: "Attach to an app running within a rkt pod",
    usage: "attach [--app=APPNAME] [--mode=MODE] UUID",
    long: "Connects this terminal or these streams to those of an app that was started with \"tty\" or\n\"stream\" as --stdin, --stdout or --stderr. Several clients may be attached at once; typing ^]\nthree times detaches from a terminal, and the app goes on.\n\n    rkt run --uuid-file-save=/tmp/pod example.com/shell --stdin=tty --stdout=tty --stderr=tty &\n    rkt attach $(cat /tmp/pod)",
    arguments: |command| {
        command.args([
            text("app", "", "name of the app to attach to within the specified pod"),
            text("mode", "auto", "attach mode: \"list\", \"auto\", or a comma-separated list of \"stdin\", \"stdout\", \"stderr\", \"tty\", \"tty-in\", \"tty-out\""),
            switch("replay", "first show what the app wrote before, as far as it was kept"),
            words("uuid"),
        ])
    },
    run: attach,
    needs_root: true,
    joins: true,
    ..Entry::BASE
};

fn attach(context: &Context, matches: &ArgMatches) -> Outcome {
    let action = action(matches.str("mode"))?;
    let given = matches.strings("uuid");
    let [uuid] = given.as_slice() else {
        return Err(Failure::new("must provide exactly one pod UUID"));
    };
    let pods = context.pods()?;
    let pod = running::find(context, &pods, uuid)?;
    let args = AttachArgs {
        app: running::app(&pod, matches.str("app"), "attach")?,
        action,
        replay: matches.is("replay"),
        debug: context.debug,
    };
    let entrypoints = Entrypoints::of(context, &pod)?;
    let status = entrypoints.cross(&pod, Kind::Attach, running::pid(&pod)?, args.to_args())?;
    match status.success() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(Failure::new(format!(
            "cannot attach to app {:?} of pod {:?}: {status}",
            args.app,
            pod.uuid()
        ))),
    }
}

/// Reads `--mode`. A terminal and streams exclude each other.
fn action(mode: &str) -> Result<AttachAction, Failure> {
    match mode {
        "list" => return Ok(AttachAction::List),
        "auto" | "" => return Ok(AttachAction::Auto),
        _ => {}
    }
    let mut wanted = Wanted::default();
    for part in mode.split(',') {
        match part {
            "stdin" => wanted.stdin = true,
            "stdout" => wanted.stdout = true,
            "stderr" => wanted.stderr = true,
            "tty-in" => wanted.tty_in = true,
            "tty-out" => wanted.tty_out = true,
            "tty" => (wanted.tty_in, wanted.tty_out) = (true, true),
            _ => {
                return Err(Failure::new(format!(
                    "invalid value {mode:?} for --mode: there is no mode {part:?}"
                )));
            }
        }
    }
    let streams = wanted.stdin || wanted.stdout || wanted.stderr;
    match streams && (wanted.tty_in || wanted.tty_out) {
        true => Err(Failure::new(format!(
            "invalid value {mode:?} for --mode: a terminal and streams exclude each other"
        ))),
        false => Ok(AttachAction::Custom(wanted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_checked() {
        assert_eq!(action("list").unwrap(), AttachAction::List);
        assert_eq!(action("auto").unwrap(), AttachAction::Auto);
        let AttachAction::Custom(wanted) = action("stdin,stdout").unwrap() else {
            panic!()
        };
        assert!(wanted.stdin && wanted.stdout && !wanted.stderr);
        for bad in ["tty,stdin", "stdin,", "x", "list,stdin"] {
            assert!(action(bad).is_err(), "{bad}");
        }
    }
}
