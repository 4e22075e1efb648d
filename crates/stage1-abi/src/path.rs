//! Files of a pod directory, relative to it. Stage1 runs with the pod directory as its working
//! directory, stage0 opens them below its descriptor of it.

use std::path::PathBuf;

/// The pod manifest.
pub const POD_MANIFEST: &str = "pod";
/// Locked while the manifest of a mutable pod changes.
pub const POD_LOCK: &str = "pod.lck";
/// Its modification time is when the pod was created.
pub const POD_CREATED: &str = "pod-created";
/// Present when the pod's trees are overlay mounts.
pub const OVERLAY_PREPARED: &str = "overlay-prepared";
/// `SHIFT:COUNT` of the pod's user namespace, when it has one.
pub const PRIVATE_USERS_PREPARED: &str = "private-users-prepared";
/// The SELinux contexts that the pod was prepared with, when the host has SELinux: the apps' and
/// their files', a line each.
pub const SELINUX_PREPARED: &str = "selinux-prepared";
/// Tree store id of the stage1 image.
pub const STAGE1_TREE_STORE_ID: &str = "stage1TreeStoreID";
/// Per-app image manifests and tree store ids.
pub const APPS_INFO: &str = "appsinfo";
/// Manifest of the stage1 image.
pub const STAGE1_MANIFEST: &str = "stage1/manifest";
/// Root file system of the stage1 image.
pub const STAGE1_ROOTFS: &str = "stage1/rootfs";
/// Upper and work directories of the overlays.
pub const OVERLAY: &str = "overlay";
/// Directories of the pod's empty volumes.
pub const SHARED_VOLUMES: &str = "sharedVolumes";
/// Path of the pod's network namespace, when one is pinned.
pub const NETNS: &str = "netns";
/// The pod's networks, as JSON.
pub const NET_INFO: &str = "net-info.json";
/// Decimal host pid of the process that enter entrypoints enter; its mtime is the start time.
pub const PID: &str = "pid";
/// Decimal host pid of the parent of the process to enter.
pub const PPID: &str = "ppid";
/// The pod's cgroup, written before `pid` or `ppid`.
pub const SUBCGROUP: &str = "subcgroup";
/// The directories of the pod's cgroups, one a line, for garbage collection and statistics; apps'
/// are below them. Of stage1 images that make cgroups themselves.
pub const CGROUPS: &str = "cgroups";
/// The name of an empty volume's directory in [`SHARED_VOLUMES`]: an app's own volume is not taken
/// for the pod's of the same name.
pub fn volume_key(app: &str, own: bool, volume: &str) -> String {
    match own {
        true => format!("{app}.{volume}"),
        false => volume.to_owned(),
    }
}

/// Below the stage1 root file system, the socket on which an app tells that it is ready.
pub fn notify(app: &str) -> PathBuf {
    PathBuf::from(format!("run/notify/{app}"))
}

/// Where the app finds that socket.
pub const NOTIFY_IN_APP: &str = "/run/systemd/notify";

/// In a stage1's root file system, a tree with the directories that every app needs: stage0 lays it
/// below the images, so that they need not be made at every start.
pub const SKELETON: &str = "skeleton";

/// The options the pod was started with, as JSON.
pub const RUNTIME_CONFIG: &str = "runtime-config";

/// What became of the pod's isolators, as JSON; the pod's directory has it when there are any.
pub const ISOLATORS: &str = "isolators";

/// What became of an app's isolators, as JSON, in the pod's directory.
pub fn app_isolators(app: &str) -> PathBuf {
    PathBuf::from(format!("{APPS_INFO}/{app}/isolators"))
}

/// Where stage1 writes exit statuses, below the stage1 root file system.
pub const STATUS: &str = "rkt/status";
/// Per-app environment files (`k=v` lines), below the stage1 root file system.
pub const ENV: &str = "rkt/env";
/// Symlink to `ready` once the supervisor has started the pod, below the stage1 root file system.
pub const SUPERVISOR_STATUS: &str = "rkt/supervisor-status";
/// Target of [`SUPERVISOR_STATUS`] when the pod is ready.
pub const SUPERVISOR_READY: &str = "ready";
/// The resolv.conf made for the pod, below the stage1 root file system.
pub const RESOLV_CONF: &str = "etc/rkt-resolv.conf";
/// The hosts file made for the pod, below the stage1 root file system.
pub const HOSTS: &str = "etc/rkt-hosts";
/// Apps' trees, below the stage1 root file system.
pub const STAGE2: &str = "opt/stage2";

/// What says where an app's streams can be attached to, in its directory [`attach`].
pub const ENDPOINTS: &str = "endpoints";

/// The host's directory of logs for the kubelet, below the stage1 root file system.
pub const KUBERNETES_LOG: &str = "rkt/kubernetes/log";

/// Sockets of an app's streams, below the stage1 root file system.
pub fn attach(app: &str) -> PathBuf {
    PathBuf::from(format!("rkt/iottymux/{app}"))
}

/// Directory of an app's journal sockets, below the stage1 root file system; the app sees it as
/// `/run/systemd/journal`.
pub fn journal(app: &str) -> PathBuf {
    PathBuf::from(format!("run/journal/{app}"))
}

/// Root file system of an app, below the stage1 root file system.
pub fn app_rootfs(app: &str) -> PathBuf {
    PathBuf::from(format!("{STAGE2}/{app}/rootfs"))
}

/// Image manifest of an app, below the pod directory.
pub fn app_manifest(app: &str) -> PathBuf {
    PathBuf::from(format!("{APPS_INFO}/{app}/manifest"))
}

/// Tree store id of an app, below the pod directory.
pub fn app_tree_store_id(app: &str) -> PathBuf {
    PathBuf::from(format!("{APPS_INFO}/{app}/treeStoreID"))
}

/// Exit status of an app, below the stage1 root file system.
pub fn app_status(app: &str) -> PathBuf {
    PathBuf::from(format!("{STATUS}/{app}"))
}

/// File whose mtime is when an app was created, below the stage1 root file system.
pub fn app_created(app: &str) -> PathBuf {
    PathBuf::from(format!("{STATUS}/{app}-created"))
}

/// File whose mtime is when an app was started, below the stage1 root file system.
pub fn app_started(app: &str) -> PathBuf {
    PathBuf::from(format!("{STATUS}/{app}-started"))
}

/// Where files written in the stage1 root file system are found on the host, below the pod
/// directory: in the overlay's upper directory, or in the copied tree.
pub fn stage1_written(overlay_tree: Option<&str>) -> PathBuf {
    match overlay_tree {
        Some(tree) => PathBuf::from(format!("{OVERLAY}/{tree}/upper")),
        None => PathBuf::from(STAGE1_ROOTFS),
    }
}
