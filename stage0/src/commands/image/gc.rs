//! `rkt image gc`.

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use pod::{Phase, PrepareLock};

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
        images
            .store
            .clean()
            .doing("cannot remove what interrupted commands left")?;
        let used = Used::by_pods(context)?;
        let removed = remove_images(&images, &used, matches.duration("grace-period"))?;
        remove_trees(&images, &used)?;
        if removed > 0 {
            output::note(&format!("{removed} image(s) successfully removed"));
        }
        Ok(ExitCode::SUCCESS)
    },
    ..Entry::BASE
};

/// What pods need, in whatever state they are.
#[derive(Debug, Default)]
struct Used {
    images: HashSet<String>,
    trees: HashSet<String>,
}

impl Used {
    fn by_pods(context: &Context) -> Result<Self, Failure> {
        let mut used = Self::default();
        let pods = context.pods()?;
        pods.walk(&Phase::ALL, |pod| -> Result<(), pod::Error> {
            used.trees.extend(pod.stage1_tree()?);
            // A pod whose manifest cannot be read uses what its other files say.
            for app in pod.manifest().ok().flatten().iter().flat_map(|m| &m.apps) {
                used.images.insert(app.image.id.to_string());
                used.trees.extend(pod.app_tree(&app.name)?);
            }
            Ok(())
        })
        .doing("cannot tell which images pods use")?;
        Ok(used)
    }
}

fn remove_images(images: &Images, used: &Used, grace: Duration) -> Result<usize, Failure> {
    let mut removed = 0;
    let now = SystemTime::now();
    for image in images.store.list().doing("cannot list the images")? {
        let idle = now.duration_since(image.last_used).unwrap_or_default();
        let needed = used.images.contains(image.id.as_str());
        if idle >= grace && !needed {
            super::rm::remove(images, &image.id)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes trees that no pod uses and no image in the store has.
fn remove_trees(images: &Images, used: &Used) -> Result<(), Failure> {
    let mut kept = used.trees.clone();
    for image in images.store.list().doing("cannot list the images")? {
        if let Ok(tree) = images.store.tree_id(&image.id) {
            kept.insert(tree.to_string());
        }
    }
    for tree in images
        .store
        .trees_rendered()
        .doing("cannot list the trees")?
    {
        if kept.contains(tree.as_str()) {
            continue;
        }
        images
            .store
            .remove_tree(&tree)
            .doing_with(|| format!("cannot remove treestore {tree}"))?;
        output::note(&format!("removed treestore {:?}", tree.as_str()));
    }
    Ok(())
}
