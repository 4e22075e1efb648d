//! A pod as it will run: everything decided, nothing done yet.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use sandbox::caps::Capabilities;
use sandbox::cgroup::AppCgroup;
use sandbox::seccomp::Program;
use serde::{Deserialize, Serialize};
use stage1_abi::Labels;

/// What the supervisor of a pod carries out.
#[derive(Debug)]
pub struct PodPlan {
    /// Host name of the pod.
    pub hostname: String,
    /// Volumes to gather below the stage1 root file system before the host's tree goes away.
    pub volumes: Vec<VolumePlan>,
    /// The apps, in the manifest's order.
    pub apps: Vec<AppPlan>,
    /// Whose log it is.
    pub log: LogPlan,
    /// Kernel parameters of the pod's namespaces, by name.
    pub sysctls: Vec<(String, String)>,
    /// How much `/dev/shm` holds, in bytes.
    pub shm_size: u64,
    /// What the host's SELinux knows the pod by.
    pub labels: Option<Labels>,
    /// The supervisor and its apps are in a user namespace.
    pub user_namespace: bool,
    /// Apps come and go while the pod runs; it ends only when it is told to.
    pub mutable: bool,
    /// Print each operation of the apps' file systems.
    pub debug: bool,
    /// How long apps may take to end after TERM, before KILL.
    pub stop_timeout: Duration,
}

/// Whose the pod's journal is.
#[derive(Debug, Clone, Copy)]
pub struct LogPlan {
    /// The pod's UUID.
    pub machine_id: [u8; 16],
    /// The kernel's boot.
    pub boot_id: [u8; 16],
    /// Others look for it before anything was written.
    pub expected: bool,
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
    /// Its files are shown under the ids of the pod's user namespace.
    pub mapped: bool,
    /// A copy of its mount, made by who has the host's privileges; `None` leaves that to the
    /// supervisor.
    pub mount: Option<OwnedFd>,
}

/// One app as it will run.
#[derive(Debug, Serialize, Deserialize)]
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
    /// Where its standard streams lead.
    pub streams: StreamModes,
    /// A file that its lines go to as well, below the pod's directory of logs for the kubelet.
    pub log_file: Option<PathBuf>,
    /// It says itself when it is ready.
    pub notify: bool,
    /// Sockets that it gets beside its standard streams.
    #[serde(skip)]
    pub sockets: Vec<PassedSocket>,
    /// What to make of its file system, in order.
    pub operations: Vec<Operation>,
    /// What it may do.
    pub security: Security,
    /// The SELinux context of the file systems that are made for it.
    pub file_context: Option<String>,
    /// It runs in a user namespace, whose root has no privileges over the host's files and devices.
    pub user_namespace: bool,
    /// Its `/dev` with the device nodes, for a user namespace, where none can be made; without it
    /// the host's nodes are bound one by one.
    #[serde(skip)]
    pub devices: Option<OwnedFd>,
    /// Its cgroup; `None` leaves it in the supervisor's.
    #[serde(skip)]
    pub cgroup: Option<AppCgroup>,
}

impl PodPlan {
    /// Whether apps of this pod may want the host's device nodes.
    pub(crate) fn binds_devices(&self) -> bool {
        self.mutable || self.apps.iter().any(|app| app.devices.is_none())
    }
}

impl AppPlan {
    /// The cgroup that the app is cloned into; where there is none it is moved to its own.
    pub(crate) fn born_in(&self) -> Option<BorrowedFd<'_>> {
        let cgroup = self.cgroup.as_ref().filter(|_| !self.user_namespace);
        cgroup.and_then(AppCgroup::clone_into)
    }
}

/// A socket that somebody else opened for an app (sd_listen_fds(3)).
#[derive(Debug)]
pub struct PassedSocket {
    /// What the app finds it by: its port's name.
    pub name: String,
    /// The socket.
    pub fd: OwnedFd,
}

/// Where the standard streams of an app lead (devel-log-attach-design, "Runtime modes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamModes {
    /// Standard input.
    pub stdin: StreamMode,
    /// Standard output.
    pub stdout: StreamMode,
    /// Standard error.
    pub stderr: StreamMode,
}

/// Where one stream leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamMode {
    /// Nowhere.
    Null,
    /// To the pod's log and rkt's own streams, line by line.
    Log,
    /// To whoever attaches to it.
    Stream,
    /// To a terminal of the app's own, to which one can attach.
    Terminal,
    /// To rkt's own terminal or streams.
    Interactive,
}

impl Default for StreamModes {
    fn default() -> Self {
        Self {
            stdin: StreamMode::Null,
            stdout: StreamMode::Log,
            stderr: StreamMode::Log,
        }
    }
}

impl StreamModes {
    /// rkt's own terminal or streams for all three.
    pub const INTERACTIVE: Self = Self {
        stdin: StreamMode::Interactive,
        stdout: StreamMode::Interactive,
        stderr: StreamMode::Interactive,
    };

    /// Whether any stream has this mode.
    pub fn has(&self, mode: StreamMode) -> bool {
        [self.stdin, self.stdout, self.stderr].contains(&mode)
    }
}

/// What an app may do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Security {
    /// Bounding set.
    #[serde(with = "as_bits")]
    pub capabilities: Capabilities,
    /// The set was asked for by an isolator, so an app that is not root gets it too.
    pub ambient: bool,
    /// System call filter.
    #[serde(with = "as_bytes")]
    pub seccomp: Option<Program>,
    /// Set-id programs give nothing.
    pub no_new_privileges: bool,
    /// `oom_score_adj` of its processes.
    pub oom_score_adj: Option<i32>,
    /// The AppArmor profile that confines it.
    pub apparmor: Option<String>,
    /// The SELinux context that it runs in.
    pub selinux: Option<String>,
}

/// A mount of a volume in an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// A directory with this mode, if nothing is there.
    Directory(PathBuf, u32),
    /// A file with this text, if nothing is there.
    File(PathBuf, String),
    /// A symbolic link to this, if nothing is there and its directory is.
    Link(PathBuf, PathBuf),
    /// The pod's processes.
    Proc {
        /// What it shows of others' processes, as proc(5) names it; everything if nothing is said.
        hide_pid: Option<String>,
    },
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

/// Capabilities as their bits.
mod as_bits {
    use sandbox::caps::Capabilities;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(set: &Capabilities, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(set.bits())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Capabilities, D::Error> {
        u64::deserialize(from).map(Capabilities::from_bits)
    }
}

/// A filter as its bytes.
mod as_bytes {
    use sandbox::seccomp::Program;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        program: &Option<Program>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        program.as_ref().map(Program::as_bytes).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Program>, D::Error> {
        let bytes = Option::<Vec<u8>>::deserialize(from)?;
        Ok(bytes.map(|bytes| Program::from_bytes(&bytes)))
    }
}
