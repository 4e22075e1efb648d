//! Pods on a host with systemd and with control groups of version 2 that have controllers.

use e2e::{Machine, fixtures};

/// What every script begins with.
const PRELUDE: &str = "
mkdir -p /var/log/journal
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
    report.expect(
        "isolators",
        &[
            // In whole pages.
            "memory.low 7999488",
            "rbps=1000000 wbps=1000000 riops=77 wiops=77",
            "pod memory.max 128000000",
            "pod pids.max 16384",
        ],
    );
    report.expect("namespace", &["0::/\n"]);
    report.expect("devices", &["not permitted", "open"]);
    report.expect("left", &["pods 0", "cgroups 0"]);
}

#[test]
fn systemd_supervises_pods() {
    let machine = Machine::new();
    let notifying = fixtures::busybox()
        .copy(&fixtures::program("probe"), "/probe", 0o755)
        .annotation("appc.io/executor/supports-systemd-notify", "true");
    machine.give_image(&notifying, "notify.aci");
    let ports = serde_json::json!([
        {"name": "echo", "protocol": "tcp", "port": 80, "count": 1, "socketActivated": true},
    ]);
    let listening = fixtures::probe().app("ports", ports);
    machine.give_image(&listening, "listening.aci");
    let script = format!("{PRELUDE}{}", include_str!("vm_systemd.sh"));
    let report = machine.run(&script);
    report.expect("status", &["status 7"]);
    report.expect(
        "service",
        &[
            "active",
            "/machine.slice/pod.service/",
            "rkt-",
            "container rkt",
        ],
    );
    report.expect(
        "journal",
        &[
            "by machine: hello from the pod",
            "merged: hello from the pod",
        ],
    );
    report.expect(
        "stopped",
        &["inactive", "machines 0", "state=exited", "app-busybox=0"],
    );
    report.expect("finished", &["merged: hello from the pod"]);
    let journal = [report.under("journal"), report.under("finished")].concat();
    assert!(!journal.contains("error"), "{journal}");
    report.expect(
        "command line",
        &[
            "/machine.slice/machine-rkt\\x2d",
            ".scope/machine-rkt-",
            "app-busybox=143",
        ],
    );
    report.expect("notify", &["before activating", "after active", "ready"]);
    let sockets = "inactive\nLISTEN_FDS=1 LISTEN_FDNAMES=echo own pid true\nactive";
    report.expect("sockets", &[sockets]);
    report.expect("failure", &["failed", "exit-code"]);
    report.expect("left", &["pods 0", "links 0", "machines 0", "scopes 0"]);
}
