//! `rkt app add`.

use std::process::ExitCode;

use appc::Mount;
use clap::ArgMatches;
use pod::PrepareLock;

use crate::cli::flags::{Values, list, words};
use crate::cli::groups::MARK;
use crate::commands::run_flags::strict_isolators;
use crate::commands::{Entry, pod_flags, running};
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};
use crate::images::Images;
use crate::manifest::{self, MergedImage};
use crate::mutable::MutablePod;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "add",
    about: "Add an app to a pod",
    usage: "add UUID IMAGEID ...",
    long: "Puts an image of the store into a running pod that \"rkt app sandbox\" started, as an app that\n\"rkt app start\" starts. Arguments follow the image after \"--\".",
    arguments: |command| {
        command.args(pod_flags::per_app()).args([
            list("mnt-volume", "volume and where it is mounted in the app. Syntax: --mnt-volume=name=NAME,kind=host|empty,source=PATH,target=PATH[,readOnly=BOOL]"),
            list(MARK, "").hide(true),
            strict_isolators(),
            words("image"),
        ])
    },
    run: add,
    joins: true,
    ..Entry::BASE
};

fn add(context: &Context, matches: &ArgMatches) -> Outcome {
    let mut request = pod_flags::read_apps(matches, &context.groups, 1)?;
    let words = matches.strings("image");
    let (Some(uuid), [app]) = (words.first(), request.apps.as_mut_slice()) else {
        return Err(Failure::new("must provide the pod UUID and one image"));
    };
    app.mounts.append(&mut request.mounts);
    for given in matches.strings("mnt-volume") {
        let mount = Mount::parse_with_volume(&given).doing("invalid value for --mnt-volume")?;
        app.mounts.push(mount);
    }
    let pods = context.pods()?;
    let pod = running::find(context, &pods, uuid)?;
    let pid = running::pid(&pod)?;
    let pod = MutablePod::new(context, pod, pid)?;
    let images = Images::open(context);
    let id = images.lookup(&app.image)?;
    // From here to the end no collection may take the tree away.
    let _lock = PrepareLock::shared(&context.data_dir).doing("cannot lock the tree store")?;
    let mut image = images.render(&id)?;
    images.call(&mut image, &app.image)?;
    let merged = MergedImage {
        id: image.id.clone(),
        manifest: image.manifest.clone(),
    };
    let changing = pod.lock()?;
    let runtime = manifest::add(&changing.manifest, app, &merged)?;
    let name = runtime.name.to_string();
    let created = pod.pod().app_times(&name).doing("cannot inspect the pod")?;
    if created[0].is_some() && changing.manifest.app(&name).is_some() {
        return Err(Failure::new(format!(
            "app {name:?} is in pod {:?} already: give this one another name with --name",
            pod.pod().uuid()
        )));
    }
    let mut args = pod.args(&name);
    args.uuid = Some(pod.pod().uuid().to_owned());
    args.insecure = context.insecure.run;
    args.strict_isolators = matches.is("strict-isolators");
    changing.add(&images, runtime, &image, &args)?;
    Ok(ExitCode::SUCCESS)
}
