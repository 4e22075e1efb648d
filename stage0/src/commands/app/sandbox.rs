//! `rkt app sandbox`.

use appc::{AcIdentifier, ExposedPort, PodManifest};
use clap::ArgMatches;
use stage1_abi::annotation;

use super::FAILED;
use crate::cli::flags::{Values, list, switch, text};
use crate::commands::{Entry, file_systems, pod_flags, prepare, run, run_flags};
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "sandbox",
    about: "Create an empty pod application sandbox",
    usage: "sandbox",
    long: "Starts a pod without apps, to which apps can be added while it runs. It ends when it is stopped.\n\nFor the kubelet, the annotation coreos.com/rkt/experiment/logmode=k8s-plain leads the lines of apps to\nfiles as well, in the directory coreos.com/rkt/experiment/kubernetes-log-dir. Each app's is what the\nannotation coreos.com/rkt/experiment/kubernetes-log-path says when it is added.",
    arguments: |command| {
        let command = run_flags::arguments(command).args([
            switch("no-overlay", "disable overlay filesystem"),
            switch("private-users", "run within user namespaces"),
            list(
                "port",
                "ports to forward. format: \"name:proto:podPort:hostIP:hostPort\"",
            ),
            list(
                "annotation",
                "set the pod's annotations (example: '--annotation=foo=bar')",
            ),
            list(
                "user-annotation",
                "set the pod's annotations (example: '--user-annotation=foo=bar')",
            ),
            list(
                "user-label",
                "set the pod's labels (example: '--user-label=foo=bar')",
            ),
            text("uuid-file-save", "", "write out pod UUID to specified file"),
        ]);
        crate::stage1::arguments(command).args(file_systems::flags())
    },
    run: |context, matches| sandbox(context, matches).map_err(|f| f.with_status(FAILED)),
    needs_root: true,
    ..Entry::BASE
};

fn sandbox(context: &Context, matches: &ArgMatches) -> Outcome {
    let mut how = run_flags::read(context, matches)?;
    if how.args.interactive {
        return Err(Failure::new("a sandbox has no app to interact with"));
    }
    how.args.mutable = true;
    let request = prepare::Request::sandbox(manifest(matches)?, matches)?;
    let uuid_file = matches.str("uuid-file-save");
    Err(run::start(context, &request, how, uuid_file))
}

/// The manifest of a pod without apps.
fn manifest(matches: &ArgMatches) -> Result<PodManifest, Failure> {
    let mut manifest = PodManifest::new();
    let mut annotate = |name: &str, value: &str| -> Result<(), Failure> {
        let name = AcIdentifier::parse(name).doing("invalid value for --annotation")?;
        manifest.annotations.set(name, value);
        Ok(())
    };
    annotate(annotation::MUTABLE, "true")?;
    for given in matches.strings("annotation") {
        let (name, value) = pod_flags::pair("annotation", &given)?;
        annotate(name, value)?;
    }
    for (flag, map) in [
        ("user-annotation", &mut manifest.user_annotations),
        ("user-label", &mut manifest.user_labels),
    ] {
        for given in matches.strings(flag) {
            let (name, value) = pod_flags::pair(flag, &given)?;
            map.insert(name.to_owned(), value.to_owned());
        }
    }
    for given in matches.strings("port") {
        let port = ExposedPort::parse_with_pod_port(&given).doing("invalid value for --port")?;
        manifest.ports.push(port);
    }
    Ok(manifest)
}
