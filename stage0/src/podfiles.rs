//! What stage0 writes into a pod's directory (surface: "Files in a pod dir").

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use appc::PodManifest;
use pod::{Dir, Pods, PreparingPod};
use rustix::fs::{AtFlags, Gid, Mode, Uid};
use stage1_abi::{Labels, PrivateUsers, path};

use crate::context::Context;
use crate::copy_up::{self, Files};
use crate::failure::{Doing, Failure};
use crate::images::{Images, Rendered};
use crate::launch::{Layer, Overlay};
use crate::{private_users, selinux};

/// Files of a pod directory.
pub(crate) const FILE: u32 = 0o640;
/// Directories of a pod directory.
const DIR: u32 = 0o750;
/// Directories that apps see.
pub(crate) const OPEN_DIR: u32 = 0o755;

/// What a pod is made of.
#[derive(Debug)]
pub(crate) struct Ingredients {
    pub(crate) manifest: PodManifest,
    /// The stage1 image.
    pub(crate) stage1: Rendered,
    /// The apps' images, in the order of the manifest.
    pub(crate) images: Vec<Rendered>,
    /// Trees are mounted as overlays instead of copied.
    pub(crate) overlay: bool,
    /// The pod gets ids of its own.
    pub(crate) users: Option<Users>,
    /// The pod's SELinux contexts; chosen likewise.
    pub(crate) labels: Option<Labels>,
}

/// The ids of a pod with a user namespace; chosen when its directory is there to name them.
#[derive(Debug, Default)]
pub(crate) struct Users {
    pub(crate) ids: Option<PrivateUsers>,
    /// What shows trees under these ids.
    pub(crate) namespace: Option<OwnedFd>,
}

impl Ingredients {
    /// The ids of the pod's user namespace.
    pub(crate) fn private_users(&self) -> Option<PrivateUsers> {
        self.users.as_ref().and_then(|users| users.ids)
    }

    /// The trees to mount at the start, stage1's first.
    pub(crate) fn overlays(&self) -> Vec<Overlay> {
        if !self.overlay {
            return Vec::new();
        }
        let stage1 = Overlay {
            tree: self.stage1.tree.clone(),
            app: None,
            context: self.labels.as_ref().map(|labels| labels.file.clone()),
        };
        let apps = self.manifest.apps.iter().zip(&self.images);
        let apps = apps.map(|(app, image)| Overlay {
            tree: image.tree.clone(),
            app: Some(app.name.to_string()),
            context: selinux::of_root(self.labels.as_ref(), app.app.as_ref()),
        });
        std::iter::once(stage1).chain(apps).collect()
    }
}

/// The umask while files are made whose modes matter; the user's comes back afterwards.
pub(crate) struct Umask(Mode);

impl Umask {
    pub(crate) fn clear() -> Self {
        Self(rustix::process::umask(Mode::empty()))
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        rustix::process::umask(self.0);
    }
}

/// Makes a pod and everything in it. It is in the prepare phase, its lock is held.
pub(crate) fn prepare(
    context: &Context,
    pods: &Pods,
    images: &Images,
    made_of: &mut Ingredients,
) -> Result<PreparingPod, Failure> {
    let _umask = Umask::clear();
    let pod = pods.new_pod().doing("cannot create the pod")?;
    context.trace(|| format!("Preparing pod {}", pod.uuid()));
    let filled = choose_users(context, pods, pod.dir(), made_of).and_then(|()| {
        made_of.labels = selinux::reserve(pods, pod.dir(), &made_of.manifest)?;
        fill(context, pod.dir(), images, made_of)
    });
    match filled {
        Ok(()) => Ok(pod),
        Err(failure) => {
            abandon(pods, pod);
            Err(failure)
        }
    }
}

/// Chooses the ids of a pod that is to have its own. Where trees cannot be shown under them, they
/// are copied and chowned, as the original did.
fn choose_users(
    context: &Context,
    pods: &Pods,
    dir: &Dir,
    made_of: &mut Ingredients,
) -> Result<(), Failure> {
    let Some(users) = &mut made_of.users else {
        return Ok(());
    };
    let ids = private_users::reserve(pods, dir)?;
    users.ids = Some(ids);
    if !made_of.overlay {
        return Ok(());
    }
    let namespace = private_users::namespace(ids)?;
    match private_users::cannot_map(&context.data_dir, &namespace) {
        None => users.namespace = Some(namespace),
        Some(reason) => {
            made_of.overlay = false;
            crate::output::note(&format!(
                "the images are copied and their owners changed: {} cannot be shown under other ids: {reason}",
                context.data_dir.display()
            ));
        }
    }
    Ok(())
}

