//! An app's mounts, and the volumes that they show.

use std::path::{Path, PathBuf};

use appc::{App, PodManifest, RuntimeApp, Volume, VolumeKind};
use sandbox::cgroup::Device;
use sandbox::label::selinux::FilesIn;
use stage1_abi::{Labels, PrivateUsers, path};
use supervisor::{MountPlan, VolumePlan};

use crate::error::Error;
use crate::layout;
use crate::plan::Volumes;

/// Who the files that are made for a pod belong to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner<'a> {
    /// The ids of its user namespace.
    pub(crate) users: Option<PrivateUsers>,
    /// Its SELinux contexts.
    pub(crate) labels: Option<&'a Labels>,
}

/// An app's mounts: those of the pod manifest, and its mount points that a volume has the name of.
pub(crate) fn of_app(
    pod: &PodManifest,
    runtime: &RuntimeApp,
    app: &App,
    owner: Owner<'_>,
    volumes: &mut Volumes,
) -> Result<Vec<MountPlan>, Error> {
    let name = runtime.name.as_str();
    let mut mounts: Vec<MountPlan> = Vec::new();
    for mount in &runtime.mounts {
        let volume = pod.volume_of(mount).ok_or_else(|| {
            Error::app(
                name,
                format!(
                    "mount {:?}: there is no volume {:?}",
                    mount.path, mount.volume
                ),
            )
        })?;
        let point = app.mount_points.iter().find(|p| p.path == mount.path);
        let read_only = volume.is_read_only(point);
        // A volume of this app alone must not be taken for the pod's of the same name.
        let key = path::volume_key(name, mount.app_volume.is_some(), &volume.name);
        mounts.push(mount_plan(
            volume,
            &key,
            &mount.path,
            read_only,
            owner,
            volumes,
        )?);
    }
    for point in &app.mount_points {
        let volume = pod.volumes.iter().find(|v| v.name == point.name);
        let Some(volume) = volume.filter(|_| !runtime.mounts.iter().any(|m| m.path == point.path))
        else {
            continue;
        };
        let read_only = volume.is_read_only(Some(point));
        mounts.push(mount_plan(
            volume,
            volume.name.as_str(),
            &point.path,
            read_only,
            owner,
            volumes,
        )?);
    }
    refuse_duplicates(name, &mounts)?;
    Ok(mounts)
}

/// The devices that volumes of the pod give to its apps.
pub(crate) fn devices_of_pod(pod: &PodManifest) -> Vec<Device> {
    let own = pod.apps.iter().flat_map(|app| &app.mounts);
    let own = own.filter_map(|mount| mount.app_volume.as_ref());
    let sources = pod
        .volumes
        .iter()
        .chain(own)
        .filter_map(|v| v.source.as_ref());
    sources.filter_map(device).collect()
}

/// Those that an app's mounts give to it.
pub(crate) fn devices_of_app(mounts: &[MountPlan], volumes: &Volumes) -> Vec<Device> {
    let mounted = |plan: &&VolumePlan| mounts.iter().any(|m| m.volume == plan.gathered);
    let sources = volumes.values().filter(mounted).map(|plan| &plan.source);
    sources.filter_map(device).collect()
}

/// The device at a path, if one is there. What is missing is told when it is mounted.
pub(crate) fn device(source: impl AsRef<Path>) -> Option<Device> {
    Device::of(&rustix::fs::stat(source.as_ref()).ok()?)
}

fn refuse_duplicates(app: &str, mounts: &[MountPlan]) -> Result<(), Error> {
    let mut targets: Vec<&Path> = mounts.iter().map(|m| m.target.as_path()).collect();
    targets.sort_unstable();
    match targets.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::app(app, format!("two mounts at {:?}", pair[0]))),
        None => Ok(()),
    }
}

fn mount_plan(
    volume: &Volume,
    key: &str,
    target: &str,
    read_only: bool,
    owner: Owner<'_>,
    volumes: &mut Volumes,
) -> Result<MountPlan, Error> {
    // The flavor's default is to take what is mounted below along (surface of the original).
    let recursive = volume.recursive.unwrap_or(true);
    let gathered = layout::gathered(key);
    if !volumes.contains_key(key) {
        let source = match (volume.kind, &volume.source) {
            (VolumeKind::Host, Some(source)) => PathBuf::from(source),
            (VolumeKind::Host, None) => {
                return Err(Error::app(key, "a host volume needs a source"));
            }
            (VolumeKind::Empty, _) => empty_volume(volume, key, owner)?,
        };
        volumes.insert(
            key.to_owned(),
            VolumePlan {
                source,
                gathered: gathered.clone(),
                recursive,
                mapped: volume.idmap,
                mount: None,
            },
        );
    }
    Ok(MountPlan {
        volume: gathered,
        target: PathBuf::from(target),
        read_only,
        recursive,
    })
}

/// Makes the directory of an empty volume, which lives as long as the pod. One that is there was
/// filled by stage0, or is another app's too.
fn empty_volume(volume: &Volume, key: &str, owner: Owner<'_>) -> Result<PathBuf, Error> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
    let directory = Path::new(path::SHARED_VOLUMES).join(key);
    if directory.is_dir() {
        return Ok(directory);
    }
    let make = || {
        let label = |labels: &Labels| FilesIn::new(&labels.file);
        let _files = owner.labels.map(label).transpose()?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&directory)?;
        let own = |id: Option<u32>| {
            let id = id.unwrap_or(0);
            owner.users.map_or(id, |users| users.on_host(id))
        };
        chown(&directory, Some(own(volume.uid)), Some(own(volume.gid)))?;
        // After chown, which would take set-id bits away; and free of the umask.
        let mode = std::fs::Permissions::from_mode(volume.mode_bits());
        std::fs::set_permissions(&directory, mode)
    };
    make().map_err(|source| Error::Write {
        path: directory.clone(),
        source,
    })?;
    Ok(directory)
}
