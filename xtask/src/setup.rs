//! Debian packages that the other commands need: only the missing ones are installed.

use std::path::Path;
use std::process::Command;

use crate::Result;

/// All purposes.
pub(crate) const EVERYTHING: [&str; 3] = ["demo", "test", "bench"];

/// What it is for, a file that shows that it is there, the package that brings it.
const NEEDS: &[(&str, &str, &str)] = &[
    ("demo", "/usr/bin/cc", "gcc"),
    ("demo", "/usr/lib/x86_64-linux-gnu/libc.a", "libc6-dev"),
    (
        "demo",
        "/usr/lib/x86_64-linux-gnu/libcrypto.a",
        "libssl-dev",
    ),
    ("demo", "/usr/bin/pkg-config", "pkg-config"),
    ("demo", "/usr/bin/gzip", "gzip"),
    ("test", "/usr/bin/cc", "gcc"),
    (
        "test",
        "/usr/lib/x86_64-linux-gnu/libcrypto.a",
        "libssl-dev",
    ),
    ("test", "/usr/bin/pkg-config", "pkg-config"),
    ("test", "/bin/busybox", "busybox-static"),
    ("test", "/usr/bin/mmdebstrap", "mmdebstrap"),
    ("test", "/usr/bin/redis-cli", "redis-tools"),
    ("test", "/usr/bin/xz", "xz-utils"),
    ("test", "/usr/bin/bzip2", "bzip2"),
    ("test", "/usr/bin/zstd", "zstd"),
    ("test", "/usr/bin/setfattr", "attr"),
    ("test", "/usr/bin/script", "bsdutils"),
    ("test", "/usr/sbin/nft", "nftables"),
    ("test", "/usr/bin/gpg", "gnupg"),
    ("test", "/usr/bin/skopeo", "skopeo"),
    ("test", "/usr/bin/docker-registry", "docker-registry"),
    ("test", "/usr/bin/openssl", "openssl"),
    ("test", "/usr/bin/tinyproxy", "tinyproxy-bin"),
    ("test", "/usr/lib/cni/ptp", "containernetworking-plugins"),
    ("test", "/usr/sbin/dnsmasq", "dnsmasq-base"),
    ("test", "/usr/sbin/iptables", "iptables"),
    ("test", "/usr/bin/iperf3", "iperf3"),
    ("test", "/usr/sbin/firewalld", "firewalld"),
    ("test", "/usr/bin/dbus-daemon", "dbus-daemon"),
    ("test", "/usr/bin/podman", "podman"),
    ("test", "/usr/sbin/runc", "runc"),
    ("test", "/sbin/ip", "iproute2"),
    ("test", "/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("test", "/usr/bin/cpio", "cpio"),
    ("test", "/sbin/mke2fs", "e2fsprogs"),
    ("test", "/usr/bin/keyctl", "keyutils"),
    ("test", "/usr/bin/newuidmap", "uidmap"),
    ("test", "/usr/bin/pasta", "passt"),
    ("test", "/usr/bin/swtpm", "swtpm"),
    ("test", "/usr/bin/secilc", "secilc"),
    ("test", "/usr/bin/strace", "strace"),
    ("test", "/usr/bin/tpm2_pcrextend", "tpm2-tools"),
    ("bench", "/usr/bin/openssl", "openssl"),
    ("bench", "/usr/lib/cni/ptp", "containernetworking-plugins"),
    ("bench", "/usr/sbin/iptables", "iptables"),
    ("bench", "/usr/bin/iperf3", "iperf3"),
    ("bench", "/usr/bin/skopeo", "skopeo"),
    ("bench", "/usr/bin/docker-registry", "docker-registry"),
    ("bench", "/usr/bin/igzip", "isal"),
    ("bench", "/usr/bin/containerd", "containerd"),
    ("bench", "/usr/bin/gpg", "gnupg"),
    ("bench", "/usr/bin/crun", "crun"),
    ("bench", "/usr/sbin/runc", "runc"),
    ("bench", "/usr/bin/bwrap", "bubblewrap"),
    ("bench", "/usr/bin/podman", "podman"),
    ("bench", "/usr/bin/systemd-nspawn", "systemd-container"),
];

/// Installs what is missing for these purposes, after saying so.
pub(crate) fn run(purposes: &[&str]) -> Result<()> {
    if let Some(unknown) = purposes
        .iter()
        .find(|purpose| !EVERYTHING.contains(purpose))
    {
        return Err(format!(
            "setup: unknown purpose {unknown:?}; there are {}",
            EVERYTHING.join(", ")
        ));
    }
    let missing = missing(purposes);
    if missing.is_empty() {
        return Ok(());
    }
    println!(
        "Installing for {}: {}",
        purposes.join(", "),
        missing.join(" ")
    );
    apt(&["update", "-qq"])?;
    apt(&[
        ["install", "-qq", "--yes", "--no-install-recommends"].as_slice(),
        &missing,
    ]
    .concat())
}

fn missing(purposes: &[&str]) -> Vec<&'static str> {
    let needed = NEEDS
        .iter()
        .filter(|(purpose, file, _)| purposes.contains(purpose) && !Path::new(file).exists());
    let mut packages: Vec<_> = needed.map(|(_, _, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn apt(args: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(std::process::Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "apt-get {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!(
            "cannot execute apt-get: {error} (other distributions: install its packages by hand)"
        )),
    }
}
