//! The supervisor's birth: the clone into the pod's namespaces, and the ids of its user namespace.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use sandbox::cgroup::PodCgroup;
use sandbox::clone::{Child, Cloned, Namespaces, clone};
use sandbox::ids::{self, IdRange};
use sandbox::{Context, netns};
use stage1_abi::{PrivateUsers, RunArgs, path};
use supervisor::{Links, PodPlan, copy_volume, devices_with_nodes};

use crate::FAILURE;
use crate::error::Error;

/// Where the supervisor is born.
#[derive(Debug)]
pub(crate) struct Birth<'a> {
    pub(crate) args: &'a RunArgs,
    /// The pod's network namespace, where it is there already.
    pub(crate) network: Option<&'a OwnedFd>,
    /// The pod has a network stack of its own.
    pub(crate) own_network: bool,
    /// The cgroup to be cloned into, or to join.
    pub(crate) cgroup: Option<&'a PodCgroup>,
}

/// A supervisor that waits for the ids of its user namespace.
#[derive(Debug)]
pub(crate) struct Nameless {
    /// `None`: those of the user namespace that this process is in.
    users: Option<PrivateUsers>,
    pid: Pid,
    holds: OwnedFd,
}

impl Birth<'_> {
    /// Clones the supervisor. With a user namespace it waits to be named; the network namespace is
    /// inherited, or made by the user namespace so that it belongs to it.
    pub(crate) fn clone_supervisor(
        self,
        mut plan: PodPlan,
        links: Links,
        go: &OwnedFd,
    ) -> Result<(Child, Option<Nameless>), Error> {
        let mut namespaces = Namespaces::PID | Namespaces::MOUNT | Namespaces::UTS;
        if self.args.ipc.as_deref() != Some("parent") {
            namespaces |= Namespaces::IPC;
        }
        if !plan.user_namespace {
            let child = self.clone(namespaces, plan, links, go, None)?;
            return Ok((child, None));
        }
        let users = self.args.private_users;
        namespaces.set(Namespaces::USER, users.is_some());
        namespaces.set(Namespaces::NET, self.own_network);
        if let Some(users) = users {
            copy_volumes(&mut plan, users)?;
            give_devices(&mut plan, users)?;
        }
        let (waits, holds) = pipe_with(PipeFlags::CLOEXEC).context("make", "a pipe")?;
        let child = self.clone(namespaces, plan, links, go, Some((&waits, &holds)))?;
        let pid = child.pid;
        Ok((child, Some(Nameless { users, pid, holds })))
    }

    fn clone(
        &self,
        namespaces: Namespaces,
        plan: PodPlan,
        links: Links,
        go: &OwnedFd,
        naming: Option<(&OwnedFd, &OwnedFd)>,
    ) -> Result<Child, Error> {
        let clone = || {
            // SAFETY: this process has one thread up to here.
            match unsafe { clone(namespaces, self.cgroup.and_then(PodCgroup::supervisor)) } {
                Ok(Cloned::Child) => {
                    if let Some(Err(error)) = self.cgroup.map(PodCgroup::join) {
                        eprintln!("stage1: {error}");
                        sandbox::exec::exit_now(FAILURE);
                    }
                    // The writing ends are the parent's alone: its death must close the pipes.
                    for end in [Some(go), naming.map(|(_, holds)| holds)]
                        .into_iter()
                        .flatten()
                    {
                        // SAFETY: the copy of the descriptor in this process is used by nobody else.
                        unsafe { rustix::io::close(end.as_raw_fd()) };
                    }
                    if let Some((waits, _)) = naming
                        && !be_named(waits, self.args.private_users.is_some())
                    {
                        sandbox::exec::exit_now(FAILURE);
                    }
                    sandbox::exec::exit_now(supervisor::run(plan, links))
                }
                Ok(Cloned::Parent(child)) => Ok(child),
                Err(errno) => Err(errno),
            }
        };
        let cloned = match self.network {
            Some(network) => {
                netns::within(network.as_fd(), clone).context("enter", "the pod's network")?
            }
            None => clone(),
        };
        Ok(cloned.context("start", "the supervisor")?)
    }
}

impl Nameless {
    /// Gives the supervisor its ids; its network namespace, if that is its own.
    pub(crate) fn name(&self, own_network: bool) -> Result<Option<OwnedFd>, Error> {
        if let Some(users) = self.users {
            ids::map(self.pid, &[range(users)])?;
        }
        let network = own_network.then(|| netns::of(self.pid));
        Ok(network.transpose().context("open", "the pod's network")?)
    }

    /// Lets the supervisor begin.
    pub(crate) fn go_on(self) -> Result<(), Error> {
        rustix::io::write(&self.holds, b"G").context("start", "the supervisor")?;
        Ok(())
    }
}

/// In the supervisor: waits for its ids and becomes their root.
fn be_named(waits: &OwnedFd, by_new_ids: bool) -> bool {
    if ids::wait(waits) != Ok(true) {
        return false;
    }
    // The pod's directory is closed to the pod's root, but not yet to this process.
    let become_root = || {
        rustix::process::chdir(path::STAGE1_ROOTFS)?;
        match by_new_ids {
            true => ids::become_root(),
            false => Ok(()),
        }
    };
    let Err(errno) = become_root() else {
        return true;
    };
    let reason = std::io::Error::from(errno);
    let line = format!("rkt: cannot become root of the pod's user namespace: {reason}\n");
    // Without standard error there is nobody to tell.
    let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
    false
}

/// Copies the volumes' mounts while this process has the host's privileges: in the user namespace
/// nothing can be shown under other ids, and what is mounted below a volume stays with it.
fn copy_volumes(plan: &mut PodPlan, users: PrivateUsers) -> Result<(), Error> {
    let mapped = plan.volumes.iter().any(|volume| volume.mapped);
    let namespace = match mapped {
        true => Some(ids::namespace(&[range(users)])?),
        false => None,
    };
    let namespace = namespace.as_ref().map(AsFd::as_fd);
    for volume in &mut plan.volumes {
        volume.mount = Some(copy_volume(volume, namespace)?);
    }
    Ok(())
}

/// Makes the apps' device nodes, which the user namespace could not.
fn give_devices(plan: &mut PodPlan, users: PrivateUsers) -> Result<(), Error> {
    // Apps that are started anew must not find what they left in `/dev`.
    if plan.mutable {
        return Ok(());
    }
    for app in &mut plan.apps {
        app.devices = match devices_with_nodes(users.on_host(0), app.file_context.as_deref()) {
            // In a container without CAP_MKNOD: those that are there are bound.
            Err(error) if error.errno == Errno::PERM => return Ok(()),
            devices => Some(devices?),
        };
    }
    Ok(())
}

fn range(users: PrivateUsers) -> IdRange {
    IdRange {
        inside: 0,
        outside: users.shift,
        count: users.count,
    }
}
