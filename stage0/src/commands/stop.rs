//! `rkt stop`.

use pod::{Pods, State};

use super::{Entry, uuids};
use crate::cli::flags::{Values, switch, words};
use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::output;
use crate::stage1::{Entrypoints, Kind};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "stop",
    about: "Stop a pod",
    usage: "stop --uuid-file=FILE | UUID ...",
    long: "Takes a list of UUIDs and stops them.",
    arguments: |command| {
        command.args([
            switch("force", "forced stopping"),
            uuids::file_flag(),
            words("uuid"),
        ])
    },
    run: |context, matches| {
        let given = uuids::given_or_1(matches)?;
        let pods = context.pods()?;
        super::each(given, |uuid| {
            stop(context, &pods, uuid, matches.is("force"))
        })
    },
    ..Entry::BASE
};

fn stop(context: &Context, pods: &Pods, uuid: &str, force: bool) -> Result<(), Failure> {
    let pod = context.pod(pods, uuid)?;
    match pod.state() {
        State::Running => {}
        state if state.is_exited() => {
            output::line(&format!("pod {:?} is already stopped", pod.uuid()));
            return Ok(());
        }
        state => {
            return Err(Failure::new(format!(
                "pod {:?} is not running, it is {state}",
                pod.uuid()
            )));
        }
    }
    let entrypoints = Entrypoints::of(context, &pod)?;
    let args = stage1_abi::StopArgs {
        uuid: pod.uuid().to_owned(),
        force,
        debug: context.debug,
    };
    let status = entrypoints
        .call(&pod, Kind::Stop, args.to_args())
        .doing_with(|| format!("error stopping {:?}", pod.uuid()))?;
    if !status.success() {
        return Err(Failure::new(format!(
            "error stopping {:?}: {status}",
            pod.uuid()
        )));
    }
    output::line(&format!("{:?}", pod.uuid()));
    Ok(())
}
