//! Pods on a host whose control groups are version 2: its tree takes the place of the version 1
//! hierarchies in a mount namespace that each of these tests makes.

use std::process::Output;

use e2e::{Rkt, fixtures};

/// The tree's own mount on a host with both versions.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// Runs rkt where only version 2 is to be seen. On a host with version 2 alone that is everywhere.
fn on_version_2(rkt: &Rkt, args: &[&str]) -> Output {
    let inner = rkt.command(args);
    let script = format!(
        "if [ -d {UNIFIED} ]; then mount --bind {UNIFIED} /sys/fs/cgroup; fi && exec \"$@\""
    );
    let own = ["--mount", "sh", "-c", &script, "sh"];
    e2e::through("unshare", &own, &inner).output().unwrap()
}

fn shell(rkt: &Rkt, script: &str) -> String {
    let image = rkt.fetch(&fixtures::busybox());
    let args = [
        "run",
        "--net=none",
        &image,
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ];
    let output = on_version_2(rkt, &args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn an_app_is_born_in_the_pods_cgroup_and_sees_it_as_the_root() {
    let rkt = Rkt::new();
    let said = shell(&rkt, "grep ^0:: /proc/self/cgroup");
    assert!(said.contains("0::/\n"), "{said}");
    rkt.assert_clean();
}

/// Root of a user namespace may not clone into a cgroup of the host's, and is moved there.
#[test]
fn an_app_with_ids_of_its_own_is_moved_to_its_cgroup() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "grep ^0:: /proc/self/cgroup; head -c 4 /dev/urandom | wc -c; echo end";
    let args = ["run", "--private-users", "--net=none", &image, "--name=app"];
    let words = ["--exec=/bin/sh", "--", "-c", script];
    let output = on_version_2(&rkt, &[&args[..], &words].concat());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("0::/\n") && said.contains(": end"), "{said}");
    rkt.assert_clean();
}

#[test]
fn devices_can_be_made_but_only_the_standard_ones_opened() {
    let rkt = Rkt::new();
    let said = shell(
        &rkt,
        "mknod /tmp/disk b 254 0 && ! head -c 1 /tmp/disk && echo closed; \
         mknod /tmp/null c 1 3 && echo x > /tmp/null && echo open",
    );
    assert!(said.contains("closed") && said.contains("open"), "{said}");
    assert!(said.contains("not permitted"), "{said}");
    rkt.assert_clean();
}

#[test]
fn a_limit_without_its_controller_is_refused() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    if std::fs::read_to_string(format!("{UNIFIED}/cgroup.controllers"))
        .is_ok_and(|controllers| !controllers.contains("memory"))
    {
        let args = [
            "run",
            "--net=none",
            &image,
            "--memory=64M",
            "--exec=/bin/true",
        ];
        let output = on_version_2(&rkt, &args);
        assert_eq!(output.status.code(), Some(254));
        assert!(String::from_utf8_lossy(&output.stderr).contains("memory.max"));
    }
    rkt.assert_clean();
}
