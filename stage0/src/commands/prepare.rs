//! `rkt prepare`, and the part of it that `rkt run` shares.

use std::process::ExitCode;

use appc::{AcIdentifier, PodManifest};
use clap::{ArgMatches, Command};
use pod::{Pods, PrepareLock, PreparingPod};
use stage1_abi::annotation;

use super::run_flags::strict_isolators;
use super::{Entry, file_systems, pod_flags};
use crate::cli::flags::{Values, switch};
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};
use crate::images::{Images, PullPolicy, Rendered};
use crate::manifest::{self, AppRequest, MergedImage, PodRequest};
use crate::output;
use crate::podfiles::{self, Ingredients, Users};
use crate::stage1::{self, Stage1Choice};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "prepare",
    about: "Prepare to run image(s) in a pod in rkt",
    usage: "prepare [--volume=name,kind=host,...] [--mount volume=VOL,target=PATH] [--quiet] IMAGE [-- image-args...[---]]...",
    long: "Image should be a string referencing an image; either a hash, local file on disk, or URL.\nThey will be checked in that order and the first match will be used.\n\nAn \"--\" may be used to inhibit rkt prepare's parsing of subsequent arguments,\nwhich will instead be appended to the preceding image app's exec arguments.\nEnd the image arguments with a lone \"---\" to resume argument parsing.",
    arguments: |command: Command| {
        pod_flags::arguments(command)
            .arg(switch(
                "quiet",
                "suppress superfluous output on stdout, print only the UUID on success",
            ))
            .arg(strict_isolators())
    },
    run: |context, matches| -> Outcome {
        let request = Request::read(context, matches)?;
        let (pods, preparing, _) = prepare(context, &request)?;
        let pod = preparing
            .into_prepared(&pods)
            .doing("cannot move the pod to the prepared phase")?;
        output::line(pod.uuid());
        Ok(ExitCode::SUCCESS)
    },
    needs_root: true,
    deprecated: pod_flags::DEPRECATED,
    ..Entry::BASE
};

/// What is to be prepared.
#[derive(Debug)]
pub(super) struct Request {
    what: What,
    stage1: Stage1Choice,
    policy: PullPolicy,
    no_overlay: bool,
    private_users: bool,
    /// What flags say of the pod, as its manifest does.
    annotations: Vec<(&'static str, String)>,
}

/// The apps of the pod.
#[derive(Debug)]
enum What {
    /// From images and flags.
    Images(Box<PodRequest>),
    /// From a finished pod manifest.
    Manifest(Box<PodManifest>),
}

impl Request {
    /// Reads the command line.
    pub(super) fn read(context: &Context, matches: &ArgMatches) -> Result<Self, Failure> {
        let request = pod_flags::read(matches, &context.groups)?;
        let what = match matches.str("pod-manifest") {
            "" if request.apps.is_empty() => {
                return Err(Failure::new(
                    "must provide at least one image or specify the pod manifest",
                ));
            }
            "" => What::Images(Box::new(request)),
            file => {
                conflicts(matches, &request)?;
                What::Manifest(Box::new(read_manifest(file)?))
            }
        };
        Ok(Self {
            what,
            stage1: Stage1Choice::read(matches)?,
            policy: PullPolicy::read(matches)?,
            no_overlay: matches.is("no-overlay"),
            private_users: private_users(matches)?,
            annotations: annotations(matches)?,
        })
    }

    /// A pod without apps, to which they will be added while it runs.
    pub(super) fn sandbox(manifest: PodManifest, matches: &ArgMatches) -> Result<Self, Failure> {
        Ok(Self {
            what: What::Manifest(Box::new(manifest)),
            stage1: Stage1Choice::read(matches)?,
            policy: PullPolicy::Never,
            no_overlay: matches.is("no-overlay"),
            private_users: private_users(matches)?,
            annotations: annotations(matches)?,
        })
    }

