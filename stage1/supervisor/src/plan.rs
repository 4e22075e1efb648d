//! A pod as it will run: everything decided, nothing done yet.

use std::path::PathBuf;
use std::time::Duration;

use sandbox::caps::Capabilities;
use sandbox::cgroup::AppCgroup;
use sandbox::seccomp::Program;

/// What the supervisor of a pod carries out.
#[derive(Debug)]
pub struct PodPlan {
    /// Host name of the pod.
    pub hostname: String,
    /// Volumes to gather below the stage1 root file system before the host's tree goes away.
    pub volumes: Vec<VolumePlan>,
    /// The apps, in the manifest's order.
    pub apps: Vec<AppPlan>,
    /// The one app has rkt's own terminal or streams.
    pub interactive: bool,
    /// Print each operation of the apps' file systems.
    pub debug: bool,
    /// How long apps may take to end after TERM, before KILL.
    pub stop_timeout: Duration,
}

/// A volume: one place of the host, for as many mounts as refer to it.
#[derive(Debug)]
pub struct VolumePlan {
    /// Path on the host.
    pub source: PathBuf,
    /// Path below the stage1 root file system, absolute.
    pub gathered: PathBuf,
    /// With the mounts below it.
    pub recursive: bool,
}

/// One app as it will run.
#[derive(Debug)]
pub struct AppPlan {
    /// Its name in the pod.
    pub name: String,
    /// Program and arguments.
    pub exec: Vec<String>,
    /// Variables from the manifest; defaults are added for what is missing.
    pub environment: Vec<(String, String)>,
    /// Directory to start in.
    pub working_directory: PathBuf,
    /// User by number, by name in the app's passwd file, or by a file's owner.
    pub user: String,
    /// Group, likewise.
    pub group: String,
    /// Further groups.
    pub supplementary_gids: Vec<u32>,
    /// Program of the pre-start event handler.
    pub pre_start: Option<Vec<String>>,
    /// Program of the post-stop event handler.
    pub post_stop: Option<Vec<String>>,
    /// What to make of its file system, in order.
    pub operations: Vec<Operation>,
    /// What it may do.
    pub security: Security,
    /// Its cgroup; `None` leaves it in the supervisor's.
    pub cgroup: Option<AppCgroup>,
}

/// What an app may do.
#[derive(Debug)]
pub struct Security {
    /// Bounding set.
    pub capabilities: Capabilities,
    /// The set was asked for by an isolator, so an app that is not root gets it too.
    pub ambient: bool,
    /// System call filter.
    pub seccomp: Option<Program>,
    /// Set-id programs give nothing.
    pub no_new_privileges: bool,
    /// `oom_score_adj` of its processes.
    pub oom_score_adj: Option<i32>,
}

/// A mount of a volume in an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPlan {
    /// Where the volume was gathered, below the stage1 root file system.
    pub volume: PathBuf,
    /// Path in the app.
    pub target: PathBuf,
    /// Nothing can be written through it.
    pub read_only: bool,
    /// With the mounts below it.
    pub recursive: bool,
}

/// One step of making an app's file system. Paths are the app's own unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A directory with this mode, if nothing is there.
    Directory(PathBuf, u32),
    /// A file with this text, if nothing is there.
    File(PathBuf, String),
    /// The pod's processes.
    Proc,
    /// The kernel's devices as seen from the pod's network; read-only or not.
    Sysfs {
        /// Nothing can be written through it.
        read_only: bool,
    },
    /// `/dev` with the standard devices, terminals and the pod's shared memory.
    Devices,
    /// A path of the stage1 root file system over a path of the app.
    BindFromStage1 {
        /// Absolute path below the stage1 root file system.
        source: PathBuf,
        /// Path in the app.
        target: PathBuf,
        /// A missing source is passed over: it is made after the plan, or not at all.
        if_there: bool,
        /// Nothing can be written through it.
        read_only: bool,
    },
    /// A path of the app over another path of the app, read-only.
    BindWithin {
        /// What is shown.
        source: PathBuf,
        /// Where.
        target: PathBuf,
    },
    /// A volume.
    Volume(MountPlan),
    /// What is at this path can be read only.
    ReadOnly(PathBuf),
    /// What is at this path can be written although a parent is read-only.
    Writable(PathBuf),
    /// What is at this path cannot be accessed.
    Inaccessible(PathBuf),
    /// The app's root file system can be read only; mounts in it keep what they allow.
    RootReadOnly,
}
