//! Docker's volumes begin with what the image has at their place, where nothing else was asked for
//! (surface: "implicit-volume copy-up").

use std::path::{Path, PathBuf};

use appc::{PodManifest, RuntimeApp, VolumeKind};
use pod::Dir;
use rustix::fs::OFlags;
use sandbox::root::Root;
use stage1_abi::{PrivateUsers, annotation, path};

use crate::failure::{Doing, Failure};
use crate::images::Rendered;
use crate::launch;
use crate::manifest;

/// Where the files of an app's image are.
#[derive(Debug)]
pub(crate) enum Files<'a> {
    /// In the tree store, below this data directory.
    Store(&'a Path),
    /// Copied for the pod.
    Copy(PathBuf),
}

/// Makes the directories of the implicit volumes of an app from a Docker image, and copies what the
/// image has there. Other images' volumes are left to stage1, which makes them empty.
pub(crate) fn fill(
    dir: &Dir,
    pod: &PodManifest,
    app: &RuntimeApp,
    image: &Rendered,
    files: &Files<'_>,
    users: Option<PrivateUsers>,
) -> Result<(), Failure> {
    if image
        .manifest
        .annotations
        .get(annotation::DOCKER_REPOSITORY)
        .is_none()
    {
        return Ok(());
    }
    let Some(volumes) = implicit(pod, app, image) else {
        return Ok(());
    };
    let problem = || format!("cannot fill the volumes of app {:?}", app.name.as_str());
    let view;
    let root = match files {
        Files::Copy(root) => Root::open(root),
        Files::Store(data_dir) => {
            view = launch::image(data_dir, &image.tree)?;
            Root::open(&launch::by_descriptor(&view))
        }
    }
    .doing_with(problem)?;
    dir.mkdir(path::SHARED_VOLUMES, 0o755).doing_with(problem)?;
    for (key, target) in volumes {
        let relative = Path::new(path::SHARED_VOLUMES).join(key);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // What is not in the image, or is no directory there, has nothing to give.
        let Ok(from) = root.open_file(Path::new(target), flags) else {
            continue;
        };
        dir.mkdir(&relative, 0o755).doing_with(problem)?;
        let owner = |id| users.map_or(id, |users| users.on_host(id));
        let from = launch::by_descriptor(&from);
        store::copy_tree(&from, &dir.path().join(&relative), &owner).doing_with(problem)?;
    }
    Ok(())
}

/// The directories of the app's implicit volumes below the pod's volumes, and the places in the
/// image that they cover; `None` if there is none.
fn implicit<'a>(
    pod: &PodManifest,
    app: &'a RuntimeApp,
    image: &'a Rendered,
) -> Option<Vec<(String, &'a str)>> {
    let points = app.app.as_ref().or(image.manifest.app.as_ref());
    let points = points.map_or(&[][..], |a| &a.mount_points);
    let volume = |point: &'a appc::MountPoint| {
        let mount = app.mounts.iter().find(|m| m.path == point.path)?;
        let name = manifest::implicit_volume(&app.name, &point.name).ok()?;
        let volume = pod.volume_of(mount)?;
        let implicit = volume.name == name && volume.kind == VolumeKind::Empty;
        let key = path::volume_key(&app.name, mount.app_volume.is_some(), &volume.name);
        implicit.then_some((key, point.path.as_str()))
    };
    let found: Vec<_> = points.iter().filter_map(volume).collect();
    (!found.is_empty()).then_some(found)
}
