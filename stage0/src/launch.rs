//! The last step of stage0: mounts of the pod's trees, then exec of stage1's `run`.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pod::RunningPod;
use rustix::io::Errno;
use sandbox::mounts::{self, Attr, Propagation};
use stage1_abi::{Labels, RunArgs, env, path};
use store::Store;

use crate::context::Context;
use crate::failure::{Doing, Failure};
use crate::mapped::Mapped;
use crate::measured;
use crate::podfiles::{OPEN_DIR, Umask};

/// A rendered image and where it appears in the pod.
#[derive(Debug, Clone)]
pub(crate) struct Overlay {
    /// The tree store's id of the image.
    pub(crate) tree: String,
    /// The app whose root it becomes; `None` is stage1 itself.
    pub(crate) app: Option<String>,
    /// The SELinux context of its files, where the host has SELinux.
    pub(crate) context: Option<String>,
}

/// How a pod is started.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The trees to mount, stage1's first; empty when they were copied.
    pub(crate) overlays: Vec<Overlay>,
    /// What shows the trees under the ids of the pod's user namespace, if it has one.
    pub(crate) users: Option<OwnedFd>,
    /// The pod's SELinux contexts.
    pub(crate) labels: Option<Labels>,
    /// The run entrypoint, below the stage1 root.
    pub(crate) entrypoint: PathBuf,
    /// The interface version that stage1 speaks.
    pub(crate) version: u32,
    /// What stage1 is told.
    pub(crate) args: RunArgs,
}

/// Becomes the pod. Returns only to say why that failed.
pub(crate) fn exec(context: &Context, pod: RunningPod, launch: &Launch) -> Failure {
    let exec = || -> Result<std::convert::Infallible, Failure> {
        rustix::process::fchdir(pod.dir().fd()).doing("cannot enter the pod's directory")?;
        if !launch.overlays.is_empty() {
            own_mounts()?;
        }
        let mut skeleton = None;
        let mapped = match &launch.users {
            Some(users) if !launch.overlays.is_empty() => {
                Some(Mapped::new(&context.data_dir, users)?)
            }
            _ => None,
        };
        for overlay in &launch.overlays {
            mount(
                &context.data_dir,
                overlay,
                skeleton.as_deref(),
                mapped.as_ref(),
            )?;
            if overlay.app.is_none() {
                skeleton = self::skeleton(&context.data_dir, &overlay.tree);
                if launch.args.mutable {
                    share_stage1()?;
                }
                let apps = launch.overlays.iter().filter_map(|o| o.app.as_deref());
                app_roots(apps, overlay.context.as_deref())?;
            }
        }
        let program = Path::new(path::STAGE1_ROOTFS).join(&launch.entrypoint);
        if launch.overlays.is_empty() {
            protect(&program)?;
        } else {
            read_only(&program)?;
        }
        let arguments = launch.args.to_args(launch.version);
        measured::before_start(context, pod.pod(), &arguments)?;
        context.trace(|| format!("Execing {}", program.display()));
        let lock = pod.into_lock_fd().doing("cannot keep the pod's lock")?;
        let mut command = Command::new(&program);
        if let Some(labels) = &launch.labels {
            command
                .env(env::SELINUX_CONTEXT, &labels.process)
                .env(env::SELINUX_MOUNT_CONTEXT, &labels.file);
        }
        let error = command
            .args(arguments)
            .env(env::LOCK_FD, lock.as_raw_fd().to_string())
            .exec();
        Err(error).doing_with(|| format!("cannot execute stage1's {}", program.display()))
    };
    match exec() {
        Err(failure) => failure,
    }
}

