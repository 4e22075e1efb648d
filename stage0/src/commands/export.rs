//! `rkt export`.

use std::path::Path;
use std::process::ExitCode;

use pod::Pod;
use stage1_abi::{PrivateUsers, path};

use super::{Entry, running};
use crate::cli::flags::{Values, switch, text, words};
use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::launch::{self, Overlay};
use crate::output::file::{must_be_aci, write_whole};

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "export",
    about: "Export an app from an exited pod to an ACI file",
    usage: "export [--app=APPNAME] UUID OUTPUT_ACI_FILE",
    long: "UUID should be the uuid of an exited pod.\n\nThe image has the app's image manifest and its root file system with all changes\nmade in the pod. What was written to volumes is not part of it.",
    arguments: |command| {
        command.args([
            text(
                "app",
                "",
                "name of the app to export within the specified pod",
            ),
            switch("overwrite", "overwrite output ACI"),
            words("words"),
        ])
    },
    run: |context, matches| {
        let given = matches.strings("words");
        let [uuid, output] = given.as_slice() else {
            return Err(Failure::new("must provide a pod UUID and an output file"));
        };
        let output = Path::new(output);
        must_be_aci(output)?;
        let pods = context.pods()?;
        let pod = context.pod(&pods, uuid)?;
        if !pod.state().is_exited() {
            return Err(Failure::new(format!(
                "pod {:?} is {}: only exited pods can be exported",
                pod.uuid(),
                pod.state()
            )));
        }
        let app = running::app(&pod, matches.str("app"), "export")?;
        // While this process holds the lock, nobody collects the pod.
        let pod = pod.lock(&pods).doing("cannot lock the pod")?;
        export(context, pod.pod(), &app, output, matches.is("overwrite"))?;
        Ok(ExitCode::SUCCESS)
    },
    ..Entry::BASE
};

fn export(
    context: &Context,
    pod: &Pod,
    app: &str,
    output: &Path,
    overwrite: bool,
) -> Result<(), Failure> {
    let problem = || format!("cannot export app {app:?} of pod {:?}", pod.uuid());
    let manifest = pod.app_image(app).doing_with(problem)?.to_json();
    let users = pod
        .dir()
        .read_text(path::PRIVATE_USERS_PREPARED)
        .doing_with(problem)?
        .and_then(|text| text.parse::<PrivateUsers>().ok());
    // What the pod's users own belongs to the image's users again.
    let owner = |id: u32| match users {
        Some(users) if (users.shift..users.shift + users.count).contains(&id) => id - users.shift,
        _ => id,
    };
    let view;
    let rootfs = if pod.uses_overlay().doing_with(problem)? {
        let tree = pod
            .app_tree(app)
            .doing_with(problem)?
            .ok_or_else(|| Failure::new(problem()))?;
        let overlay = Overlay {
            context: None,
            tree,
            app: Some(app.to_owned()),
        };
        view = launch::finished(&context.data_dir, pod.dir().path(), &overlay)?;
        launch::by_descriptor(&view)
    } else {
        let root = pod.dir().path().join(path::STAGE1_ROOTFS);
        root.join(path::app_rootfs(app))
    };
    let writing = || format!("{} to {}", problem(), output.display());
    write_whole(output, overwrite, writing, |file| {
        store::write_aci(&manifest, &rootfs, &owner, file)
    })
}
