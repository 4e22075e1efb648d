//! Calling a stage1's entrypoints.
//!
//! The pod's copy of the stage1 manifest says where they are. Of a pod with overlay mounts the
//! programs are taken from the tree store, since the mounts are only seen inside the pod; they work
//! in the pod's directory either way.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, PoisonError};

use appc::ImageManifest;
use pod::Pod;
use rustix::io::Errno;
use sandbox::exec::StringVec;
use stage1_abi::{annotation, env, path};

use crate::context::Context;
use crate::failure::{Doing, Failure};

/// The entrypoints that stage0 calls in an existing pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Runs a command in an app.
    Enter,
    /// Frees what an exited pod holds.
    Gc,
    /// Ends a pod.
    Stop,
    /// Connects to an app's streams.
    Attach,
    /// Adds an app to a mutable pod.
    AppAdd,
    /// Starts an app of a mutable pod.
    AppStart,
    /// Ends an app of a mutable pod.
    AppStop,
    /// Takes an app out of a mutable pod.
    AppRm,
}

impl Kind {
    fn annotation(self) -> &'static str {
        match self {
            Self::Enter => annotation::ENTER,
            Self::Gc => annotation::GC,
            Self::Stop => annotation::STOP,
            Self::Attach => annotation::ATTACH,
            Self::AppAdd => annotation::APP_ADD,
            Self::AppStart => annotation::APP_START,
            Self::AppStop => annotation::APP_STOP,
            Self::AppRm => annotation::APP_RM,
        }
    }
}

/// The stage1 of a pod.
#[derive(Debug)]
pub(crate) struct Entrypoints {
    manifest: ImageManifest,
    root: PathBuf,
}

impl Entrypoints {
    /// Reads which stage1 a pod was prepared with.
    pub(crate) fn of(context: &Context, pod: &Pod) -> Result<Self, Failure> {
        crate::rootless::refuse_others(&context.data_dir)?;
        let problem = || format!("cannot find the stage1 of pod {:?}", pod.uuid());
        let manifest = pod.stage1_manifest().doing_with(problem)?;
        let root = match pod.uses_overlay().doing_with(problem)? {
            false => pod.dir().path().join(path::STAGE1_ROOTFS),
            true => {
                let tree = pod.stage1_tree().doing_with(problem)?;
                let tree = tree
                    .filter(|t| !t.is_empty() && !t.contains('/'))
                    .ok_or_else(|| Failure::new(problem()))?;
                context.data_dir.join("cas/tree").join(tree).join("rootfs")
            }
        };
        Ok(Self { manifest, root })
    }

    /// The interface version it speaks.
    pub(crate) fn version(&self) -> u32 {
        interface_version(&self.manifest)
    }

    fn path(&self, kind: Kind) -> Result<PathBuf, Failure> {
        Ok(self.root.join(inside(&self.manifest, kind.annotation())?))
    }

    /// Runs an entrypoint in the pod's directory and waits for it.
    pub(crate) fn call(
        &self,
        pod: &Pod,
        kind: Kind,
        args: Vec<OsString>,
    ) -> Result<ExitStatus, Failure> {
        self.run(pod, kind, args, |command| command)
    }

    /// Runs a crossing entrypoint in the pod's directory and waits for it: it finds out by its
    /// environment, which is nothing but this, how to get into the pod whose PID 1 is `pid`
    /// (surface: "stage0 → stage1 ABI").
    pub(crate) fn cross(
        &self,
        pod: &Pod,
        kind: Kind,
        pid: u32,
        args: Vec<OsString>,
    ) -> Result<ExitStatus, Failure> {
        let enter = self.path(Kind::Enter)?;
        self.run(pod, kind, args, |command| {
            command
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env(env::ENTER_CMD, enter)
                .env(env::ENTER_PID, pid.to_string())
        })
    }