/// Leaves the host's mount namespace: what is mounted from here on is the pod's alone, while the
/// host's own mounts and unmounts still arrive.
fn own_mounts() -> Result<(), Failure> {
    sandbox::clone::unshare(sandbox::clone::Namespaces::MOUNT)
        .doing("cannot make a mount namespace")?;
    let root = rustix::fs::open(
        "/",
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .doing("cannot open /")?;
    mounts::propagate(root, Propagation::Slave, true).doing("cannot make / a slave mount")
}

/// Lets mounts that are made later below the stage1 root reach the pod, for apps that are added
/// while it runs ([`crate::mutable`]).
fn share_stage1() -> Result<(), Failure> {
    let root = rustix::fs::open(
        path::STAGE1_ROOTFS,
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .doing("cannot open the stage1 root")?;
    mounts::propagate(root, Propagation::Shared, false).doing("cannot share the stage1 root")
}

/// The skeleton in a stage1 tree, if it has one.
pub(crate) fn skeleton(data_dir: &Path, stage1: &str) -> Option<PathBuf> {
    let rootfs = Store::open(data_dir).tree_path(stage1).join("rootfs");
    Some(rootfs.join(path::SKELETON)).filter(|skeleton| skeleton.is_dir())
}

/// Makes the directories that the apps' trees are mounted on, in memory: on disk each would cost
/// more than all that is mounted there. The working directory is the pod's.
fn app_roots<'a>(
    apps: impl Iterator<Item = &'a str>,
    context: Option<&str>,
) -> Result<(), Failure> {
    let _umask = Umask::clear();
    let make = |directory: &Path| {
        let mut maker = std::fs::DirBuilder::new();
        maker.recursive(true).mode(OPEN_DIR).create(directory)
    };
    let stage2 = Path::new(path::STAGE1_ROOTFS).join(path::STAGE2);
    let problem = || format!("cannot mount {}", stage2.display());
    if !stage2.is_dir() {
        make(&stage2).doing_with(problem)?;
    }
    let mut options = vec![("source", "stage2"), ("mode", "0755"), ("size", "1m")];
    options.extend(mounts::labelled(context));
    let memory = mounts::new("tmpfs", &options, Attr::empty()).doing_with(problem)?;
    mounts::attach_at(memory, &stage2).doing_with(problem)?;
    for app in apps {
        let root = Path::new(path::STAGE1_ROOTFS).join(path::app_rootfs(app));
        make(&root).doing_with(|| format!("cannot make {}", root.display()))?;
    }
    Ok(())
}

/// Mounts one tree with the pod's own writable layer, and the skeleton below it. The working
/// directory is the pod's.
pub(crate) fn mount(
    data_dir: &Path,
    overlay: &Overlay,
    skeleton: Option<&Path>,
    mapped: Option<&Mapped<'_>>,
) -> Result<(), Failure> {
    let problem = || format!("cannot mount the overlay of tree {:?}", overlay.tree);
    let store = Store::open(data_dir);
    let mut directories = store.lower_directories(&overlay.tree).doing_with(problem)?;
    directories.extend(skeleton.map(Path::to_owned));
    let layer = Layer::of(overlay);
    let context = overlay.context.as_deref();
    if let Some(mapped) = mapped {
        return mapped
            .mount(&directories, &layer, context)
            .doing_with(problem);
    }
    let lowers: Vec<String> = directories
        .iter()
        .map(|lower| escaped(lower))
        .collect::<Option<_>>()
        .ok_or_else(|| Failure::new(problem()))?;
    let mut options = vec![("source", "overlay")];
    let joined = lowers.join(":");
    let fits = joined.len() < OPTION_MAX;
    match fits {
        true => options.push(("lowerdir", &joined)),
        // One by one they may be as long and as many as they like.
        false => options.extend(lowers.iter().map(|lower| ("lowerdir+", lower.as_str()))),
    }
    options.extend(mounts::labelled(context));
    options.extend([
        ("upperdir", layer.upper.as_str()),
        ("workdir", layer.work.as_str()),
        // Syncing the upper directory when the pod ends would make its end wait for the disk, to
        // save what a crash makes useless anyway.
        ("volatile", ""),
    ]);
    options.extend(user_attributes());
    let mount = match mounts::new("overlay", &options, Attr::empty()) {
        // Before Linux 5.10 there was no such option.
        Err(error) if error.errno == Errno::INVAL && fits && user_attributes().is_none() => {
            mounts::new("overlay", &options[..options.len() - 1], Attr::empty())
        }
        // Before Linux 6.7 they had to be given at once.
        Err(error) if error.errno == Errno::INVAL => {
            return mount_at_once(&directories, &layer, context).doing_with(problem);
        }
        other => other,
    }
    .doing_with(problem)?;
    mounts::attach_at(mount, &layer.target).doing_with(problem)
}

/// What an app has made of its tree, read-only and attached nowhere: the layer it wrote over those
/// of the image. The pod, in the directory `pod`, has ended.
pub(crate) fn finished(data_dir: &Path, pod: &Path, overlay: &Overlay) -> Result<OwnedFd, Failure> {
    let problem = || format!("cannot mount what was tree {:?}", overlay.tree);
    let upper = pod.join(Layer::of(overlay).upper);
    let trees = Store::open(data_dir).lower_directories(&overlay.tree);
    let directories: Vec<_> = std::iter::once(upper)
        .chain(trees.doing_with(problem)?)
        .collect();
    view(&directories).doing_with(problem)
}

/// An image's tree, read-only and attached nowhere.
pub(crate) fn image(data_dir: &Path, tree: &str) -> Result<OwnedFd, Failure> {
    let problem = || format!("cannot read tree {tree:?}");
    let directories = Store::open(data_dir).lower_directories(tree);
    match directories.doing_with(problem)?.as_slice() {
        [only] => {
            let (mut open, _) = short_names(std::slice::from_ref(only))?;
            open.pop().ok_or_else(|| Failure::new(problem()))
        }
        several => view(several).doing_with(problem),
    }
}

/// The path by which this process reaches what a descriptor stands for.
pub(crate) fn by_descriptor(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Directories laid over each other, the highest first, read-only and attached nowhere.
fn view(directories: &[PathBuf]) -> Result<OwnedFd, Failure> {
    let (_open, names) = short_names(directories)?;
    let mut options = vec![("source", "overlay")];
    options.extend(names.iter().map(|name| ("lowerdir+", name.as_str())));
    options.extend(user_attributes());
    match mounts::new("overlay", &options, Attr::RDONLY) {
        // Before Linux 6.7 they had to be given at once.
        Err(error) if error.errno == Errno::INVAL => {
            let joined = names.join(":");
            let mut options = vec![("source", "overlay"), ("lowerdir", joined.as_str())];
            options.extend(user_attributes());
            mounts::new("overlay", &options, Attr::RDONLY)
        }
        other => other,
    }
    .doing("cannot make a read-only overlay")
}

/// Directories held open, and names for them that stay short and need no escapes.
fn short_names(directories: &[PathBuf]) -> Result<(Vec<OwnedFd>, Vec<String>), Failure> {
    use rustix::fs::{Mode, OFlags};
    let open = |directory: &PathBuf| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(directory, flags, Mode::empty())
            .doing_with(|| format!("cannot open {}", directory.display()))
    };
    let open: Vec<_> = directories.iter().map(open).collect::<Result<_, _>>()?;
    let names = open
        .iter()
        .map(|directory| by_descriptor(directory).display().to_string())
        .collect();
    Ok((open, names))
}

/// The overlay's own notes go where an ordinary user may write them.
fn user_attributes() -> Option<(&'static str, &'static str)> {
    (!sandbox::ids::is_hosts()).then_some(("userxattr", ""))
}

/// What fsconfig(2) takes as one value.
const OPTION_MAX: usize = 256;

/// Mounts an overlay of many directories with mount(2), which takes a page of options: each
/// directory is opened so that its name is short.
pub(crate) fn mount_at_once(
    lowers: &[PathBuf],
    layer: &Layer,
    context: Option<&str>,
) -> Result<(), Failure> {
    let (_open, names) = short_names(lowers)?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}{}{}",
        names.join(":"),
        layer.upper,
        layer.work,
        user_attributes().map_or(String::new(), |(name, _)| format!(",{name}")),
        // Commas of a level would end the option.
        context.map_or(String::new(), |context| format!(",context=\"{context}\"")),
    );
    let options = std::ffi::CString::new(options).doing("a path holds a NUL")?;
    rustix::mount::mount(
        "overlay",
        &layer.target,
        "overlay",
        rustix::mount::MountFlags::empty(),
        Some(options.as_c_str()),
    )
    .doing("cannot mount the layers")
}

