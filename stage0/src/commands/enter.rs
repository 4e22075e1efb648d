//! `rkt enter`.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches};
use pod::{Pod, State};
use stage1_abi::EnterArgs;

use super::Entry;
use crate::cli::flags::{Values, text};
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};
use crate::output;
use crate::stage1::{Entrypoints, Kind};

/// What is run when nothing is named.
const DEFAULT_COMMAND: &str = "/bin/bash";

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "enter",
    about: "Enter the namespaces of an app within a rkt pod",
    usage: "enter [--app=APPNAME] UUID [CMD [ARGS ...]]",
    long: "By default the CMD that is run is /bin/bash, providing the user with shell access\nto the running pod.",
    arguments: |command| {
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
            words,
        ])
    },
    run: enter,
    needs_root: true,
    ..Entry::BASE
};

fn enter(context: &Context, matches: &ArgMatches) -> Outcome {
    let words = matches.strings("words");
    let Some((uuid, command)) = words.split_first() else {
        return Err(Failure::new("must provide the pod UUID"));
    };
    let pods = context.pods()?;
    let pod = context.pod(&pods, uuid)?;
    if pod.state() != State::Running {
        return Err(Failure::new(format!(
            "pod {:?} isn't currently running, it is {}",
            pod.uuid(),
            pod.state()
        )));
    }
    let app = choose_app(&pod, matches.str("app"))?;
    let pid = pod
        .pid()
        .doing_with(|| format!("unable to determine the pid of pod {:?}", pod.uuid()))?
        .ok_or_else(|| {
            Failure::new(format!("pod {:?} has not started its apps yet", pod.uuid()))
        })?;
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
    let args = EnterArgs { pid, app, command };
    Err(entrypoints.exec(&pod, Kind::Enter, args.to_args()))
}

/// The app that was named, or the only one.
fn choose_app(pod: &Pod, named: &str) -> Result<String, Failure> {
    let manifest = pod
        .manifest()
        .doing("problem loading the pod manifest")?
        .ok_or_else(|| Failure::new(format!("pod {:?} has no manifest", pod.uuid())))?;
    let names: Vec<_> = manifest.apps.iter().map(|a| a.name.to_string()).collect();
    match (named, names.as_slice()) {
        ("", []) => Err(Failure::new("pod contains zero apps")),
        ("", [only]) => Ok(only.clone()),
        ("", _) => {
            let list: String = names.iter().map(|n| format!("\t{n}\n")).collect();
            output::err(&format!("Pod contains multiple apps:\n{list}"));
            Err(Failure::new(
                "unable to determine app name: specify app using \"rkt enter --app= ...\"",
            ))
        }
        (named, names) if names.iter().any(|n| n == named) => Ok(named.to_owned()),
        (named, names) => Err(Failure::new(format!(
            "app {named:?} is not in the pod, which has: {}",
            names.join(", ")
        ))),
    }
}
