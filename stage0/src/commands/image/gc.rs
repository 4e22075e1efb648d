//! `rkt image gc`.

use std::process::ExitCode;

use pod::{Phase, PrepareLock};
use store::GcOptions;

use crate::cli::flags::{Values, duration};
use crate::commands::Entry;
use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::images::Images;
use crate::output;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "gc",
    about: "Garbage collect local store",
    usage: "gc",
    long: "This is intended to be run periodically from a timer or cron job.\n\nThe default grace period is 24h. Use --grace-period=0s to effectively disable\nthe grace-period.",
    arguments: |command| {
        command.arg(duration(
            "grace-period",
            "24h0m0s",
            "duration to wait since an image was last used before removing it",
        ))
    },
    run: |context, matches| {
        // While this is held no pod can start to use a tree.
        let _lock =
            PrepareLock::exclusive(&context.data_dir).doing("cannot lock the tree store")?;
        let images = Images::open(context);
        let mut options = used_by_pods(context)?;
        options.grace = matches.duration("grace-period");
        let report = images
            .store
            .gc(&options)
            .doing("cannot collect unused images")?;
        for tree in &report.trees {
            output::note(&format!("removed treestore {tree:?}"));
        }
        for image in &report.images {
            super::rm::removed(&image.id);
        }
        let removed = report.images.len();
        if removed > 0 {
            output::note(&format!("{removed} image(s) successfully removed"));
        }
        Ok(ExitCode::SUCCESS)
    },
    ..Entry::BASE
};

/// What pods need, in whatever state they are.
fn used_by_pods(context: &Context) -> Result<GcOptions, Failure> {
    let mut used = GcOptions::default();
    context
        .pods()?
        .walk(&Phase::ALL, |pod| -> Result<(), pod::Error> {
            used.trees_in_use.extend(pod.stage1_tree()?);
            // A pod whose manifest cannot be read uses what its other files say.
            for app in pod.manifest().ok().flatten().iter().flat_map(|m| &m.apps) {
                used.images_in_use.insert(app.image.id.clone());
                used.trees_in_use.extend(pod.app_tree(&app.name)?);
            }
            Ok(())
        })
        .doing("cannot tell which images pods use")?;
    Ok(used)
}
