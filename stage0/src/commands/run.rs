//! `rkt run`.

use clap::{ArgMatches, Command};

use super::run_flags::RunRequest;
use super::{Entry, pod_flags, prepare, run_flags, uuids};
use crate::cli::flags::{Values, text};
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};
use crate::launch::{self, Launch};
use crate::{podfiles, stage1};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "run",
    about: "Run image(s) in a pod in rkt",
    usage: "run [--volume=name,kind=host,...] [--mount volume=VOL,target=PATH] IMAGE [-- image-args...[---]]...",
    long: "IMAGE should be a string referencing an image; either a hash, local file on disk, or URL.\nThey will be checked in that order and the first match will be used.\n\nVolumes are made available to the container via --volume.\nMounts bind volumes into each image's root within the container via --mount.\n--mount is position-sensitive; occurring before any images applies to all images,\noccurring after any images applies only to the nearest preceding image. Per-app\nmounts take precedence over global ones if they have the same path.\n\nAn \"--\" may be used to inhibit rkt run's parsing of subsequent arguments,\nwhich will instead be appended to the preceding image app's exec arguments.\nEnd the image arguments with a lone \"---\" to resume argument parsing.",
    arguments: |command: Command| {
        run_flags::arguments(pod_flags::arguments(command)).arg(text(
            "uuid-file-save",
            "",
            "write out pod UUID to specified file",
        ))
    },
    run,
    needs_root: true,
    deprecated: pod_flags::DEPRECATED,
    ..Entry::BASE
};

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let how = run_flags::read(context, matches)?;
    let request = prepare::Request::read(context, matches)?;
    if how.args.interactive && request.app_count() > 1 {
        return Err(Failure::new("interactive option only supports one image"));
    }
    Err(start(context, &request, how, matches.str("uuid-file-save")))
}

/// Prepares a pod and becomes it. Returns only to say why that failed.
pub(super) fn start(
    context: &Context,
    request: &prepare::Request,
    how: RunRequest,
    uuid_file: &str,
) -> Failure {
    let start = || -> Result<std::convert::Infallible, Failure> {
        let (pods, preparing, mut made_of) = prepare::prepare(context, request)?;
        let stage1 = &made_of.stage1;
        if how.args.mutable && !stage1::is_mutable(&stage1.manifest) {
            return Err(Failure::new(format!(
                "the stage1 image {:?} cannot run pods whose apps come and go",
                stage1.manifest.name.as_str()
            )));
        }
        uuids::save(uuid_file, preparing.uuid())?;
        let apps = made_of.manifest.apps.iter();
        let names: Vec<_> = apps.map(|a| a.name.to_string()).collect();
        let tree = made_of.overlay.then_some(stage1.tree.as_str());
        podfiles::before_start(
            preparing.dir(),
            &stage1_abi::path::stage1_written(tree),
            &names,
            how.resolv_conf.as_deref(),
            how.hosts(preparing.uuid()).as_deref(),
            made_of.private_users(),
        )?;
        let mut args = how.args;
        args.uuid = preparing.uuid().to_owned();
        args.private_users = made_of.private_users();
        let launch = Launch {
            overlays: made_of.overlays(),
            users: made_of.users.take().and_then(|users| users.namespace),
            labels: made_of.labels.take(),
            entrypoint: stage1::run_path(&stage1.manifest)?,
            version: stage1::interface_version(&stage1.manifest),
            args,
        };
        let running = preparing
            .into_running(&pods)
            .doing("cannot move the pod to the run phase")?;
        Err(launch::exec(context, running, &launch))
    };
    match start() {
        Err(failure) => failure,
    }
}
