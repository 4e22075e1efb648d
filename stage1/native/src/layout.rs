//! The file system every app gets, as a list of operations (App Container OS specification, and
//! rkt's capabilities guide for what is hidden and what is read-only).

use std::path::{Path, PathBuf};

use stage1_abi::{FileMode, RunArgs, path};
use supervisor::{MountPlan, Operation};

/// Nobody in a pod has business there; missing ones are passed over.
const INACCESSIBLE: [&str; 18] = [
    "/proc/acpi",
    "/proc/config.gz",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmem",
    "/proc/latency_stats",
    "/proc/mem",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs",
    "/sys/hypervisor",
    "/sys/module",
    "/sys/power",
];

/// Reading is fine, writing would reach the host.
const READ_ONLY: [&str; 6] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/asound",
];

/// Directories that programs count on.
const DIRECTORIES: [(&str, u32); 3] = [("/tmp", 0o1777), ("/run", 0o755), ("/var/tmp", 0o1777)];

/// What the layout of an app depends on.
#[derive(Debug)]
pub(crate) struct Wishes<'a> {
    pub(crate) app: &'a str,
    pub(crate) args: &'a RunArgs,
    pub(crate) hostname: &'a str,
    pub(crate) mounts: Vec<MountPlan>,
    pub(crate) root_read_only: bool,
    /// The pod has a network stack of its own, whose settings are the apps' to change.
    pub(crate) own_network: bool,
    /// What `/proc` shows of others' processes.
    pub(crate) hide_pid: Option<&'a str>,
    /// The app says itself when it is ready.
    pub(crate) notify: bool,
}

/// The operations, in the order they must happen.
pub(crate) fn operations(wishes: Wishes<'_>) -> Vec<Operation> {
    let protected = !wishes.args.insecure.disable_paths;
    let mut list: Vec<Operation> = vec![
        Operation::Proc {
            hide_pid: wishes.hide_pid.map(str::to_owned),
        },
        Operation::Sysfs {
            read_only: protected,
        },
        Operation::Devices,
    ];
    let targets: Vec<PathBuf> = wishes.mounts.iter().map(|m| m.target.clone()).collect();
    let covered = |path: &str| targets.iter().any(|target| target == Path::new(path));
    for (path, mode) in DIRECTORIES
        .into_iter()
        .filter(|(path, _)| *path != "/var/tmp")
    {
        list.push(Operation::Directory(path.into(), mode));
    }
    if protected {
        protect(&mut list, wishes.own_network);
    }
    names(&mut list, &wishes);
    // For programs of before /proc/mounts (CHANGELOG, 1.17.0).
    list.push(Operation::Link(
        "/etc/mtab".into(),
        "../proc/self/mounts".into(),
    ));
    list.push(Operation::Volume(MountPlan {
        volume: Path::new("/").join(path::journal(wishes.app)),
        target: "/run/systemd/journal".into(),
        read_only: true,
        recursive: false,
    }));
    if wishes.notify {
        list.push(Operation::BindFromStage1 {
            source: Path::new("/").join(path::notify(wishes.app)),
            target: path::NOTIFY_IN_APP.into(),
            if_there: false,
            read_only: false,
        });
    }
    list.retain(|operation| !matches!(operation, Operation::Proc { .. } if covered("/proc")));
    // What the command line or a network says goes before a volume at the very place.
    let named = [
        (RESOLV_CONF, resolv_conf(wishes.args)),
        (HOSTS, hosts(wishes.args)),
    ];
    let (over_volumes, under): (Vec<_>, Vec<_>) =
        named.into_iter().partition(|(place, _)| covered(place));
    list.extend(under.into_iter().filter_map(|(_, file)| file));
    list.extend(sorted(wishes.mounts).into_iter().map(Operation::Volume));
    list.extend(over_volumes.into_iter().filter_map(|(_, file)| file));
    if wishes.root_read_only {
        list.push(Operation::RootReadOnly);
    }
    list
}

fn protect(list: &mut Vec<Operation>, own_network: bool) {
    list.extend(READ_ONLY.map(|path| Operation::ReadOnly(path.into())));
    if own_network {
        list.push(Operation::Writable("/proc/sys/net".into()));
    }
    list.extend(INACCESSIBLE.map(|path| Operation::Inaccessible(path.into())));
}

/// Where programs look for name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where they look for names first.
const HOSTS: &str = "/etc/hosts";

