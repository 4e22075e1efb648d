//! Changing the apps of a running pod (devel-pod-lifecycle, "App"): its manifest, its files, and
//! the mounts that stage0 makes in it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use appc::{PodManifest, RuntimeApp};
use pod::{Dir, Pod};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sandbox::clone::Namespaces;
use stage1_abi::{AppArgs, annotation, path};

use crate::context::Context;
use crate::copy_up::{self, Files};
use crate::failure::{Doing, Failure};
use crate::images::{Images, Rendered};
use crate::launch::{self, Layer, Overlay};
use crate::mapped::Mapped;
use crate::measured;
use crate::podfiles::{self, FILE, OPEN_DIR, Umask};
use crate::stage1::{Entrypoints, Kind};
use crate::{private_users, selinux};

/// A mutable pod that runs.
#[derive(Debug)]
pub(crate) struct MutablePod<'c> {
    context: &'c Context,
    pod: Pod,
    pid: u32,
}

/// The same while nobody else adds or removes apps.
#[derive(Debug)]
pub(crate) struct Changing<'p> {
    of: &'p MutablePod<'p>,
    _lock: OwnedFd,
    /// The manifest, which only the lock's holder changes.
    pub(crate) manifest: PodManifest,
}

impl<'c> MutablePod<'c> {
    /// Takes a running pod, whose PID 1 on the host is `pid`.
    pub(crate) fn new(context: &'c Context, pod: Pod, pid: u32) -> Result<Self, Failure> {
        let this = Self { context, pod, pid };
        let manifest = this.manifest()?;
        match manifest.annotations.get(annotation::MUTABLE) {
            Some("true") => Ok(this),
            _ => Err(Failure::new(format!(
                "pod {:?} is immutable: start it with \"rkt app sandbox\"",
                this.pod.uuid()
            ))),
        }
    }

    /// The pod.
    pub(crate) fn pod(&self) -> &Pod {
        &self.pod
    }

    fn manifest(&self) -> Result<PodManifest, Failure> {
        let uuid = self.pod.uuid();
        self.pod
            .manifest()
            .doing_with(|| format!("cannot read the manifest of pod {uuid:?}"))?
            .ok_or_else(|| Failure::new(format!("pod {uuid:?} has no manifest")))
    }

    /// Waits until nobody else changes the pod's apps.
    pub(crate) fn lock(&self) -> Result<Changing<'_>, Failure> {
        let problem = || format!("cannot lock the manifest of pod {:?}", self.pod.uuid());
        let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = openat(
            self.pod.dir().fd(),
            path::POD_LOCK,
            flags,
            Mode::from_raw_mode(FILE),
        )
        .doing_with(problem)?;
        flock(&lock, FlockOperation::LockExclusive).doing_with(problem)?;
        Ok(Changing {
            of: self,
            _lock: lock,
            manifest: self.manifest()?,
        })
    }

    /// Calls an entrypoint for an app; its exit status.
    pub(crate) fn call(&self, kind: Kind, args: &AppArgs) -> Result<i32, Failure> {
        let entrypoints = Entrypoints::of(self.context, &self.pod)?;
        let status = entrypoints.cross(&self.pod, kind, self.pid, args.to_args())?;
        Ok(status.code().unwrap_or(-1))
    }

    /// The arguments for an entrypoint.
    pub(crate) fn args(&self, app: &str) -> AppArgs {
        AppArgs {
            app: app.to_owned(),
            debug: self.context.debug,
            ..AppArgs::default()
        }
    }

    /// Stamps a file of the app's that others watch.
    pub(crate) fn stamp(&self, file: &Path) -> Result<(), Failure> {
        let problem = || format!("cannot note what happens in pod {:?}", self.pod.uuid());
        let written = self.pod.stage1_written().doing_with(problem)?;
        let (dir, file) = (self.pod.dir(), written.join(file));
        dir.write(&file, b"", FILE).doing_with(problem)?;
        podfiles::give(dir, &file, private_users::of(dir)?).doing_with(problem)
    }

    /// Enters the mount namespace in which stage0 made the pod's mounts: that of the process which
    /// became the pod, the parent of its PID 1.
    fn enter_mounts(&self) -> Result<(), Failure> {
        let problem = || format!("cannot enter the mounts of pod {:?}", self.pod.uuid());
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid));
        let stat = stat.doing_with(problem)?;
        // The name, in parentheses, may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let parent = fields.split_whitespace().nth(1);
        let parent = parent.and_then(|p| p.parse().ok()).and_then(Pid::from_raw);
        let parent = parent.ok_or_else(|| Failure::new(problem()))?;
        let process = pidfd_open(parent, PidfdFlags::empty()).doing_with(problem)?;
        sandbox::clone::enter(process.as_fd(), Namespaces::MOUNT).doing_with(problem)?;
        rustix::process::chdir(self.pod.dir().path()).doing_with(problem)
    }

    fn uses_overlay(&self) -> Result<bool, Failure> {
        self.pod
            .uses_overlay()
            .doing_with(|| format!("cannot inspect pod {:?}", self.pod.uuid()))
    }
}