/// Where the writable layer of a tree is and where the whole appears, below the pod's directory.
pub(crate) struct Layer {
    pub(crate) upper: String,
    pub(crate) work: String,
    pub(crate) target: PathBuf,
}

impl Layer {
    pub(crate) fn of(overlay: &Overlay) -> Self {
        let base = format!("{}/{}", path::OVERLAY, overlay.tree);
        let root = PathBuf::from(path::STAGE1_ROOTFS);
        match &overlay.app {
            None => Self {
                upper: format!("{base}/upper"),
                work: format!("{base}/work"),
                target: root,
            },
            Some(app) => Self {
                upper: format!("{base}/upper/{app}"),
                work: format!("{base}/work/{app}"),
                target: root.join(path::app_rootfs(app)),
            },
        }
    }
}

/// A path as overlayfs reads it, where colons separate layers.
fn escaped(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    Some(text.replace('\\', "\\\\").replace(':', "\\:"))
}

/// Hides the program that is about to run behind a read-only mount of its own, in a mount namespace
/// of its own: whatever runs in the pod later cannot write to it through `/proc/PID/exe`.
pub(crate) fn protect(program: &Path) -> Result<(), Failure> {
    own_mounts()?;
    read_only(program)
}

/// Mounts the directory of a program read-only over itself.
fn read_only(program: &Path) -> Result<(), Failure> {
    let dir = match program.parent() {
        Some(dir) if !dir.ends_with("rootfs") => dir,
        _ => program,
    };
    let copy = read_only_copy(dir)?;
    mounts::attach_at(copy, dir).doing_with(|| cannot_protect(dir))
}

/// A mount of a directory that nobody can write through, attached nowhere.
pub(crate) fn read_only_copy(dir: &Path) -> Result<OwnedFd, Failure> {
    let copy = mounts::copy(rustix::fs::CWD, dir, false);
    let copy = copy.doing_with(|| cannot_protect(dir))?;
    mounts::restrict(&copy, Attr::RDONLY, false).doing_with(|| cannot_protect(dir))?;
    Ok(copy)
}

fn cannot_protect(dir: &Path) -> String {
    format!("cannot protect {} from being written", dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colons_and_backslashes_reach_overlayfs() {
        assert_eq!(escaped(Path::new("/a:b\\c")).unwrap(), "/a\\:b\\\\c");
    }
}
