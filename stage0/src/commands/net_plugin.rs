//! `rkt net-plugin`: the built-in network types as CNI plugins for other runtimes. Also under a
//! type's own name: a link to rkt that is called `bridge` is that plugin.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::ArgMatches;
use net::{Answer, Keeper, Paths};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Entry;
use crate::cli::flags::{Values, switch, words};
use crate::context::Context;
use crate::failure::{Doing, Failure, Outcome};
use crate::output;

/// The entry in the table of commands.
pub(super) const ENTRY: Entry = Entry {
    name: "net-plugin",
    about: "Act as a CNI plugin",
    usage: "net-plugin [TYPE]",
    long: "Acts as the CNI plugin TYPE, or as the one that the configuration on standard input names.\nIt is for other container runtimes, which execute plugins as the CNI specification says\n(CNI_COMMAND and the like in the environment).\n\nA link to rkt with a type's name does the same:\n\tln -s /usr/bin/rkt /opt/cni/bin/bridge\n\nThe types are bandwidth, bridge, firewall, flannel, ipvlan, loopback, macvlan, portmap, ptp and\ntuning, and for addresses dhcp, host-local and static. A lease that dhcp got is renewed by a\nprocess of its own until the container's DEL.",
    arguments: |command| {
        command.args([
            switch("keep-lease", "renew the lease that an ADD got").hide(true),
            words("type"),
        ])
    },
    run,
    newer: true,
    ..Entry::BASE
};

fn run(_: &Context, matches: &ArgMatches) -> Outcome {
    match &matches.strings("type")[..] {
        [] if matches.is("keep-lease") => keep_lease(),
        [] => act(None),
        [kind] => act(Some(kind)),
        _ => Err(Failure::new("at most one type of plugin is expected")),
    }
}

/// Acts as the plugin that the program is called, if it is called like one and as one.
pub(crate) fn as_link() -> Option<ExitCode> {
    let program = std::env::args_os().next()?;
    let name = Path::new(&program).file_name()?.to_str()?;
    let is_plugin = net::is_builtin_type(name) && std::env::var_os("CNI_COMMAND").is_some();
    let acted = is_plugin.then(|| act(Some(name)))?;
    Some(acted.unwrap_or_else(|failure| {
        output::note(&failure.brief());
        ExitCode::from(failure.status())
    }))
}

fn act(kind: Option<&str>) -> Outcome {
    if std::env::var_os("CNI_COMMAND").is_none() {
        return Err(Failure::new(
            "CNI_COMMAND is not set: this command is for container runtimes, see \"rkt help net-plugin\"",
        ));
    }
    let mut input = Vec::new();
    std::io::stdin()
        .take(net::MOST_INPUT)
        .read_to_end(&mut input)
        .doing("cannot read the network's configuration from standard input")?;
    let answer = net::plugin(kind, variable, &input, &paths());
    if answer.keeps_lease {
        start_keeper(&input)?;
    }
    let Answer { status, output, .. } = answer;
    output::out(&output);
    Ok(ExitCode::from(status))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where CNI has things: other plugins in `CNI_PATH`.
fn paths() -> Paths {
    let mut paths = Paths::new(Path::new("/etc/rkt"), Path::new("/usr/lib/rkt"));
    if let Some(list) = std::env::var_os("CNI_PATH").filter(|list| !list.is_empty()) {
        paths.plugins = std::env::split_paths(&list).collect();
    }
    paths
}

/// Starts the process that renews the lease, tied to nothing of the runtime's.
fn start_keeper(input: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    let problem = "cannot start the process that keeps the DHCP lease";
    let mut child = Command::new("/proc/self/exe")
        .args(["net-plugin", "--keep-lease"])
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .doing(problem)?;
    match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(input).doing(problem),
        None => Err(Failure::new(problem)),
    }
}

/// Keeps a lease until its record is gone, which a DEL removes.
fn keep_lease() -> Outcome {
    let mut input = Vec::new();
    std::io::stdin()
        .take(net::MOST_INPUT)
        .read_to_end(&mut input)
        .doing("cannot read the network's configuration from standard input")?;
    let keeper = net::resume(variable, &input, &paths());
    let mut keeper =
        keeper.map_err(|problem| Failure::new(format!("cannot keep the lease: {problem}")))?;
    while keeper.is_wanted() {
        wait(&keeper)?;
        if let Some(said) = keeper.turn() {
            output::note(&said);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn wait(keeper: &Keeper) -> Result<(), Failure> {
    /// How long a lease that nobody wants any more goes unnoticed.
    const LOOK: Duration = Duration::from_secs(30);
    let left = keeper.deadline().unwrap_or(LOOK).min(LOOK);
    let limit = Timespec {
        tv_sec: left.as_secs().cast_signed(),
        tv_nsec: left.subsec_nanos().into(),
    };
    let mut fds: Vec<PollFd<'_>> = keeper
        .fd()
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .into_iter()
        .collect();
    match poll(&mut fds, Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno).doing("cannot wait"),
    }
}
