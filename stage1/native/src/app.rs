//! The crossing entrypoints `app/add`, `app/start`, `app/stop` and `app/rm`: they prepare on the
//! host what the pod's supervisor cannot reach, and ask it for the rest.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use net::NetList;
use rustix::process::Pid;
use sandbox::cgroup::{self, PodCgroup};
use stage1_abi::{AppArgs, env};
use supervisor::control::{Addition, Answer, Request, ask};
use supervisor::copy_volume;

use crate::error::Error;
use crate::plan::{Pod, Volumes};
use crate::{gc, isolators, manifest, mounts, runtime_config};

/// What the supervisor does not do is answered with this status.
const REFUSED: u8 = 1;
/// The status of `app/stop` for an app that is not running (surface: "stage1 app stop").
const NOT_RUNNING: u8 = 5;

/// Adds the app, which stage0 has put into the pod manifest and whose tree it has mounted.
pub(crate) fn add(args: impl IntoIterator<Item = OsString>) -> Result<u8, Error> {
    let args = AppArgs::parse(args)?;
    let pid = supervisor_pid()?;
    let manifest = manifest::pod()?;
    let runtime = manifest
        .app(&args.app)
        .ok_or_else(|| Error::app(&args.app, "the pod manifest does not have it"))?;
    let (mut run_args, labels) = runtime_config::read(args.uuid.as_deref().unwrap_or_default())?;
    run_args.interactive = false;
    for (pod, app) in [
        (
            &mut run_args.insecure.disable_paths,
            args.insecure.disable_paths,
        ),
        (
            &mut run_args.insecure.disable_seccomp,
            args.insecure.disable_seccomp,
        ),
        (
            &mut run_args.insecure.disable_capabilities,
            args.insecure.disable_capabilities,
        ),
    ] {
        *pod |= app;
    }
    let directories = gc::cgroups();
    let pod_cgroup = match directories.as_slice() {
        [] => None,
        some => Some(PodCgroup::open(some)?),
    };
    run_args.strict_isolators = args.strict_isolators;
    let nets = NetList::parse(&run_args.net).map_err(|e| Error::Network(e.to_string()))?;
    let means = isolators::Means {
        cgroups: pod_cgroup.is_some(),
        own_network: nets != NetList::Host,
    };
    let isolation = isolators::of_pod(&manifest, &run_args, means, labels.as_ref())?;
    let pod = Pod {
        args: &run_args,
        manifest: &manifest,
        own_network: means.own_network,
        user_namespace: crate::plan::has_user_namespace(&run_args, sandbox::ids::is_hosts()),
        devices: &[],
        isolation: &isolation,
    };
    let mut volumes = Volumes::new();
    let plan = pod.app(runtime, &mut volumes, &|name, limits, devices| {
        let cgroup = pod_cgroup.as_ref();
        cgroup.map(|c| c.app(name, limits, devices)).transpose()
    })?;
    if let Some(device) = volumes.values().find_map(|v| mounts::device(&v.source)) {
        return Err(Error::app(
            &args.app,
            format!("{device} cannot be given to an app of a pod that runs already"),
        ));
    }
    let users = match run_args.private_users {
        Some(_) => Some(sandbox::ids::of(process(pid)?)?),
        None => None,
    };
    let users = users.as_ref().map(AsFd::as_fd);
    let copies = volumes
        .values()
        .map(|volume| copy_volume(volume, users))
        .collect::<Result<Vec<_>, _>>()?;
    let unified = plan.cgroup.as_ref().is_some_and(|c| c.descriptors().1);
    let addition = Addition {
        plan,
        unified,
        volumes: volumes.into_values().map(|v| v.gathered).collect(),
    };
    let answer = addition.send(pid, &copies)?;
    Ok(report(&args.app, answer, REFUSED))
}

/// Starts the app; its program runs when this returns.
pub(crate) fn start(args: impl IntoIterator<Item = OsString>) -> Result<u8, Error> {
    let args = AppArgs::parse(args)?;
    let answer = ask(supervisor_pid()?, &Request::Start(args.app.clone()), &[])?;
    Ok(report(&args.app, answer, REFUSED))
}

/// Ends the app and everything that it left running.
pub(crate) fn stop(args: impl IntoIterator<Item = OsString>) -> Result<u8, Error> {
    let args = AppArgs::parse(args)?;
    match ask(supervisor_pid()?, &Request::Stop(args.app.clone()), &[])? {
        Answer::Done => {
            end_processes(&args.app)?;
            Ok(0)
        }
        Answer::Failed(_) => Ok(NOT_RUNNING),
    }
}

/// Removes the app, ending it first if it runs.
pub(crate) fn remove(args: impl IntoIterator<Item = OsString>) -> Result<u8, Error> {
    let args = AppArgs::parse(args)?;
    let pid = supervisor_pid()?;
    // One that is not running needs no end.
    ask(pid, &Request::Stop(args.app.clone()), &[])?;
    end_processes(&args.app)?;
    let answer = ask(pid, &Request::Remove(args.app.clone()), &[])?;
    let code = report(&args.app, answer, REFUSED);
    for directory in app_cgroups(&args.app) {
        cgroup::remove(&directory)?;
    }
    Ok(code)
}

fn report(app: &str, answer: Answer, refused: u8) -> u8 {
    match answer {
        Answer::Done => 0,
        Answer::Failed(reason) => {
            eprintln!("stage1: app {app:?}: {reason}");
            refused
        }
    }
}

/// What the app left running after its own end.
fn end_processes(app: &str) -> Result<(), Error> {
    for directory in app_cgroups(app) {
        cgroup::end(&directory)?;
    }
    Ok(())
}

fn app_cgroups(app: &str) -> Vec<PathBuf> {
    let directories = gc::cgroups().into_iter().map(|dir| dir.join(app));
    directories.filter(|dir| Path::new(dir).is_dir()).collect()
}

fn process(pid: u32) -> Result<Pid, Error> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.ok_or(Error::EnterPid(env::ENTER_PID))
}

/// PID 1 of the pod, on the host.
pub(crate) fn supervisor_pid() -> Result<u32, Error> {
    std::env::var(env::ENTER_PID)
        .ok()
        .and_then(|pid| pid.parse().ok())
        .ok_or(Error::EnterPid(env::ENTER_PID))
}