    /// stage0 itself goes to the pod's directory: a child that has nowhere to go is started without
    /// copying this process first. The directory is the whole process's, and threads collect pods at
    /// once, so one of them goes and starts its child at a time.
    fn run(
        &self,
        pod: &Pod,
        kind: Kind,
        args: Vec<OsString>,
        with: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<ExitStatus, Failure> {
        let program = self.path(kind)?;
        let problem = || format!("cannot execute {}", program.display());
        let mut command = Command::new(&program);
        let command = with(command.args(args));
        let mut child = {
            let _turn = GOING.lock().unwrap_or_else(PoisonError::into_inner);
            // By its path, which leads into the mounts that this thread sees now.
            std::env::set_current_dir(pod.dir().path()).doing_with(problem)?;
            command.spawn().doing_with(problem)?
        };
        child.wait().doing_with(problem)
    }

    /// Becomes an entrypoint, in the pod's directory. Returns only to say why that failed.
    pub(crate) fn exec(&self, pod: &Pod, kind: Kind, args: Vec<OsString>) -> Failure {
        let exec = || {
            let program = self.path(kind)?;
            std::env::set_current_dir(pod.dir().path())
                .doing_with(|| format!("cannot execute {}", program.display()))?;
            become_protected(&program, &args)
        };
        let Err(failure) = exec();
        failure
    }
}

/// Becomes a program of which nobody can write to the file through `/proc/PID/exe`, whatever runs in
/// the pod later: it is executed through a read-only mount that is attached nowhere.
fn become_protected(program: &Path, args: &[OsString]) -> Result<Infallible, Failure> {
    let problem = || format!("cannot execute {}", program.display());
    if let (Some(dir), Some(name)) = (program.parent(), program.file_name()) {
        let mount = crate::launch::read_only_copy(dir)?;
        let words = std::iter::once(program.as_os_str()).chain(args.iter().map(AsRef::as_ref));
        let words = StringVec::new(words.map(OsStr::as_bytes)).doing_with(problem)?;
        let variables = std::env::vars_os().map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            name.into_vec()
        });
        let variables = StringVec::new(variables).doing_with(problem)?;
        let Err(errno) = sandbox::exec::exec_in(&mount, Path::new(name), &words, &variables);
        // The interpreter of a script would not find it: the mount is gone by then.
        if errno != Errno::NOENT {
            return Err(errno).doing_with(problem);
        }
    }
    crate::launch::protect(program)?;
    Err(Command::new(program).args(args).exec()).doing_with(problem)
}

/// Held while stage0 goes to a pod's directory and starts a child there.
static GOING: Mutex<()> = Mutex::new(());

/// Whether a stage1 can change the apps of a running pod.
pub(crate) fn is_mutable(manifest: &ImageManifest) -> bool {
    [
        annotation::APP_RM,
        annotation::APP_START,
        annotation::APP_STOP,
    ]
    .iter()
    .all(|name| manifest.annotations.get(name).is_some())
}

/// The interface version that a stage1 image declares; 1 when it declares none.
pub(crate) fn interface_version(manifest: &ImageManifest) -> u32 {
    let declared = manifest.annotations.get(annotation::INTERFACE_VERSION);
    declared.and_then(|v| v.parse().ok()).unwrap_or(1)
}

/// Where the run entrypoint is, below the stage1 root.
pub(crate) fn run_path(manifest: &ImageManifest) -> Result<PathBuf, Failure> {
    inside(manifest, annotation::RUN)
}

/// An annotation's path made relative to the stage1 root. It must not climb out of it.
fn inside(manifest: &ImageManifest, annotation: &str) -> Result<PathBuf, Failure> {
    let value = manifest.annotations.get(annotation).ok_or_else(|| {
        Failure::new(format!(
            "the stage1 image {:?} has no entrypoint {annotation:?}",
            manifest.name.as_str()
        ))
    })?;
    let path = Path::new(value);
    let relative = path.strip_prefix("/").unwrap_or(path);
    let plain = relative
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    match plain && relative.components().next().is_some() {
        true => Ok(relative.to_path_buf()),
        false => Err(Failure::new(format!(
            "the stage1 image {:?} has an invalid entrypoint {annotation:?}: {value:?}",
            manifest.name.as_str()
        ))),
    }
}