/// Removes a pod that cannot be finished. If that fails too, garbage collection will.
fn abandon(pods: &Pods, pod: PreparingPod) {
    if let Err(error) = pod.abandon(pods) {
        crate::output::note(&format!("cannot remove the unfinished pod: {error}"));
    }
}

fn fill(
    context: &Context,
    dir: &Dir,
    images: &Images,
    made_of: &Ingredients,
) -> Result<(), Failure> {
    let problem = || format!("cannot prepare the pod in {}", dir.path().display());
    describe(dir, made_of).doing_with(problem)?;
    {
        let _files = selinux::files_in(made_of.labels.as_ref().map(|l| &*l.file))?;
        dir.mkdir(path::STAGE1_ROOTFS, OPEN_DIR)
            .doing_with(problem)?;
    }
    let users = made_of.private_users();
    match made_of.overlay {
        true => {
            for overlay in made_of.overlays() {
                layer(context, dir, &overlay, users)?;
            }
        }
        false => copy(dir, images, made_of)?,
    }
    let _files = selinux::files_in(made_of.labels.as_ref().map(|l| &*l.file))?;
    for (app, image) in made_of.manifest.apps.iter().zip(&made_of.images) {
        let files = match made_of.overlay {
            true => Files::Store(&context.data_dir),
            false => Files::Copy(app_root(dir, &app.name)),
        };
        copy_up::fill(dir, &made_of.manifest, app, image, &files, users)?;
    }
    let written = written(made_of);
    status_files(dir, &written, made_of).doing_with(problem)
}

/// Where stage1's files end up on the host.
fn written(made_of: &Ingredients) -> PathBuf {
    path::stage1_written(made_of.overlay.then_some(made_of.stage1.tree.as_str()))
}

/// The files that describe the pod.
fn describe(dir: &Dir, made_of: &Ingredients) -> Result<(), pod::Error> {
    dir.write(path::POD_CREATED, b"", FILE)?;
    // Whoever lists pods meanwhile finds the whole manifest or none.
    dir.write_whole(path::POD_MANIFEST, &made_of.manifest.to_json(), FILE)?;
    dir.mkdir("stage1", DIR)?;
    dir.write(
        path::STAGE1_MANIFEST,
        &made_of.stage1.manifest.to_json(),
        FILE,
    )?;
    dir.write(
        path::STAGE1_TREE_STORE_ID,
        made_of.stage1.tree.as_bytes(),
        FILE,
    )?;
    dir.mkdir(path::APPS_INFO, DIR)?;
    for (app, image) in made_of.manifest.apps.iter().zip(&made_of.images) {
        describe_app(dir, &app.name, image)?;
    }
    if made_of.overlay {
        dir.mkdir(path::OVERLAY, DIR)?;
        dir.write(path::OVERLAY_PREPARED, b"", FILE)?;
    }
    Ok(())
}

/// The files that describe the image of an app.
pub(crate) fn describe_app(dir: &Dir, app: &str, image: &Rendered) -> Result<(), pod::Error> {
    dir.mkdir(Path::new(path::APPS_INFO).join(app), DIR)?;
    dir.write(path::app_manifest(app), &image.manifest.to_json(), FILE)?;
    dir.write(path::app_tree_store_id(app), image.tree.as_bytes(), FILE)
}

