//! `rkt status`.

use std::process::ExitCode;
use std::time::Duration;

use pod::{Pod, Pods, State};

use super::pod_json::PodJson;
use super::pretty::{Format, format_flag};
use super::{Entry, network, uuids};
use crate::cli::flags::{Values, boolean, go_duration, optional, words};
use crate::failure::{Doing, Failure};
use crate::output::{self, human};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "status",
    about: "Check the status of a rkt pod",
    usage: "status [--wait=bool|timeout] [--wait-ready=bool|timeout] --uuid-file=FILE | UUID",
    long: "Prints assorted information about the pod such as its state, pid and exit status.\n\nThe --wait and --wait-ready flags can be used to wait for the pod to finish or to become ready.\nBoth take a boolean or the longest time to wait.",
    arguments: |command| {
        command.args([
            optional(
                "wait",
                "true",
                "false",
                "toggle waiting for the pod to finish. Accepts a boolean or a duration",
            ),
            optional(
                "wait-ready",
                "true",
                "false",
                "toggle waiting for the pod to be ready. Accepts a boolean or a duration",
            ),
            format_flag(),
            uuids::file_flag(),
            words("uuid"),
        ])
    },
    run: |context, matches| {
        let uuid = match uuids::given_or_1(matches)? {
            mut one if one.len() == 1 => one.remove(0),
            _ => return Err(Failure::new("exactly one UUID is expected")),
        };
        let (wait, ready) = (
            Wait::parse("wait", matches.str("wait"))?,
            Wait::parse("wait-ready", matches.str("wait-ready"))?,
        );
        let format = Format::parse(matches.str("format"))?;
        let pods = context.pods()?;
        let mut pod = context.pod(&pods, &uuid)?;
        if let Some(limit) = ready.0 {
            pod = pods
                .wait_ready(pod, limit)
                .doing("unable to wait for the pod to be ready")?;
        }
        if let Some(limit) = wait.0 {
            pod = finished(&pods, pod, limit)?;
        }
        match format {
            Format::Text => text(&pod)?,
            format => format.print(&PodJson::of(&pod)?)?,
        }
        Ok(ExitCode::SUCCESS)
    },
    ..Entry::BASE
};

/// A flag that is a boolean or a duration: whether to wait, and for how long at most.
struct Wait(Option<Option<Duration>>);

impl Wait {
    fn parse(flag: &str, text: &str) -> Result<Self, Failure> {
        match (boolean(text), go_duration(text)) {
            (Ok(wait), _) => Ok(Self(wait.then_some(None))),
            (_, Ok(limit)) => Ok(Self(Some(Some(limit)))),
            _ => Err(Failure::new(format!(
                "invalid value {text:?} for --{flag}: must be a boolean or a duration"
            ))),
        }
    }
}

fn finished(pods: &Pods, pod: Pod, limit: Option<Duration>) -> Result<Pod, Failure> {
    pods.wait_finished(pod, limit)
        .doing("unable to wait for the pod to finish")
}

fn text(pod: &Pod) -> Result<(), Failure> {
    let problem = || format!("unable to print status of pod {:?}", pod.uuid());
    let state = pod.state();
    let mut text = format!("state={state}\n");
    if let Some(created) = pod.created().doing_with(problem)? {
        text.push_str(&format!("created={}\n", human::local(created)));
    }
    if let Some(started) = pod.started().doing_with(problem)? {
        text.push_str(&format!("started={}\n", human::local(started)));
    }
    if state == State::Running || state.is_exited() {
        let networks = network::of(pod).doing_with(problem)?;
        text.push_str(&format!("networks={}\n", network::describe(&networks)));
    }
    if state == State::Running || state.is_exited() {
        // Of an exited pod the pid is history, and the pod's main process cannot be asked any more.
        if let Some(pid) = pod.pid().unwrap_or(None) {
            text.push_str(&format!("pid={pid}\n"));
        }
        text.push_str(&format!("exited={}\n", state.is_exited()));
    }
    if state.is_exited() {
        let manifest = pod.manifest().doing_with(problem)?;
        for app in manifest.iter().flat_map(|m| &m.apps) {
            if let Some(status) = pod.app_exit_status(&app.name).doing_with(problem)? {
                text.push_str(&format!("app-{}={status}\n", app.name));
            }
        }
    }
    output::out(&text);
    Ok(())
}
