//! `rkt enter`.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};
use stage1_abi::EnterArgs;

use super::{Entry, running};
use crate::cli::flags::{Values, switch, text};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::stage1::{Entrypoints, Kind};

/// What is run when nothing is named.
const DEFAULT_COMMAND: &str = "/bin/bash";

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "enter",
    about: "Enter the namespaces of an app within a rkt pod",
    usage: "enter [--app=APPNAME] UUID [CMD [ARGS ...]]",
    long: "By default the CMD that is run is /bin/bash, providing the user with shell access\nto the running pod. It runs as the app does: its user and groups, environment,\nworking directory, capabilities, system call filter and limits; with --privileged as\nroot with none of that.\n\n\trkt enter --app=redis 5b2f redis-cli ping",
    arguments,
    run: enter,
    needs_root: true,
    joins: true,
    ..Entry::BASE
};

/// Adds the flags.
pub(super) fn arguments(command: Command) -> Command {
    let words = Arg::new("words")
        .action(ArgAction::Append)
        .num_args(0..)
        .trailing_var_arg(true)
        .allow_hyphen_values(true);
    command.args([
        text(
            "app",
            "",
            "name of the app to enter within the specified pod",
        ),
        switch(
            "privileged",
            "run the command as root, without the app's capability and system call restrictions",
        ),
        words,
    ])
}

/// Becomes the command, in the app.
pub(super) fn enter(context: &Context, matches: &ArgMatches) -> Outcome {
    let words = matches.strings("words");
    let Some((uuid, command)) = words.split_first() else {
        return Err(Failure::new("must provide the pod UUID"));
    };
    let pods = context.pods()?;
    let pod = running::find(context, &pods, uuid)?;
    let app = running::app(&pod, matches.str("app"), "enter")?;
    let pid = running::pid(&pod)?;
    let command: Vec<OsString> = match command {
        [] => {
            output::note(&format!(
                "no command specified, assuming {DEFAULT_COMMAND:?}"
            ));
            vec![DEFAULT_COMMAND.into()]
        }
        given => given.iter().map(OsString::from).collect(),
    };
    let entrypoints = Entrypoints::of(context, &pod)?;
    let args = EnterArgs {
        pid,
        app,
        privileged: matches.is("privileged"),
        command,
    };
    Err(entrypoints.exec(&pod, Kind::Enter, args.to_args()))
}
