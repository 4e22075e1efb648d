//! What the host's systemd is told of a pod: its scope, its name among the machines, where its
//! journal is, and when it is ready (using-rkt-with-systemd, devel-cgroups). None of this makes a
//! pod fail: without it the pod runs as on a host without systemd.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::pipe::{PipeFlags, pipe_with};
use sandbox::Context;
use stage1_abi::path;
use systemd::{Machine, Notifier};

use crate::error::Error;
use crate::plan;

/// Where the host keeps the journals that `journalctl -m` reads.
const HOST_JOURNALS: &str = "/var/log/journal";

/// Moves this process, which is the pod from now on, into a scope of its own, unless a service
/// was started for it.
pub(crate) fn enter_scope(uuid: &str) {
    if !systemd::booted() || sandbox::cgroup::belongs_to_service() {
        return;
    }
    let name = format!("machine-rkt\\x2d{}.scope", uuid.replace('-', "\\x2d"));
    let description = format!("rkt pod {uuid}");
    if let Err(error) = systemd::start_scope(&name, &description, std::process::id()) {
        eprintln!("rkt: the pod has no scope of its own: {error}");
    }
}

/// Makes the pod known to systemd-machined and its journal to `journalctl -m`.
pub(crate) fn register(uuid: &str, leader: u32) {
    if !systemd::booted() {
        return;
    }
    let Ok(pod) = std::env::current_dir() else {
        return;
    };
    let root = pod.join(written());
    link_journal(uuid, &root);
    let machine = Machine {
        name: &format!("rkt-{uuid}"),
        id: plan::id(uuid),
        leader,
        root: &root,
    };
    if let Err(error) = systemd::register(&machine) {
        eprintln!("rkt: the pod is not known to systemd-machined: {error}");
    }
}

/// Where the files of stage1 are, below the pod directory, which is the working directory.
fn written() -> PathBuf {
    let overlay = Path::new(path::OVERLAY_PREPARED).exists();
    let tree = std::fs::read_to_string(path::STAGE1_TREE_STORE_ID).ok();
    path::stage1_written(tree.as_deref().filter(|_| overlay))
}

/// The name of the pod's journal directory: its machine ID.
fn machine_id(uuid: &str) -> String {
    uuid.replace('-', "")
}

fn link_journal(uuid: &str, root: &Path) {
    let id = machine_id(uuid);
    let target = root.join("var/log/journal").join(&id);
    let link = Path::new(HOST_JOURNALS).join(id);
    // A host that keeps no journal has no such directory.
    if Path::new(HOST_JOURNALS).is_dir()
        && let Err(error) = std::os::unix::fs::symlink(&target, &link)
    {
        eprintln!("rkt: cannot link {}: {error}", link.display());
    }
}

/// Takes away the link to the journal of a pod that is removed.
pub(crate) fn unlink_journal(uuid: &str) {
    let link = Path::new(HOST_JOURNALS).join(machine_id(uuid));
    if link.is_symlink()
        && let Err(error) = std::fs::remove_file(&link)
    {
        eprintln!("rkt: cannot remove {}: {error}", link.display());
    }
}

/// Tells the service manager that started rkt how the pod fares.
#[derive(Debug)]
pub(crate) struct Telling {
    notifier: Notifier,
    /// Gets a byte when the pod is ready; gone afterwards.
    pub(crate) ready: Option<OwnedFd>,
}

impl Telling {
    /// Who is told, if anybody wants to know, and what the supervisor gets to say that the pod is
    /// ready.
    pub(crate) fn new() -> Result<Option<(Self, OwnedFd)>, Error> {
        let notifier = match Notifier::from_environment() {
            Ok(Some(notifier)) => notifier,
            Ok(None) => return Ok(None),
            Err(error) => {
                eprintln!("rkt: cannot notify the service manager: {error}");
                return Ok(None);
            }
        };
        let (ready, says) = pipe_with(PipeFlags::CLOEXEC).context("make", "a pipe")?;
        let telling = Self {
            notifier,
            ready: Some(ready),
        };
        Ok(Some((telling, says)))
    }

    /// Something came from the supervisor: it is ready, or ended before it was.
    pub(crate) fn hear(&mut self) {
        if let Some(ready) = self.ready.take()
            && rustix::io::read(&ready, &mut [0; 1]) == Ok(1)
        {
            self.notifier
                .tell("READY=1\nSTATUS=All apps of the pod run.");
        }
    }

    /// The pod is about to end.
    pub(crate) fn stopping(&self) {
        self.notifier.tell("STOPPING=1");
    }
}
