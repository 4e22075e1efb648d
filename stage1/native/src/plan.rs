//! From the manifests and the arguments to the plan of the pod.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use appc::{App, EventName, PodManifest, RuntimeApp, Volume, VolumeKind};
use sandbox::cgroup::{AppCgroup, Limits};
use stage1_abi::{FileMode, RunArgs, path};
use supervisor::{AppPlan, MountPlan, PodPlan, VolumePlan};

use crate::error::Error;
use crate::layout::{self, Wishes};
use crate::{isolators, manifest};

/// How long apps may take to end after TERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The plan of the pod in the working directory. `cgroup_for` makes the cgroup of an app.
pub(crate) fn pod(
    args: &RunArgs,
    pod: &PodManifest,
    own_network: bool,
    mut cgroup_for: impl FnMut(&str, &Limits) -> Result<Option<AppCgroup>, sandbox::Error>,
) -> Result<PodPlan, Error> {
    refuse_unsupported(args, pod)?;
    let hostname = args
        .hostname
        .clone()
        .unwrap_or_else(|| format!("rkt-{}", args.uuid));
    let mut volumes = BTreeMap::new();
    host_files(args, &mut volumes);
    let mut apps = Vec::with_capacity(pod.apps.len());
    for runtime in &pod.apps {
        let name = runtime.name.as_str();
        let app = manifest::app_of(runtime)?;
        let isolation = isolators::of_app(name, &app, args.insecure)?;
        let mounts = mounts(pod, runtime, &app, &mut volumes)?;
        let operations = layout::operations(Wishes {
            args,
            hostname: &hostname,
            mounts,
            root_read_only: runtime.read_only_rootfs,
            own_network,
        });
        let cgroup = cgroup_for(name, &isolation.limits)?;
        let handler = |event| app.event_handler(event).map(|h| h.exec.clone());
        apps.push(AppPlan {
            name: name.to_owned(),
            pre_start: handler(EventName::PreStart),
            post_stop: handler(EventName::PostStop),
            environment: app
                .environment
                .0
                .iter()
                .map(|v| (v.name.clone(), v.value.clone()))
                .collect(),
            working_directory: PathBuf::from(app.working_directory()),
            user: app.user,
            group: app.group,
            supplementary_gids: app.supplementary_gids,
            exec: app.exec,
            operations,
            security: isolation.security,
            cgroup,
        });
    }
    Ok(PodPlan {
        hostname,
        volumes: volumes.into_values().collect(),
        apps,
        interactive: args.interactive,
        debug: args.debug,
        stop_timeout: STOP_TIMEOUT,
    })
}

/// What this stage1 has no means for is refused, not passed over.
fn refuse_unsupported(args: &RunArgs, pod: &PodManifest) -> Result<(), Error> {
    let unsupported = |what: &str| Err(Error::Unsupported(format!("{what} by the native stage1")));
    if args.private_users.is_some() {
        return unsupported("user namespaces (--private-users) are not supported");
    }
    if args.mutable {
        return unsupported("mutable pods are not supported");
    }
    if args
        .ipc
        .as_deref()
        .is_some_and(|ipc| !["auto", "private", "parent"].contains(&ipc))
    {
        return unsupported("this --ipc mode is not supported");
    }
    if args.interactive && pod.apps.len() != 1 {
        return Err(Error::Unsupported(
            "an interactive pod has exactly one app".into(),
        ));
    }
    Ok(())
}

/// The host's own resolver and hosts files are shown through the stage1 root file system, like
/// volumes.
fn host_files(args: &RunArgs, volumes: &mut BTreeMap<String, VolumePlan>) {
    let mode = args.dns_conf_mode;
    for (wanted, source, target) in [
        (
            mode.resolv == FileMode::Host,
            "/etc/resolv.conf",
            path::RESOLV_CONF,
        ),
        (mode.hosts == FileMode::Host, "/etc/hosts", path::HOSTS),
    ] {
        if wanted {
            let plan = VolumePlan {
                source: source.into(),
                gathered: Path::new("/").join(target),
                recursive: false,
            };
            volumes.insert(format!("/{target}"), plan);
        }
    }
}

/// An app's mounts: those of the pod manifest, and its mount points that a volume has the name of.
fn mounts(
    pod: &PodManifest,
    runtime: &RuntimeApp,
    app: &App,
    volumes: &mut BTreeMap<String, VolumePlan>,
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
        let read_only = volume.read_only || point.is_some_and(|p| p.read_only);
        // A volume of this app alone must not be taken for the pod's of the same name.
        let key = match &mount.app_volume {
            Some(_) => format!("{name}.{}", volume.name),
            None => volume.name.to_string(),
        };
        mounts.push(mount_plan(volume, &key, &mount.path, read_only, volumes)?);
    }
    for point in &app.mount_points {
        let volume = pod.volumes.iter().find(|v| v.name == point.name);
        let Some(volume) = volume.filter(|_| !runtime.mounts.iter().any(|m| m.path == point.path))
        else {
            continue;
        };
        if runtime.mounts.iter().any(|m| m.volume == point.name) {
            continue;
        }
        let read_only = volume.read_only || point.read_only;
        mounts.push(mount_plan(
            volume,
            volume.name.as_str(),
            &point.path,
            read_only,
            volumes,
        )?);
    }
    refuse_duplicates(name, &mounts)?;
    Ok(mounts)
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
    volumes: &mut BTreeMap<String, VolumePlan>,
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
            (VolumeKind::Empty, _) => empty_volume(volume, key)?,
        };
        volumes.insert(
            key.to_owned(),
            VolumePlan {
                source,
                gathered: gathered.clone(),
                recursive,
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

/// Makes the directory of an empty volume, which lives as long as the pod.
fn empty_volume(volume: &Volume, key: &str) -> Result<PathBuf, Error> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
    let directory = Path::new(path::SHARED_VOLUMES).join(key);
    let make = || {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&directory)?;
        chown(
            &directory,
            Some(volume.uid.unwrap_or(0)),
            Some(volume.gid.unwrap_or(0)),
        )?;
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
