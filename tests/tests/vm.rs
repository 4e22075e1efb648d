//! Pods on a host with systemd and with control groups of version 2 that have controllers.

use e2e::Machine;

/// What every script begins with.
const PRELUDE: &str = "
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
cp /share/rkt /tmp/rkt
rkt() { /tmp/rkt --dir=/tmp/data --insecure-options=image \"$@\"; }
busybox=$(rkt fetch --full /share/busybox.aci) || exit 1
probe=$(rkt fetch --full /share/probe.aci) || exit 1
# Waits until its arguments are true, at most a minute.
await() { n=0; until eval \"$*\"; do n=$((n + 1)); [ $n -lt 600 ] || return 1; sleep 0.1; done; }
";

#[test]
fn limits_hold_on_version_2() {
    let script = format!("{PRELUDE}{}", include_str!("vm_limits.sh"));
    let report = Machine::new().run(&script);
    report.expect("memory", &["allocated", "first 0", "second 137"]);
    report.expect(
        "pod",
        &[
            "memory.max 64000000",
            "cpu.max 20000 100000",
            "cpu.weight 20",
        ],
    );
    report.expect("namespace", &["0::/\n"]);
    report.expect("devices", &["not permitted", "open"]);
    report.expect("left", &["pods 0", "cgroups 0"]);
}
