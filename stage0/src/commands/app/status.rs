//! `rkt app status`.

use std::process::ExitCode;

use clap::ArgMatches;

use super::FAILED;
use crate::cli::flags::{Values, text, words};
use crate::commands::pod_json::AppJson;
use crate::commands::pretty::{Format, format_flag};
use crate::commands::{Entry, running};
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};
use crate::output;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "status",
    about: "Print the status of an app in a pod",
    usage: "status UUID --app=NAME [--format=json]",
    long: "Prints the state of an app, when it was created, started and ended, and its exit status.",
    arguments: |command| command.args([text("app", "", "app name"), format_flag(), words("uuid")]),
    run: |context, matches| status(context, matches).map_err(|f| f.with_status(FAILED)),
    ..Entry::BASE
};

fn status(context: &Context, matches: &ArgMatches) -> Outcome {
    let format = Format::parse(matches.str("format"))?;
    let given = matches.strings("uuid");
    let [uuid] = given.as_slice() else {
        return Err(Failure::new("must provide exactly one pod UUID"));
    };
    if matches.str("app").is_empty() {
        return Err(Failure::new("must provide the app to print the status of"));
    }
    let pods = context.pods()?;
    let pod = context.pod(&pods, uuid)?;
    let name = running::app(&pod, matches.str("app"), "app status")?;
    let manifest = pod
        .manifest()
        .doing("cannot read the pod manifest")?
        .unwrap_or_default();
    let app = manifest
        .app(&name)
        .ok_or_else(|| Failure::new(format!("app {name:?} is not in the pod")))?;
    let json = AppJson::of(&pod, &manifest, app)?;
    match format {
        Format::Text => output::out(&json.text()),
        format => format.print(&json)?,
    }
    Ok(ExitCode::SUCCESS)
}
