//! `rkt app start`, `rkt app stop` and `rkt app rm`.

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use stage1_abi::path;

use crate::cli::flags::{Values, text, words};
use crate::commands::{Entry, running};
use crate::context::Context;
use crate::failure::Failure;
use crate::mutable::MutablePod;
use crate::stage1::Kind;

/// What `app/stop` answers for an app that is not running.
const NOT_RUNNING: i32 = 5;

/// The entry of `start` in the table of commands.
pub(super) const START: Entry = Entry {
    name: "start",
    about: "Start an app in a pod",
    usage: "start UUID --app=NAME",
    long: "Starts an app that was added to the pod, or again one that ended. Returns when its program\nruns; starting one that runs already has no effect.",
    arguments,
    run: |context, matches| {
        let (pod, app) = find(context, matches, "start")?;
        pod.stamp(&path::app_started(&app))?;
        match pod.call(Kind::AppStart, &pod.args(&app))? {
            0 => Ok(ExitCode::SUCCESS),
            _ => Err(failed("start", &app, &pod)),
        }
    },
    joins: true,
    ..Entry::BASE
};

/// The entry of `stop` in the table of commands.
pub(super) const STOP: Entry = Entry {
    name: "stop",
    about: "Stop an app in a pod",
    usage: "stop UUID --app=NAME",
    long: "Ends an app: it is asked with TERM, and killed after a while. Its files stay until \"rkt app rm\".",
    arguments,
    run: |context, matches| {
        let (pod, app) = find(context, matches, "stop")?;
        match pod.call(Kind::AppStop, &pod.args(&app))? {
            0 => Ok(ExitCode::SUCCESS),
            NOT_RUNNING => Err(Failure::new(format!("app {app:?} is not running"))),
            _ => Err(failed("stop", &app, &pod)),
        }
    },
    joins: true,
    ..Entry::BASE
};

/// The entry of `rm` in the table of commands.
pub(super) const RM: Entry = Entry {
    name: "rm",
    about: "Remove an app from a pod",
    usage: "rm UUID --app=NAME",
    long: "Ends an app if it runs and removes it from the pod, with its files.",
    arguments,
    run: |context, matches| {
        let (pod, app) = find(context, matches, "remove")?;
        pod.lock()?.remove(&app)?;
        Ok(ExitCode::SUCCESS)
    },
    joins: true,
    ..Entry::BASE
};

fn arguments(command: Command) -> Command {
    command.args([text("app", "", "app name"), words("uuid")])
}

/// The pod and the app that were named.
fn find<'c>(
    context: &'c Context,
    matches: &ArgMatches,
    verb: &str,
) -> Result<(MutablePod<'c>, String), Failure> {
    let given = matches.strings("uuid");
    let [uuid] = given.as_slice() else {
        return Err(Failure::new("must provide exactly one pod UUID"));
    };
    let app = match matches.str("app") {
        "" => return Err(Failure::new(format!("must provide the app to {verb}"))),
        app => app.to_owned(),
    };
    let pods = context.pods()?;
    let pod = running::find(context, &pods, uuid)?;
    let app = running::app(&pod, &app, "app")?;
    let pid = running::pid(&pod)?;
    Ok((MutablePod::new(context, pod, pid)?, app))
}

fn failed(verb: &str, app: &str, pod: &MutablePod<'_>) -> Failure {
    Failure::new(format!(
        "cannot {verb} app {app:?} of pod {:?}",
        pod.pod().uuid()
    ))
}