    /// How many apps the pod will have.
    pub(super) fn app_count(&self) -> usize {
        match &self.what {
            What::Images(request) => request.apps.len(),
            What::Manifest(manifest) => manifest.apps.len(),
        }
    }
}

/// `--private-users`. The kernel shows no file of an ordinary user's under further ids.
fn private_users(matches: &ArgMatches) -> Result<bool, Failure> {
    match matches.is("private-users") {
        true if !sandbox::ids::is_hosts() => Err(Failure::new(
            "--private-users needs root: an ordinary user's pods have a user namespace anyway",
        )),
        wanted => Ok(wanted),
    }
}

/// A pod manifest leaves nothing to say about images.
fn conflicts(matches: &ArgMatches, request: &PodRequest) -> Result<(), Failure> {
    let flags = [
        "volume",
        "mount",
        "port",
        "inherit-env",
        "set-env",
        "set-env-file",
        "pull-policy",
    ];
    let flag = flags.into_iter().find(|f| matches.given(f));
    match (request.apps.is_empty(), flag) {
        (true, None) => Ok(()),
        (_, Some(flag)) => Err(Failure::new(format!(
            "conflicting flags set with --pod-manifest: --{flag}"
        ))),
        (false, None) => Err(Failure::new(
            "images cannot be given together with --pod-manifest",
        )),
    }
}

fn read_manifest(file: &str) -> Result<PodManifest, Failure> {
    use std::io::Read;
    let problem = || format!("cannot read the pod manifest {file:?}");
    let mut bytes = Vec::new();
    let limit = appc::MAX_MANIFEST as u64 + 1;
    std::fs::File::open(file)
        .and_then(|f| f.take(limit).read_to_end(&mut bytes))
        .doing_with(problem)?;
    let manifest = PodManifest::parse(&bytes).doing_with(problem)?;
    match manifest.apps.is_empty() {
        false => Ok(manifest),
        true => Err(Failure::new(format!(
            "the pod manifest {file:?} has no apps"
        ))),
    }
}

/// Finds the images and makes the pod, up to the end of the prepare phase.
pub(super) fn prepare(
    context: &Context,
    request: &Request,
) -> Result<(Pods, PreparingPod, Ingredients), Failure> {
    let images = Images::open(context);
    let ids = match &request.what {
        What::Images(pod) => {
            let find = |app: &AppRequest| {
                images.find(
                    context,
                    &app.image,
                    request.policy,
                    app.signature.as_deref(),
                )
            };
            pod.apps.iter().map(find).collect::<Result<Vec<_>, _>>()?
        }
        What::Manifest(pod) => {
            let known = pod.apps.iter().map(|a| images.by_hash(a.image.id.as_str()));
            known.collect::<Result<Vec<_>, _>>()?
        }
    };
    // From here to the end no collection may take a tree away.
    let _lock = PrepareLock::shared(&context.data_dir).doing("cannot lock the tree store")?;
    let stage1 = stage1::choose(context, &images, &request.stage1)?;
    let mut rendered: Vec<Rendered> = ids
        .iter()
        .map(|id| images.render(id))
        .collect::<Result<_, _>>()?;
    if let What::Images(pod) = &request.what {
        for (image, app) in rendered.iter_mut().zip(&pod.apps) {
            images.call(image, &app.image)?;
        }
    }
    let merged: Vec<MergedImage> = rendered
        .iter()
        .map(|r| MergedImage {
            id: r.id.clone(),
            manifest: r.manifest.clone(),
        })
        .collect();
    let mut manifest = match &request.what {
        What::Images(pod) => manifest::generate(pod, &merged)?,
        What::Manifest(pod) => manifest::adopt((**pod).clone(), &merged)?,
    };
    for (name, value) in &request.annotations {
        let name = AcIdentifier::parse(name).doing("invalid annotation")?;
        manifest.annotations.set(name, value);
    }
    let mut made_of = Ingredients {
        manifest,
        stage1,
        images: rendered,
        overlay: !request.no_overlay && overlay_works(&images),
        users: request.private_users.then(Users::default),
        labels: None,
    };
    let pods = Pods::create(&context.data_dir).doing("cannot open the pods")?;
    let pod = podfiles::prepare(context, &pods, &images, &mut made_of)?;
    Ok((pods, pod, made_of))
}

fn annotations(matches: &ArgMatches) -> Result<Vec<(&'static str, String)>, Failure> {
    let mut annotations = file_systems::annotations(matches)?;
    if matches.is("strict-isolators") {
        annotations.push((annotation::STRICT_ISOLATORS, "true".into()));
    }
    Ok(annotations)
}

/// Whether overlays can be used; if not, the user is told why.
fn overlay_works(images: &Images) -> bool {
    match images.overlay_supported() {
        Ok(()) => true,
        Err(reason) => {
            output::note(&format!("disabling overlay support: {reason:?}"));
            false
        }
    }
}