impl Changing<'_> {
    /// Puts an app into the pod; it can be started then.
    pub(crate) fn add(
        mut self,
        images: &Images,
        app: RuntimeApp,
        image: &Rendered,
        args: &AppArgs,
    ) -> Result<(), Failure> {
        let name = app.name.to_string();
        // What a command that was killed halfway left is in the way.
        self.clear(&name)?;
        self.manifest.apps.push(app);
        let added = self
            .prepare(images, &name, image)
            .and_then(|()| measured::before_start(self.of.context, &self.of.pod, &args.to_args()))
            .and_then(|()| match self.of.call(Kind::AppAdd, args)? {
                0 => Ok(()),
                code => Err(Failure::new(format!("stage1 refused it (status {code})"))),
            })
            .and_then(|()| self.of.stamp(&path::app_created(&name)));
        if added.is_err() {
            // The first failure is the one to tell.
            let _ = self.of.call(Kind::AppRm, &self.of.args(&name));
            let _ = self.clear(&name);
        }
        added.doing_with(|| format!("cannot add app {name:?} to pod {:?}", self.of.pod.uuid()))
    }

    fn prepare(&self, images: &Images, name: &str, image: &Rendered) -> Result<(), Failure> {
        let _umask = Umask::clear();
        let dir = self.of.pod.dir();
        let problem = || "cannot write the app's files";
        podfiles::describe_app(dir, name, image).doing_with(|| problem().into())?;
        let labels = selinux::of(dir)?;
        let app = self.manifest.app(name).and_then(|app| app.app.as_ref());
        let overlay = Overlay {
            tree: image.tree.clone(),
            app: Some(name.to_owned()),
            context: selinux::of_root(labels.as_ref(), app),
        };
        let uses_overlay = self.of.uses_overlay()?;
        let users = private_users::of(dir)?;
        if uses_overlay {
            podfiles::layer(self.of.context, dir, &overlay, users)?;
        }
        self.write_manifest()?;
        self.of.enter_mounts()?;
        let root = Path::new(path::STAGE1_ROOTFS).join(path::app_rootfs(name));
        make(&root)?;
        let data_dir = &self.of.context.data_dir;
        let files = match uses_overlay {
            true => {
                let stage1 = self.of.pod.stage1_tree();
                let stage1 = stage1.doing("cannot inspect the pod")?.unwrap_or_default();
                let skeleton = launch::skeleton(data_dir, &stage1);
                let users = users.map(private_users::namespace).transpose()?;
                let mapped = users.as_ref().map(|users| Mapped::new(data_dir, users));
                let mapped = mapped.transpose()?;
                launch::mount(data_dir, &overlay, skeleton.as_deref(), mapped.as_ref())?;
                Files::Store(data_dir)
            }
            false => {
                podfiles::copy_tree(images, image, &root, users, overlay.context.as_deref())?;
                Files::Copy(root)
            }
        };
        let _files = selinux::files_in(labels.as_ref().map(|labels| &*labels.file))?;
        match self.manifest.app(name) {
            Some(app) => copy_up::fill(dir, &self.manifest, app, image, &files, users),
            None => Ok(()),
        }
    }

    /// Takes an app out of the pod with everything it had there; it must have ended.
    pub(crate) fn remove(mut self, name: &str) -> Result<(), Failure> {
        let problem = || {
            format!(
                "cannot remove app {name:?} from pod {:?}",
                self.of.pod.uuid()
            )
        };
        match self
            .of
            .call(Kind::AppRm, &self.of.args(name))
            .doing_with(problem)?
        {
            0 => {}
            code => return Err(Failure::new(format!("{}: status {code}", problem()))),
        }
        let problem = problem();
        self.clear(name).doing_with(|| problem)
    }

    fn write_manifest(&self) -> Result<(), Failure> {
        let dir = self.of.pod.dir();
        dir.write_whole(path::POD_MANIFEST, &self.manifest.to_json(), FILE)
            .doing("cannot write the pod manifest")
    }

    /// Removes what there is of an app in the pod's files.
    fn clear(&mut self, name: &str) -> Result<(), Failure> {
        let known = self.manifest.app(name).cloned();
        let Some(app) = known else { return Ok(()) };
        self.manifest.apps.retain(|app| app.name != *name);
        let tree = self
            .of
            .pod
            .app_tree(name)
            .doing("cannot read the app's tree")?;
        self.of.enter_mounts()?;
        let root = Path::new(path::STAGE1_ROOTFS).join(path::app_rootfs(name));
        // Not mounted in a pod of copied trees, nor after a kill.
        let _ = unmount(&root, UnmountFlags::DETACH);
        // Of a pod of copied trees they are not empty, and go with the others.
        let _ = std::fs::remove_dir(&root);
        let _ = root.parent().map(std::fs::remove_dir);
        let mut trees = vec![Path::new(path::STAGE1_ROOTFS).join(path::STAGE2).join(name)];
        if let (true, Some(tree)) = (self.of.uses_overlay()?, tree) {
            let layer = Layer::of(&Overlay {
                tree,
                app: Some(name.to_owned()),
                context: None,
            });
            trees.extend([layer.upper, layer.work].map(PathBuf::from));
        }
        let own = app.mounts.iter().filter_map(|m| m.app_volume.as_ref());
        let shared = Path::new(path::SHARED_VOLUMES);
        trees.extend(own.map(|volume| shared.join(path::volume_key(name, true, &volume.name))));
        trees.push(Path::new(path::APPS_INFO).join(name));
        let dir = self.of.pod.dir();
        for tree in &trees {
            remove(dir, tree)?;
        }
        let written = self
            .of
            .pod
            .stage1_written()
            .doing("cannot inspect the pod")?;
        for file in [
            path::app_created(name),
            path::app_started(name),
            path::app_status(name),
        ] {
            remove(dir, &written.join(file))?;
        }
        self.write_manifest()
    }
}

/// Makes the directory of an app's root, in the pod's mounts.
fn make(root: &Path) -> Result<(), Failure> {
    let problem = || format!("cannot make {}", root.display());
    for dir in [root.parent().unwrap_or(root), root] {
        match std::fs::create_dir(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).doing_with(problem);
            }
            _ => {}
        }
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(OPEN_DIR);
    std::fs::set_permissions(root, mode).doing_with(problem)
}

fn remove(dir: &Dir, path: &Path) -> Result<(), Failure> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(dir.fd(), parent, flags, Mode::empty()) {
        Ok(parent) => pod::remove_tree(parent.as_fd(), Path::new(name)),
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno).doing_with(|| format!("cannot remove {}", path.display())),
    }
    .doing_with(|| format!("cannot remove {}", path.display()))
}
