//! `rkt run-prepared`.

use appc::{PodManifest, RuntimeApp};
use clap::ArgMatches;
use pod::{LockedPod, Pods, State};
use stage1_abi::Labels;

use super::{Entry, run_flags};
use crate::cli::flags::{Values, words};
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};
use crate::launch::{self, Launch, Overlay};
use crate::{podfiles, private_users, selinux, stage1};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "run-prepared",
    about: "Run a prepared application pod in rkt",
    usage: "run-prepared UUID",
    long: "UUID must have been acquired via `rkt prepare`.",
    arguments: |command| run_flags::arguments(command).arg(words("uuid")),
    run: run_prepared,
    needs_root: true,
    ..Entry::BASE
};

fn run_prepared(context: &Context, matches: &ArgMatches) -> Outcome {
    let words = matches.strings("uuid");
    let [uuid] = words.as_slice() else {
        return Err(Failure::new("must provide exactly one pod UUID"));
    };
    let start = run_flags::read(context, matches)?;
    let pods = context.pods()?;
    let locked = take(context, &pods, uuid)?;
    let pod = locked.pod();
    let problem = || format!("cannot load prepared pod {:?}", pod.uuid());
    let manifest = pod
        .manifest()
        .doing_with(problem)?
        .ok_or_else(|| Failure::new(problem()))?;
    if start.args.interactive && manifest.apps.len() > 1 {
        return Err(Failure::new(
            "interactive option only supports pods with one app",
        ));
    }
    let stage1 = pod.stage1_manifest().doing_with(problem)?;
    let names: Vec<_> = manifest.apps.iter().map(|a| a.name.to_string()).collect();
    let written = pod.stage1_written().doing_with(problem)?;
    let users = private_users::of(pod.dir())?;
    podfiles::before_start(
        pod.dir(),
        &written,
        &names,
        start.resolv_conf.as_deref(),
        start.hosts(pod.uuid()).as_deref(),
        users,
    )?;
    let mut args = start.args;
    args.uuid = pod.uuid().to_owned();
    args.private_users = users;
    let labels = selinux::of_prepared(&pods, pod.dir(), &manifest)?;
    let overlays = overlays(&locked, &manifest, labels.as_ref())?;
    let launch = Launch {
        users: match users.filter(|_| !overlays.is_empty()) {
            Some(users) => Some(private_users::namespace(users)?),
            None => None,
        },
        overlays,
        labels,
        entrypoint: stage1::run_path(&stage1)?,
        version: stage1::interface_version(&stage1),
        args,
    };
    let running = locked
        .into_running(&pods)
        .doing("cannot move the pod to the run phase")?;
    Err(launch::exec(context, running, &launch))
}

/// Locks the pod. Of two that want to run it, one wins.
fn take(context: &Context, pods: &Pods, uuid: &str) -> Result<LockedPod, Failure> {
    let pod = context.pod(pods, uuid)?;
    if pod.state() != State::Prepared {
        return Err(Failure::new(format!(
            "pod {:?} is not prepared, it is {}",
            pod.uuid(),
            pod.state()
        )));
    }
    pod.lock(pods)
        .doing("cannot transition the pod to run: is it being run already?")
}

/// The trees that the pod was prepared with.
fn overlays(
    locked: &LockedPod,
    manifest: &PodManifest,
    labels: Option<&Labels>,
) -> Result<Vec<Overlay>, Failure> {
    let pod = locked.pod();
    let problem = || format!("cannot find the trees of pod {:?}", pod.uuid());
    if !pod.uses_overlay().doing_with(problem)? {
        return Ok(Vec::new());
    }
    let tree = |tree: Option<String>, app: Option<&RuntimeApp>| match tree {
        Some(tree) if !tree.is_empty() && !tree.contains('/') => Ok(Overlay {
            tree,
            app: app.map(|app| app.name.to_string()),
            context: selinux::of_root(labels, app.and_then(|app| app.app.as_ref())),
        }),
        _ => Err(Failure::new(problem())),
    };
    let mut all = vec![tree(pod.stage1_tree().doing_with(problem)?, None)?];
    for app in &manifest.apps {
        let id = pod.app_tree(&app.name).doing_with(problem)?;
        all.push(tree(id, Some(app))?);
    }
    Ok(all)
}
