//! Environment variables between the stages, and those every app gets.

/// Given to the run entrypoint: number of the inherited descriptor of the pod directory. The
/// exclusive lock on it lives as long as the pod.
pub const LOCK_FD: &str = "RKT_LOCK_FD";
/// Given to the run entrypoint where the host has SELinux: the context of the pod's processes.
pub const SELINUX_CONTEXT: &str = "RKT_SELINUX_CONTEXT";
/// Likewise, the context of its mounts.
pub const SELINUX_MOUNT_CONTEXT: &str = "RKT_SELINUX_MOUNT_CONTEXT";
/// Given to crossing entrypoints: path of the enter entrypoint.
pub const ENTER_CMD: &str = "RKT_STAGE1_ENTERCMD";
/// Given to crossing entrypoints: pid to enter.
pub const ENTER_PID: &str = "RKT_STAGE1_ENTERPID";
/// Given to crossing entrypoints: the app to enter, when it is an app that is meant.
pub const ENTER_APP: &str = "RKT_STAGE1_ENTERAPP";

/// In an app's environment: its name in the pod (App Container Executor, "Environment").
pub const AC_APP_NAME: &str = "AC_APP_NAME";
/// In an app's environment: where the metadata service answers, when the pod is registered.
pub const AC_METADATA_URL: &str = "AC_METADATA_URL";

/// Variables an app finds when neither its image nor the user set them.
pub const APP_DEFAULTS: [(&str, &str); 5] = [
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("SHELL", "/bin/sh"),
    ("USER", "root"),
    ("LOGNAME", "root"),
    ("HOME", "/root"),
];
