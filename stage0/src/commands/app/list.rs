//! `rkt app list`.

use std::process::ExitCode;

use clap::ArgMatches;

use super::FAILED;
use crate::cli::flags::{Values, switch, words};
use crate::commands::Entry;
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};
use crate::output::{self, table};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "list",
    about: "List apps in a pod",
    usage: "list UUID",
    long: "Prints the apps of a pod and their states: created, running or exited.",
    arguments: |command| {
        command.args([
            switch("no-legend", "suppress a legend with the list"),
            words("uuid"),
        ])
    },
    run: |context, matches| list(context, matches).map_err(|f| f.with_status(FAILED)),
    ..Entry::BASE
};

fn list(context: &Context, matches: &ArgMatches) -> Outcome {
    let given = matches.strings("uuid");
    let [uuid] = given.as_slice() else {
        return Err(Failure::new("must provide exactly one pod UUID"));
    };
    let pods = context.pods()?;
    let pod = context.pod(&pods, uuid)?;
    let problem = || format!("cannot list the apps of pod {:?}", pod.uuid());
    let manifest = pod.manifest().doing_with(problem)?;
    let mut text = String::new();
    if !matches.is("no-legend") {
        text.push_str("NAME\tSTATE\n");
    }
    for app in manifest.iter().flat_map(|m| &m.apps) {
        let state = pod.app_state(&app.name).doing_with(problem)?;
        text.push_str(&format!("{}\t{}\n", app.name, state.as_str()));
    }
    output::out(&table::align(&text));
    Ok(ExitCode::SUCCESS)
}
