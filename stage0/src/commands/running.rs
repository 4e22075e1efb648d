//! What the commands on running pods and their apps share.

use pod::{Pod, Pods, State};

use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::output;

/// The pod of this UUID, which must be running.
pub(super) fn find(context: &Context, pods: &Pods, uuid: &str) -> Result<Pod, Failure> {
    let pod = context.pod(pods, uuid)?;
    match pod.state() {
        State::Running => {
            crate::rootless::join(context, &pod)?;
            Ok(pod)
        }
        state => Err(Failure::new(format!(
            "pod {:?} isn't currently running, it is {state}",
            pod.uuid()
        ))),
    }
}

/// Its PID 1, on the host.
pub(crate) fn pid(pod: &Pod) -> Result<u32, Failure> {
    pod.pid()
        .doing_with(|| format!("unable to determine the pid of pod {:?}", pod.uuid()))?
        .ok_or_else(|| Failure::new(format!("pod {:?} has not started its apps yet", pod.uuid())))
}

/// The app that was named, or the only one. `command` is the one that lacks a name.
pub(super) fn app(pod: &Pod, named: &str, command: &str) -> Result<String, Failure> {
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
            Err(Failure::new(format!(
                "unable to determine app name: specify app using \"rkt {command} --app= ...\""
            )))
        }
        (named, names) if names.iter().any(|n| n == named) => Ok(named.to_owned()),
        (named, names) => Err(Failure::new(format!(
            "app {named:?} is not in the pod, which has: {}",
            names.join(", ")
        ))),
    }
}
