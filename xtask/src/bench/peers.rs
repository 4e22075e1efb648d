//! Other engines, each as it runs a static `true` in a root file system that lies ready.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::measure::{Contestant, time};
use crate::Result;

/// Directories that every root file system has.
pub(super) const ROOT_DIRECTORIES: [&str; 6] = ["proc", "sys", "dev", "tmp", "etc", "usr"];

/// The root file system that the floor and the peers use.
pub(crate) fn rootfs(probe: &Path, dir: &Path) -> Result<PathBuf> {
    let root = dir.join("rootfs");
    let made = ROOT_DIRECTORIES
        .iter()
        .try_for_each(|name| fs::create_dir_all(root.join(name)));
    let copied = made.and_then(|()| fs::copy(probe, root.join("probe")));
    copied.map_err(|e| format!("cannot fill {}: {e}", root.display()))?;
    Ok(root)
}

/// All that are installed.
pub(crate) fn all(root: &Path, dir: &Path) -> Result<Vec<Contestant>> {
    let mut peers = Vec::new();
    for (program, path) in [("crun", "/usr/bin/crun"), ("runc", "/usr/sbin/runc")] {
        if Path::new(path).exists() {
            for seccomp in [false, true] {
                peers.push(oci(program, path, root, dir, seccomp)?);
            }
        }
    }
    if let Some(root) = found("/usr/bin/bwrap", root) {
        peers.push(Contestant::new("bwrap", move |_| {
            let mut command = Command::new("bwrap");
            command
                .args(["--unshare-all", "--bind"])
                .arg(&root)
                .args(["/", "--proc", "/proc", "--dev", "/dev"]);
            command.args(["/probe", "true"]);
            command
        }));
    }
    if let Some(root) = found("/usr/bin/systemd-nspawn", root) {
        peers.push(Contestant::new("systemd-nspawn", move |_| {
            let mut command = Command::new("systemd-nspawn");
            command.args([
                "--quiet",
                "--register=no",
                "--keep-unit",
                "--private-network",
                "--volatile=overlay",
            ]);
            command
                .args(["--console=pipe", "-D"])
                .arg(&root)
                .args(["/probe", "true"]);
            command
        }));
    }
    if Path::new("/usr/bin/podman").exists() {
        peers.extend(podman(root)?);
    }
    Ok(peers)
}

/// The hugetlb controller, kept in a version 1 hierarchy while this lives: crun refuses to run on
/// a host with both versions as long as version 2 has any controller.
#[derive(Debug)]
pub(super) struct Hugetlb(PathBuf);

impl Hugetlb {
    /// `None` where version 2 has no controllers, or has them all.
    pub(super) fn put_aside(dir: &Path) -> Option<Self> {
        let controllers = fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers").ok()?;
        let point = dir.join("hugetlb");
        fs::create_dir_all(&point)
            .ok()
            .filter(|()| controllers.trim() == "hugetlb")?;
        let mount = ["-t", "cgroup", "-o", "hugetlb", "none"];
        time(Command::new("mount").args(mount).arg(&point)).ok()?;
        Some(Self(point))
    }
}

impl Drop for Hugetlb {
    fn drop(&mut self) {
        if let Err(error) = time(Command::new("umount").arg(&self.0)) {
            println!("{} stays mounted: {error}", self.0.display());
        }
    }
}

fn found(program: &str, root: &Path) -> Option<PathBuf> {
    Path::new(program).exists().then(|| root.to_owned())
}

/// Makes podman's image of a root file system, and returns its name.
pub(crate) fn podman_image(root: &Path) -> Result<&'static str> {
    let tar = root.with_extension("tar");
    time(
        Command::new("tar")
            .arg("-C")
            .arg(root)
            .arg("-cf")
            .arg(&tar)
            .arg("."),
    )?;
    time(
        Command::new("podman")
            .args(["import", "--quiet"])
            .arg(&tar)
            .arg(PODMAN_IMAGE),
    )?;
    Ok(PODMAN_IMAGE)
}

const PODMAN_IMAGE: &str = "rkt-bench";

/// `podman run` on a network; the image and its command follow.
pub(crate) fn podman_run(network: &str) -> Command {
    let mut command = Command::new("podman");
    command.args([
        "run",
        "--rm",
        "--cgroup-manager=cgroupfs",
        // Its own defaults are more than some machines let root have.
        "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=4096:4096",
        "--network",
        network,
    ]);
    command
}

/// podman without network and with its bridge, from an image made of the same root.
fn podman(root: &Path) -> Result<Vec<Contestant>> {
    let image = match podman_image(root) {
        Ok(image) => image,
        Err(error) => {
            println!("podman is left out: {error}");
            return Ok(Vec::new());
        }
    };
    let run = |network: &'static str| {
        move |_| {
            let mut command = podman_run(network);
            command.args([image, "/probe", "true"]);
            command
        }
    };
    let mut peers = Vec::new();
    for (name, network) in [("podman, no network", "none"), ("podman, bridge", "podman")] {
        let peer = Contestant::new(name, run(network));
        match time(&mut (peer.call)(0)) {
            Ok(_) => peers.push(peer),
            Err(error) => println!("{name} is left out: {error}"),
        }
    }
    Ok(peers)
}

/// crun or runc with a bundle of its own.
fn oci(
    program: &str,
    path: &'static str,
    root: &Path,
    dir: &Path,
    seccomp: bool,
) -> Result<Contestant> {
    let name = if seccomp {
        format!("{program}, seccomp")
    } else {
        program.to_owned()
    };
    let bundle = dir.join(&name);
    let mut config = config(root);
    if seccomp {
        config["linux"]["seccomp"] = profile()?;
    }
    let written = fs::create_dir_all(&bundle)
        .and_then(|()| fs::write(bundle.join("config.json"), config.to_string()));
    written.map_err(|e| format!("{}: {e}", bundle.display()))?;
    let id = format!("bench-{program}-{seccomp}-{}", std::process::id());
    Ok(Contestant::new(&name, move |round| {
        let mut command = Command::new(path);
        command
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(format!("{id}-{round}"));
        command
    }))
}

fn config(root: &Path) -> Value {
    let quiet = ["nosuid", "noexec", "nodev"];
    let capabilities = [
        "CAP_CHOWN",
        "CAP_KILL",
        "CAP_SETUID",
        "CAP_SETGID",
        "CAP_NET_BIND_SERVICE",
    ];
    let namespaces =
        ["pid", "mount", "ipc", "uts", "network", "cgroup"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["/probe", "true"], "env": ["PATH=/bin"],
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": true,
        },
        "root": {"path": root, "readonly": false},
        "hostname": "bench",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": quiet},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "namespaces": namespaces,
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/sched_debug", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// A profile of ordinary length: every system call this machine's headers know, but a dozen.
fn profile() -> Result<Value> {
    let header = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";
    let text = fs::read_to_string(header).map_err(|e| format!("{header}: {e}"))?;
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("#define __NR_")?.split(' ').next());
    let refused = [
        "mount",
        "umount2",
        "reboot",
        "swapon",
        "swapoff",
        "init_module",
        "delete_module",
        "kexec_load",
    ];
    let names: Vec<_> = names.filter(|name| !refused.contains(name)).collect();
    Ok(json!({
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    }))
}

/// Removes what [`all`] has made outside its directory.
pub(crate) fn clean_up() {
    if Path::new("/usr/bin/podman").exists() {
        let _ = Command::new("podman")
            .args(["rmi", "--force", PODMAN_IMAGE])
            .output();
    }
}
