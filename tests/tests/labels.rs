//! Labels of security modules, on a host that has none; `vm` has hosts with them.

use std::path::Path;

use e2e::{Output, Rkt, Running, fixtures, through};

const SELINUX: &str = "/sys/fs/selinux";

/// Runs rkt under strace: what it said, and the system calls that name SELinux.
fn traced(rkt: &Rkt, args: &[&str]) -> (Output, Vec<String>) {
    let trace = rkt.path("trace");
    let calls = ["-f", "-qq", "-e", "trace=file,mount,fsconfig", "-s", "200"];
    let own = [&calls[..], &["-o", trace.to_str().unwrap()]].concat();
    let output = Running::start(through("strace", &own, &rkt.command(args))).finish();
    let text = std::fs::read_to_string(&trace).unwrap();
    let selinux = text.lines().filter(|line| line.contains("selinux"));
    (output, selinux.map(str::to_owned).collect())
}

/// Where the kernel has no SELinux that takes one look, and leaves no trace in the pod.
#[test]
fn a_host_without_selinux_is_looked_at_once() {
    let there = Path::new(SELINUX).join("mls").exists();
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    // grep finds nothing, which is a failure to it.
    let script = "grep -c context= /proc/mounts || true";
    let pod = ["--net=none", &image, "--exec=/bin/sh", "--", "-c", script];
    let (output, calls) = traced(&rkt, &[&["run"], &pod[..]].concat());
    if there {
        assert!(calls.len() > 1, "{calls:?}");
        return;
    }
    let output = output.expect(0);
    assert!(output.stdout.contains("]: 0\n"), "{}", output.all());
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(calls[0].contains("ENOENT"), "{calls:?}");

    let uuid = rkt.ok(&[&["prepare", "--quiet", &image][..], &pod[2..]].concat());
    let prepared = rkt.data().join("pods/prepared").join(&uuid);
    assert!(!prepared.join("selinux-prepared").exists());
    let (output, calls) = traced(&rkt, &["run-prepared", "--net=none", &uuid]);
    output.expect(0);
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(!rkt.data().join("pods/selinux-levels").exists());
}
