//! The privileges an app ends up with, given up in the order that lets each next step happen.

use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{
    set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};
use sandbox::caps::{self, Capabilities};
use sandbox::{Context, Error};

use crate::plan::Security;

/// The ids of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
}

/// Sets `oom_score_adj`; needs the app's `/proc`.
pub(super) fn set_oom_score(score: Option<i32>) -> Result<(), Error> {
    let Some(score) = score else { return Ok(()) };
    let path = Path::new("/proc/self/oom_score_adj");
    openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|fd| rustix::io::write(fd, score.to_string().as_bytes()))
        .map(drop)
        .context("set oom_score_adj to", score)
}

/// Why an id could not be taken. `EINVAL` has one cause: the user namespace does not have it.
fn become_error(errno: Errno, id: impl std::fmt::Display, kind: &str) -> Error {
    let object = match errno {
        Errno::INVAL => {
            format!(
                "{kind} {id}, which is not among the ids of the pod's user namespace (--private-users, or an ordinary user's pod)"
            )
        }
        _ => format!("{kind} {id}"),
    };
    Error {
        operation: "become",
        object,
        errno,
    }
}

/// A user namespace of one id keeps the groups of who made it (user_namespaces(7), "setgroups").
fn set_groups(groups: &[Gid]) -> Result<(), Errno> {
    match set_thread_groups(groups) {
        Err(Errno::PERM) if groups.is_empty() && !sandbox::ids::is_hosts() => Ok(()),
        other => other,
    }
}

/// Gives up what the app may not have. The system call filter comes last, right before exec: it
/// need not allow anything of this.
///
/// Root keeps its permitted set up to exec, where the kernel cuts it down to the bounding set.
///
/// # Errors
/// As the system calls of each step.
pub fn become_user(identity: &Identity, security: &Security) -> Result<(), Error> {
    // As a number for setresuid(2) it would leave root what it is.
    let every = identity.groups.iter().chain([&identity.uid, &identity.gid]);
    if every.copied().any(|id| id == u32::MAX) {
        return Err(Error {
            operation: "become",
            object: format!("user or group {}", u32::MAX),
            errno: Errno::INVAL,
        });
    }
    caps::bound(security.capabilities).context("limit", "capabilities")?;
    let ambient =
        identity.uid != 0 && security.ambient && security.capabilities != Capabilities::EMPTY;
    if ambient {
        set_keep_capabilities(true).context("keep", "capabilities")?;
    }
    let groups: Vec<Gid> = identity.groups.iter().map(|&g| Gid::from_raw(g)).collect();
    set_groups(&groups)
        .map_err(|e| become_error(e, format!("{:?}", identity.groups), "supplementary groups"))?;
    let gid = Gid::from_raw(identity.gid);
    set_thread_res_gid(gid, gid, gid).map_err(|e| become_error(e, identity.gid, "group"))?;
    let uid = Uid::from_raw(identity.uid);
    set_thread_res_uid(uid, uid, uid).map_err(|e| become_error(e, identity.uid, "user"))?;
    if ambient {
        caps::raise_ambient(security.capabilities).context("raise", "ambient capabilities")?;
    }
    // Without CAP_SYS_ADMIN a filter can be loaded only under no-new-privileges.
    if security.no_new_privileges || (identity.uid != 0 && security.seccomp.is_some()) {
        set_no_new_privs(true).context("set", "no-new-privileges")?;
    }
    match &security.seccomp {
        Some(program) => program.load().context("load", "the system call filter"),
        None => Ok(()),
    }
}
