//! The side that stays on the host: clones, sets up what needs the host, waits, removes.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use crate::netlink::{Message, Netlink, index_of};
use crate::{Plan, cgroup, child, sys};

/// The host's and the pod's address, from the range kept for benchmarks. Each run has its
/// own, since the kernel removes a dead namespace's interfaces later.
pub(crate) fn addresses(pid: u32) -> ([u8; 4], [u8; 4]) {
    let [.., high, low] = ((pid % (1 << 15)) << 1).to_be_bytes();
    ([198, 18, high, low], [198, 18, high, low | 1])
}

const NAMESPACES: i32 = libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWNET;

/// Does the plan; the program's exit status.
pub(crate) fn run(plan: &Plan) -> io::Result<i32> {
    let scratch = scratch(plan)?;
    let groups = cgroup::make(&plan.cgroups)?;
    let unified = cgroup::make(plan.cgroup2.as_slice())?;
    let into = unified
        .first()
        .map(|group| cgroup::open(group))
        .transpose()?;
    let (ready, go) = sys::pipe()?;
    let (seen, tell) = sys::pipe()?;
    let us = std::process::id();
    let pid = sys::clone3(NAMESPACES as u64, into.as_ref().map(AsRawFd::as_raw_fd))?;
    if pid == 0 {
        child::become_program(plan, scratch.as_deref(), ready, tell, us);
    }
    // The child works on its mounts meanwhile.
    let network = if plan.veth { host_end(pid, us) } else { Ok(()) };
    let joined = cgroup::join(&groups, pid);
    sys::write_byte(go);
    if plan.veth {
        sys::read_byte(seen);
    }
    let code = sys::wait(pid);
    cgroup::remove(&groups);
    cgroup::remove(&unified);
    if let Some(dir) = scratch {
        fs::remove_dir_all(dir)?;
    }
    network.and(joined).and(code)
}

fn scratch(plan: &Plan) -> io::Result<Option<PathBuf>> {
    if plan.lower.is_none() {
        return Ok(None);
    }
    let base = plan
        .scratch
        .clone()
        .unwrap_or_else(|| PathBuf::from("/var/tmp"));
    let dir = base.join(format!("floor-{}", std::process::id()));
    for name in ["upper", "work", "root"] {
        fs::create_dir_all(dir.join(name))?;
    }
    Ok(Some(dir))
}

pub(crate) fn host_end(pid: i32, us: u32) -> io::Result<()> {
    let name = format!("floor{pid}");
    let netlink = Netlink::open()?;
    netlink.send(&[Message::veth(&name, pid)])?;
    let index = index_of(&name)?;
    let (host, pod) = addresses(us);
    netlink.send(&[
        Message::address(index, host, 32),
        Message::route(index, (pod, 32), None),
    ])
}