/// The writable layer of one tree. Its top has the mode and owner of the tree's: it becomes `/`.
pub(crate) fn layer(
    context: &Context,
    dir: &Dir,
    overlay: &Overlay,
    users: Option<PrivateUsers>,
) -> Result<(), Failure> {
    let problem = || format!("cannot prepare the overlay of tree {:?}", overlay.tree);
    let layer = Layer::of(overlay);
    let base = PathBuf::from(path::OVERLAY).join(&overlay.tree);
    let make = || -> Result<(), pod::Error> {
        dir.mkdir(&base, DIR)?;
        if overlay.app.is_some() {
            dir.mkdir(base.join("upper"), OPEN_DIR)?;
            dir.mkdir(base.join("work"), DIR)?;
        }
        dir.mkdir(&layer.upper, OPEN_DIR)?;
        dir.mkdir(&layer.work, DIR)
    };
    make().doing_with(problem)?;
    let tree = context
        .data_dir
        .join("cas/tree")
        .join(&overlay.tree)
        .join("rootfs");
    let like = rustix::fs::lstat(&tree).doing_with(problem)?;
    let own = |id| users.map_or(id, |users| users.on_host(id));
    let (uid, gid) = (
        Uid::from_raw(own(like.st_uid)),
        Gid::from_raw(own(like.st_gid)),
    );
    let mode = Mode::from_raw_mode(like.st_mode & 0o7777);
    let upper = layer.upper.as_str();
    if !uid.is_root() || !gid.is_root() {
        rustix::fs::chownat(
            dir.fd(),
            upper,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .doing_with(problem)?;
    }
    if mode.as_raw_mode() != OPEN_DIR {
        rustix::fs::chmodat(dir.fd(), upper, mode, AtFlags::empty()).doing_with(problem)?;
    }
    Ok(())
}

/// Copies of the trees, for file systems that overlayfs cannot use.
fn copy(dir: &Dir, images: &Images, made_of: &Ingredients) -> Result<(), Failure> {
    let root = dir.path().join(path::STAGE1_ROOTFS);
    let users = made_of.private_users();
    let labels = made_of.labels.as_ref();
    copy_tree(
        images,
        &made_of.stage1,
        &root,
        users,
        labels.map(|l| &*l.file),
    )?;
    for (app, image) in made_of.manifest.apps.iter().zip(&made_of.images) {
        let below = path::app_rootfs(&app.name);
        make_below(dir, Path::new(path::STAGE1_ROOTFS), &below, None)
            .doing_with(|| format!("cannot make the root of app {:?}", app.name.as_str()))?;
        let context = selinux::of_root(labels, app.app.as_ref());
        copy_tree(images, image, &root.join(below), users, context.as_deref())?;
    }
    Ok(())
}

/// A copy of one tree, owned by the pod's users.
pub(crate) fn copy_tree(
    images: &Images,
    image: &Rendered,
    root: &Path,
    users: Option<PrivateUsers>,
    context: Option<&str>,
) -> Result<(), Failure> {
    let _files = selinux::files_in(context)?;
    images.render_into(image, root)?;
    match users {
        Some(users) => store::shift_owners(root, users.shift).doing("cannot copy an image"),
        None => Ok(()),
    }
}

/// Where an app's copied tree is.
fn app_root(dir: &Dir, app: &str) -> PathBuf {
    let root = dir.path().join(path::STAGE1_ROOTFS);
    root.join(path::app_rootfs(app))
}

/// Makes a directory and those above it, below one that is there, for the pod's root to write to.
fn make_below(
    dir: &Dir,
    base: &Path,
    path: impl AsRef<Path>,
    users: Option<PrivateUsers>,
) -> Result<(), pod::Error> {
    let mut made = base.to_path_buf();
    path.as_ref().iter().try_for_each(|part| {
        made.push(part);
        dir.mkdir(&made, OPEN_DIR)?;
        give(dir, &made, users)
    })
}

/// Gives a file or directory to the pod's root.
pub(crate) fn give(dir: &Dir, path: &Path, users: Option<PrivateUsers>) -> Result<(), pod::Error> {
    match users {
        Some(users) => dir.give(path, users.shift),
        None => Ok(()),
    }
}

/// The directories and files in stage1's root that others watch or stamp.
fn status_files(dir: &Dir, written: &Path, made_of: &Ingredients) -> Result<(), pod::Error> {
    let users = made_of.private_users();
    make_below(dir, written, path::STATUS, users)?;
    for app in &made_of.manifest.apps {
        let file = written.join(path::app_created(&app.name));
        dir.write(&file, b"", FILE)?;
        give(dir, &file, users)?;
    }
    Ok(())
}

/// The files for one start of the pod: name resolution, and when the apps were started.
pub(crate) fn before_start(
    dir: &Dir,
    written: &Path,
    apps: &[String],
    resolv_conf: Option<&str>,
    hosts: Option<&str>,
    users: Option<PrivateUsers>,
) -> Result<(), Failure> {
    let _umask = Umask::clear();
    let put = |name: &Path, text: &str, mode: u32| {
        let file = written.join(name);
        dir.write(&file, text.as_bytes(), mode)?;
        give(dir, &file, users)
    };
    let write = || -> Result<(), pod::Error> {
        if resolv_conf.is_some() || hosts.is_some() {
            make_below(dir, written, "etc", users)?;
        }
        for (name, text) in [(path::RESOLV_CONF, resolv_conf), (path::HOSTS, hosts)] {
            if let Some(text) = text {
                put(Path::new(name), text, 0o644)?;
            }
        }
        for app in apps {
            put(&path::app_started(app), "", FILE)?;
        }
        Ok(())
    };
    write().doing("cannot write the files of the pod's start")
}
