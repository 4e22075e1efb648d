//! Names of the annotations that carry the interface between the stages.

/// Image manifest of a stage1: path of the entrypoint that starts the pod, inside its rootfs.
pub const RUN: &str = "coreos.com/rkt/stage1/run";
/// Image manifest of a stage1: entrypoint that runs a command inside a running pod.
pub const ENTER: &str = "coreos.com/rkt/stage1/enter";
/// Image manifest of a stage1: entrypoint that frees what an exited pod still holds.
pub const GC: &str = "coreos.com/rkt/stage1/gc";
/// Image manifest of a stage1: optional entrypoint that stops a running pod.
pub const STOP: &str = "coreos.com/rkt/stage1/stop";
/// Image manifest of a stage1: crossing entrypoint for attaching to an app's streams.
pub const ATTACH: &str = "coreos.com/rkt/stage1/attach";
/// Image manifest of a stage1: crossing entrypoint that adds an app to a mutable pod.
pub const APP_ADD: &str = "coreos.com/rkt/stage1/app/add";
/// Image manifest of a stage1: crossing entrypoint that removes an app from a mutable pod.
pub const APP_RM: &str = "coreos.com/rkt/stage1/app/rm";
/// Image manifest of a stage1: crossing entrypoint that starts an app of a mutable pod.
pub const APP_START: &str = "coreos.com/rkt/stage1/app/start";
/// Image manifest of a stage1: crossing entrypoint that stops an app of a mutable pod.
pub const APP_STOP: &str = "coreos.com/rkt/stage1/app/stop";
/// Image manifest of a stage1: decimal interface version; absent means 1.
pub const INTERFACE_VERSION: &str = "coreos.com/rkt/stage1/interface-version";

/// Pod manifest: `true` when apps may be added to and removed from the running pod.
pub const MUTABLE: &str = "coreos.com/rkt/stage1/mutable";

/// Pod manifest: `true` when an isolator that cannot be applied is an error.
pub const STRICT_ISOLATORS: &str = "coreos.com/rkt/stage1/strict-isolators";

/// Pod manifest: what `/proc` shows of others' processes, as proc(5) names it for `hidepid`.
pub const HIDE_PID: &str = "coreos.com/rkt/stage1/hidepid";

/// Pod manifest: how much the pod's `/dev/shm` holds, a quantity of bytes.
pub const SHM_SIZE: &str = "coreos.com/rkt/stage1/shm-size";

/// App in a pod manifest: mode of its standard input (`null`, `stream`, `tty`, `interactive`).
pub const STDIN: &str = "coreos.com/rkt/stage2/stdin";
/// App in a pod manifest: mode of its standard output (`log`, `null`, `stream`, `tty`).
pub const STDOUT: &str = "coreos.com/rkt/stage2/stdout";
/// App in a pod manifest: mode of its standard error (`log`, `null`, `stream`, `tty`).
pub const STDERR: &str = "coreos.com/rkt/stage2/stderr";

/// Pod manifest: where apps' lines go beside the pod's log. [`KUBERNETES`] is the one mode.
pub const LOG_MODE: &str = "coreos.com/rkt/experiment/logmode";
/// A [`LOG_MODE`]: to files as the kubelet reads them.
pub const KUBERNETES: &str = "k8s-plain";
/// Pod manifest: the host's directory of those files.
pub const KUBERNETES_LOG_DIR: &str = "coreos.com/rkt/experiment/kubernetes-log-dir";
/// App in a pod manifest: its file, relative to the directory.
pub const KUBERNETES_LOG_PATH: &str = "coreos.com/rkt/experiment/kubernetes-log-path";

/// Image manifest: `true` when the app reports readiness through sd_notify.
pub const SUPPORTS_NOTIFY: &str = "appc.io/executor/supports-systemd-notify";
/// Image manifest: present on images that came from a Docker repository.
pub const DOCKER_REPOSITORY: &str = "appc.io/docker/repository";
