//! The floor under a pod's start: what the kernel alone asks for namespaces, an overlay,
//! `pivot_root`, a network and a program that ends at once. No parsing, no checks, no
//! records. Everything that rkt takes more than this is rkt's own.

mod cgroup;
mod child;
mod measure;
mod netlink;
mod parent;
mod seccomp;
mod sys;

use std::ffi::CString;
use std::path::PathBuf;

const USAGE: &str = "usage: floor --measure-veth
       floor [--lower DIR] [--seccomp] [--veth] [--cgroup DIR]... [--cgroup2 DIR] PROGRAM [ARG]...

Runs PROGRAM once in new pid, mount, ipc, uts and network namespaces and exits as it does.
  --measure-veth print how many microseconds the network takes, and run nothing
  --lower DIR    overlay on this root file system, pivot_root, /proc, /dev, /dev/shm
  --scratch DIR  where the overlay's upper and work directories go (default /var/tmp)
  --seccomp      load a finished filter
  --veth         a veth pair, addresses on both ends and routes
  --cgroup DIR   join by writing cgroup.procs of a new child of DIR (v1; may be repeated)
  --cgroup2 DIR  start inside a new child of DIR by CLONE_INTO_CGROUP (v2)";

/// Which parts to do.
#[derive(Debug, Default)]
struct Plan {
    lower: Option<PathBuf>,
    scratch: Option<PathBuf>,
    seccomp: bool,
    veth: bool,
    cgroups: Vec<PathBuf>,
    cgroup2: Option<PathBuf>,
    argv: Vec<CString>,
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("--measure-veth") {
        std::process::exit(measure::run().unwrap_or_else(|error| {
            eprintln!("floor: {error}");
            254
        }));
    }
    let Some(plan) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    match parent::run(&plan) {
        Ok(code) => std::process::exit(code),
        Err(error) => {
            eprintln!("floor: {error}");
            std::process::exit(254);
        }
    }
}

fn parse(args: impl Iterator<Item = String>) -> Option<Plan> {
    let mut plan = Plan::default();
    let mut args = args.peekable();
    while let Some(arg) = args.next_if(|arg| arg.starts_with("--")) {
        match arg.as_str() {
            "--lower" => plan.lower = Some(args.next()?.into()),
            "--scratch" => plan.scratch = Some(args.next()?.into()),
            "--seccomp" => plan.seccomp = true,
            "--veth" => plan.veth = true,
            "--cgroup" => plan.cgroups.push(args.next()?.into()),
            "--cgroup2" => plan.cgroup2 = Some(args.next()?.into()),
            _ => return None,
        }
    }
    plan.argv = args.map(CString::new).collect::<Result<_, _>>().ok()?;
    (!plan.argv.is_empty()).then_some(plan)
}
