//! The network of an ordinary user's pod: `pasta` (Debian's `passt`) passes its connections on as
//! the user's own, without any privilege over the host's network.
//!
//! It runs in a pid namespace whose first process dies with the pod's main process, so that nothing
//! of it is left however the pod ends.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitOptions, set_parent_process_death_signal, wait};
use sandbox::clone::{Attendant, Cloned, Namespaces, clone};
use sandbox::{Context, ids, mounts};
use stage1_abi::path;

use crate::error::Error;

/// Where Debian has it.
const PROGRAM: &str = "/usr/bin/pasta";
/// The interface's name in the pod.
pub(crate) const INTERFACE: &str = "eth0";
/// The pod reaches neither the host's loopback nor, by its own, ports there; and nothing comes in.
const ARGUMENTS: [&str; 15] = [
    "--config-net",
    "--quiet",
    "--netns-only",
    "--no-map-gw",
    "-t",
    "none",
    "-u",
    "none",
    "-T",
    "none",
    "-U",
    "none",
    "-I",
    INTERFACE,
    "--netns",
];

/// Whether there is one on this host.
pub(crate) fn check() -> Result<(), Error> {
    rustix::fs::access(PROGRAM, rustix::fs::Access::EXEC_OK).map_err(|errno| {
        let reason = std::io::Error::from(errno);
        Error::Network(format!(
            "an ordinary user's pod has its network through {PROGRAM}: {reason}: install the package \
             passt, or give --net=none or --net=host"
        ))
    })
}

/// Connects the pod's network namespace: an interface there that has the host's addresses and
/// routes. Ports are passed on by [`crate::relay`]. With the process that is returned the kernel ends
/// all of its pid namespace.
pub(crate) fn start(namespace: &OwnedFd) -> Result<Attendant, Error> {
    // A descriptor of another process's is closed to it: it finds the namespace by a mount, in the
    // mount namespace of this process and its children.
    let place = Path::new(path::NETNS);
    crate::run::write_file(path::NETNS, "")?;
    let mount = mounts::copy(namespace, Path::new(""), false)
        .context("copy mount of", "the pod's network")?;
    mounts::attach_at(mount, place)?;
    let directory = std::env::current_dir().map_err(|source| Error::Read {
        path: ".".into(),
        source,
    })?;
    let namespace = directory.join(place);
    let (answers, says) = pipe_with(PipeFlags::CLOEXEC).context("make", "a pipe")?;
    // SAFETY: this process has one thread.
    match unsafe { clone(Namespaces::PID, None) }.context("start", PROGRAM)? {
        Cloned::Child => {
            let _ = set_parent_process_death_signal(Some(Signal::KILL));
            // SAFETY: the copy of the descriptor in this process is used by nobody else.
            unsafe { rustix::io::close(answers.as_raw_fd()) };
            attend(&namespace, says)
        }
        Cloned::Parent(child) => {
            drop(says);
            let pasta = Attendant::from(child);
            match ids::wait(&answers) {
                Ok(true) => Ok(pasta),
                _ => Err(Error::Network(format!(
                    "{PROGRAM} failed, see above: without it there are --net=none and --net=host"
                ))),
            }
        }
    }
}

/// In the first process of its own pid namespace: starts it, says when it is ready, and stays as
/// long as it does.
fn attend(namespace: &Path, says: OwnedFd) -> ! {
    let _ = sandbox::exec::close_on_exec_from(3);
    // It goes to the background once it is ready.
    let output = Command::new(PROGRAM)
        .args(ARGUMENTS)
        .arg(namespace)
        .stdin(std::process::Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            if rustix::io::write(&says, b"R").is_err() {
                // Nobody is there any more whose death would be this process's.
                sandbox::exec::exit_now(0);
            }
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            // Hosts without a system log make it complain of that, too.
            for line in text.lines().filter(|line| !line.contains("to syslog")) {
                eprintln!("rkt: pasta: {line}");
            }
        }
        Err(error) => eprintln!("rkt: cannot execute {PROGRAM}: {error}"),
    }
    drop(says);
    while wait(WaitOptions::empty()).is_ok() {}
    sandbox::exec::exit_now(0)
}