/// A file of the stage1 root file system over one of the app. The host's own is not the pod's to
/// change.
fn from_stage1(source: &str, target: &str, mode: FileMode) -> Operation {
    Operation::BindFromStage1 {
        source: Path::new("/").join(source),
        target: target.into(),
        if_there: mode == FileMode::Default,
        read_only: mode == FileMode::Host,
    }
}

/// The resolver (networking-dns, "Precedence"): by default what a network gave, which is known
/// only when the networks are up.
fn resolv_conf(args: &RunArgs) -> Option<Operation> {
    match args.dns_conf_mode.resolv {
        FileMode::None => None,
        mode => Some(from_stage1(path::RESOLV_CONF, RESOLV_CONF, mode)),
    }
}

/// Host name and hosts (stage1 interface version 4).
fn names(list: &mut Vec<Operation>, wishes: &Wishes<'_>) {
    list.push(Operation::BindWithin {
        source: "/proc/sys/kernel/hostname".into(),
        target: "/etc/hostname".into(),
    });
    if hosts(wishes.args).is_none() {
        let text = format!(
            "127.0.0.1\tlocalhost localhost.localdomain {}\n::1\tlocalhost ip6-localhost ip6-loopback\n",
            wishes.hostname
        );
        list.push(Operation::File(HOSTS.into(), text));
    }
}

/// The hosts file of the command line (networking-dns, "Precedence").
fn hosts(args: &RunArgs) -> Option<Operation> {
    match args.dns_conf_mode.hosts {
        mode @ (FileMode::Host | FileMode::Stage0) => Some(from_stage1(path::HOSTS, HOSTS, mode)),
        FileMode::None | FileMode::Default => None,
    }
}

/// Mounts on a path come before mounts below it.
fn sorted(mut mounts: Vec<MountPlan>) -> Vec<MountPlan> {
    mounts.sort_by_key(|mount| mount.target.components().count());
    mounts
}

/// Where the volume of this name is gathered, below the stage1 root file system.
pub(crate) fn gathered(volume: &str) -> PathBuf {
    Path::new("/rkt/volumes").join(volume)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(args: &RunArgs) -> Wishes<'_> {
        Wishes {
            app: "app",
            args,
            hostname: "h",
            mounts: ["/a/b", "/a"]
                .map(|t| MountPlan {
                    volume: "/v".into(),
                    target: t.into(),
                    read_only: false,
                    recursive: true,
                })
                .into(),
            root_read_only: true,
            own_network: true,
            hide_pid: None,
            notify: false,
        }
    }

    #[test]
    fn volumes_come_parents_first_and_the_root_is_closed_last() {
        let args = RunArgs::default();
        let list = operations(wishes(&args));
        let targets: Vec<_> = list
            .iter()
            .filter_map(|o| match o {
                Operation::Volume(mount) => mount.target.to_str(),
                _ => None,
            })
            .collect();
        assert_eq!(targets, ["/run/systemd/journal", "/a", "/a/b"]);
        assert_eq!(list.last(), Some(&Operation::RootReadOnly));
        let position = |path: &str| {
            list.iter()
                .position(|o| *o == Operation::ReadOnly(path.into()))
        };
        assert!(
            position("/proc/sys")
                < list
                    .iter()
                    .position(|o| *o == Operation::Writable("/proc/sys/net".into()))
        );
    }

    #[test]
    fn a_networks_resolver_goes_before_a_volume_at_its_place() {
        let args = RunArgs::default();
        let place = |target: &str| {
            let mut wishes = wishes(&args);
            wishes.mounts[0].target = target.into();
            let list = operations(wishes);
            let resolver = |o: &Operation| matches!(o, Operation::BindFromStage1 { target, .. } if target == Path::new(RESOLV_CONF));
            let volume =
                |o: &Operation| matches!(o, Operation::Volume(m) if m.target == Path::new(target));
            let at = |wanted: &dyn Fn(&Operation) -> bool| list.iter().position(wanted).unwrap();
            at(&resolver) > at(&volume)
        };
        assert!(place("/etc/resolv.conf"));
        assert!(!place("/etc"));
    }

    #[test]
    fn unprotected_paths_stay_as_they_are() {
        let mut args = RunArgs::default();
        args.insecure.disable_paths = true;
        let list = operations(wishes(&args));
        assert!(
            !list
                .iter()
                .any(|o| matches!(o, Operation::Inaccessible(_) | Operation::ReadOnly(_)))
        );
        assert!(list.contains(&Operation::Sysfs { read_only: false }));
    }
}
