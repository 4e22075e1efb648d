//! `rkt gc`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use pod::{MarkedAs, Phase, Pod};
use stage1_abi::GcArgs;

use super::Entry;
use crate::cli::flags::{Values, duration, switch};
use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::output;
use crate::stage1::{Entrypoints, Kind};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "gc",
    about: "Garbage collect rkt pods no longer in use",
    usage: "gc [--grace-period=duration] [--expire-prepared=duration]",
    long: "This is intended to be run periodically from a timer or cron job.\n\nGarbage collection is a 2-step process. First, stopped pods are moved to the\ngarbage by one invocation of the gc command. A subsequent invocation will clean\nup the pod, assuming the pod has been in the garbage for more time than the\nspecified grace period.\n\nUse --grace-period=0s to effectively disable the grace-period.",
    arguments: |command| {
        command.args([
            duration("grace-period", "30m0s", "duration to wait before discarding inactive pods from garbage"),
            duration("expire-prepared", "24h0m0s", "duration to wait before expiring prepared pods"),
            switch("mark-only", "if set to true, then the exited/aborted pods will be moved to the garbage directories without actually deleting them, this is useful for marking the exit time of a pod"),
        ])
    },
    run: |context, matches| {
        let pods = context.pods()?;
        pods.mark(matches.duration("expire-prepared"), |pod, marked| {
            output::line(&match marked {
                MarkedAs::Exited => format!("Moving pod {:?} to garbage", pod.uuid()),
                MarkedAs::Aborted => format!("Moving failed prepare {:?} to garbage", pod.uuid()),
                MarkedAs::Expired => {
                    format!("Moving expired prepared pod {:?} to garbage", pod.uuid())
                }
            });
        })
        .doing("cannot move exited pods to the garbage")?;
        if matches.is("mark-only") {
            return Ok(ExitCode::SUCCESS);
        }
        let failures = AtomicUsize::new(0);
        pods.sweep(
            matches.duration("grace-period"),
            |locked| {
                let pod = locked.pod();
                if pod.phase() != Phase::Embryo {
                    output::line(&format!("Garbage collecting pod {:?}", pod.uuid()));
                    release(context, pod);
                }
            },
            |uuid, error| {
                failures.fetch_add(1, Ordering::Relaxed);
                let failed: Result<(), _> = Err(error);
                if let Err(failure) = failed.doing_with(|| format!("cannot remove pod {uuid:?}")) {
                    output::note(&failure.brief());
                }
            },
        )
        .doing("cannot collect the garbage")?;
        match failures.into_inner() {
            0 => Ok(ExitCode::SUCCESS),
            n => Err(Failure::new(format!("{n} pod(s) could not be removed"))),
        }
    },
    needs_root: true,
    ..Entry::BASE
};

/// Lets stage1 free what a pod still holds outside its directory. A pod that never had a stage1, or
/// whose stage1 cannot be called any more, is removed all the same.
pub(super) fn release(context: &Context, pod: &Pod) {
    if pod.phase() != Phase::ExitedGarbage {
        return;
    }
    let call = || -> Result<(), Failure> {
        let entrypoints = Entrypoints::of(context, pod)?;
        let args = GcArgs {
            uuid: pod.uuid().to_owned(),
            debug: context.debug,
            local_config: Some(context.local_config.clone()),
        };
        let status = entrypoints
            .call(pod, Kind::Gc, args.to_args(entrypoints.version()))
            .doing("cannot call stage1's gc")?;
        match status.success() {
            true => Ok(()),
            false => Err(Failure::new(format!("stage1's gc failed: {status}"))),
        }
    };
    if let Err(failure) = call() {
        output::note(&format!("pod {:?}: {}", pod.uuid(), failure.brief()));
    }
}
