//! Pods on a host with systemd and with control groups of version 2 that have controllers.

use e2e::{Machine, Policy, fixtures};

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
            "\"cpu_pressure\":",
            "\"memory_pressure\":",
            "\"io_pressure\":",
        ],
    );
    report.expect(
        "isolators",
        &[
            // In whole pages.
            "memory.low 7999488",
            // A thirty-second of what is above the request is where it is slowed down.
            "memory.high 62246912",
            "rbps=1000000 wbps=1000000 riops=77 wiops=77",
            "pod memory.max 128000000",
            "pod pids.max 16384",
        ],
    );
    report.expect("high", &["grown", "oom_kill 0", "hog 137 1"]);
    let high = report
        .under("high")
        .lines()
        .find_map(|l| l.strip_prefix("high "));
    let high = high.and_then(|n| n.parse::<u64>().ok());
    assert!(high.is_some_and(|n| n > 0), "{report:?}");
    report.expect("namespace", &["0::/\n"]);
    report.expect("devices", &["not permitted", "open"]);
    // Linux 6.1 takes attached mounts only for the layers of an overlay.
    report.expect("ids", &["own0", "map", "65536", "0::/\n", "third 137"]);
    // An ordinary user's pods, in a cgroup that was given to the user.
    report.expect("delegated", &["small 0", "large 137", "theirs 0"]);
    let said = report.under("delegated");
    assert!(!said.contains("without cgroups"), "{said}");
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
    let lines = "line 1,line 2,line 3,";
    report.expect(
        "clock",
        &[
            &format!("ours {lines}"),
            &format!("finished {lines}"),
            &format!("theirs {lines}"),
            "verified",
        ],
    );
    report.expect("left", &["pods 0", "links 0", "machines 0", "scopes 0"]);
}

/// What only Debian's kernel has of what networks need: ipvlan, VLANs, VRF, SCTP.
#[test]
fn networks_that_need_debians_kernel() {
    let machine = Machine::new();
    for plugin in ["host-local", "ipvlan", "vlan", "vrf"] {
        machine.give(
            &std::path::Path::new("/usr/lib/cni").join(plugin),
            &format!("cni-{plugin}"),
        );
    }
    let signal = fixtures::probe().port("sig", "sctp", 38);
    machine.give_image(&signal, "signal.aci");
    let script = format!("{PRELUDE}{}", include_str!("vm_network.sh"));
    let report = machine.run(&script);
    for (mode, address) in [
        ("l2", "192.0.2.50"),
        ("l3", "10.60.0.2"),
        ("l3s", "10.60.0.2"),
    ] {
        report.expect(
            mode,
            &[
                &format!("address {address}\n"),
                &format!("mode {mode}\n"),
                "mtu 1400",
                "far: pong",
                "pong",
            ],
        );
        assert_eq!(report.under(mode).matches("pong").count(), 2, "{mode}");
    }
    report.expect("master", &["gone0", "No such device"]);
    report.expect(
        "theirs",
        &[
            "address 192.0.2.80",
            "far: pong",
            "VID: 5",
            "10.62.0.2/24",
            "master blue",
        ],
    );
    report.expect(
        "for others",
        &["192.0.2.90/24", "checked", "far: pong", "\n0\n"],
    );
    report.expect(
        "vlans",
        &[
            "10 PVID Egress Untagged",
            "vlan_filtering 1",
            "promiscuity",
            "pong",
            "nobody",
        ],
    );
    report.expect("sctp", &["sctp: pong", "bind: Address already in use"]);
    report.expect("left", &["pods 0", "links 0", "rules 0", "leases 0"]);
}

/// An app is confined by its AppArmor profile, whoever it runs as, and so is what enters it.
#[test]
fn apps_are_confined_by_their_apparmor_profiles() {
    let script = format!("{PRELUDE}{}", include_str!("vm_apparmor.sh"));
    let report = Machine::new().with_apparmor().run(&script);
    report.expect("module", &["Y"]);
    let confined = ["refused", "allowed", "rkt-test (enforce)"];
    report.expect("confined", &confined);
    report.expect(
        "confined",
        &[
            "status 0",
            r#"{"name":"os/linux/apparmor-profile","outcome":"applied"}"#,
        ],
    );
    report.expect("free", &["written", "allowed", "unconfined"]);
    report.expect("ids", &confined);
    report.expect("entered", &confined);
    report.expect("privileged", &["unconfined"]);
    // As an ordinary user neither place can be written.
    report.expect("privileges", &["rkt-test (enforce)"]);
    let unknown = [
        "\"no-such-profile\"",
        "no such profile is loaded",
        "status 203",
    ];
    report.expect("unknown", &unknown);
    assert!(!report.under("unknown").contains("ran\n"), "{report:?}");
    for heading in ["confined", "ids", "entered"] {
        let said = report.under(heading);
        assert!(!said.contains("written"), "{heading}: {said}");
    }
}

/// Under a policy that is enforced, each pod has a level of its own, and nobody else's files.
#[test]
fn pods_have_selinux_levels_of_their_own() {
    let policy = Policy::compile(include_str!("vm_selinux.cil"));
    let script = format!("{PRELUDE}{}", include_str!("vm_selinux.sh"));
    let report = Machine::new().with_selinux(&policy).run(&script);
    let process = "system_u:system_r:container_t:s0:c";
    report.expect("off", &["marked 0", "files 0"]);
    report.expect(
        "policy",
        &["1\n", "system_u:system_r:host_t:s0-s0:c0.c1023"],
    );
    report.expect("without contexts", &[": system_u:system_r:host_t:s0"]);
    report.expect("unknown", &["does not have", "nobody_t", "lxc_contexts"]);
    let level = |pod: &str| {
        let line = report.under(pod).lines().find(|l| l.starts_with(process));
        line.map(|l| l["system_u:system_r:container_t:".len()..].to_owned())
            .unwrap_or_else(|| panic!("no level of {pod} in {report:?}"))
    };
    let (one, two) = (level("one"), level("two"));
    assert_ne!(one, two);
    let file = format!("label system_u:object_r:container_file_t:{one}\n");
    assert_eq!(report.under("one").matches(&file).count(), 2, "{report:?}");
    let mounted = ["mounted / 1", "mounted /dev 1", "mounted /dev/pts 1"];
    report.expect("one", &mounted);
    report.expect("one", &["ready", "mounted /dev/shm 1"]);
    report.expect("two", &["different", "levels 2"]);
    report.expect("others", &["/other/secret': Permission denied"]);
    report.expect("others", &["/other/mine: Permission denied"]);
    report.expect("permissive", &["secret", "written"]);
    report.expect("host", &["readable", "/host/plain: Permission denied"]);
    let own = format!("system_u:system_r:container_t:{one}");
    report.expect("entered", &[&own, "secret"]);
    report.expect("privileged", &["system_u:system_r:host_t:s0"]);
    report.expect("log", &["sent to the log"]);
    let applied = r#"{"name":"os/linux/selinux-context","outcome":"applied"}"#;
    report.expect(
        "isolator",
        &[": system_u:system_r:free_t:s0:c7\n", "status 0", applied],
    );
    let no_such = ["system_u:system_r:nobody_t:s0", "no such context"];
    report.expect("unknown isolator", &no_such);
    report.expect("unknown isolator", &["status 203"]);
    report.expect(
        "isolator of the pod",
        &[
            ": system_u:system_r:free_t:s0:c9\n",
            "status 0",
            applied,
            "system_u:object_r:container_file_t:s0:c9\n",
        ],
    );
    report.expect("both isolators", &[": system_u:system_r:free_t:s0:c8\n"]);
    report.expect("unknown isolator of the pod", &["nobody_t", "status 254"]);
    report.expect("copied", &[process, "written"]);
    report.expect("ids", &[process, "written", "root 0 pts 1"]);
    report.expect("mapped", &[process, "written", "root 1 pts 1"]);
    assert!(!report.under("mapped").contains("copied"), "{report:?}");
    let prepared = level("prepared");
    let ran = format!(": system_u:system_r:container_t:{prepared}\n");
    report.expect("prepared", &[&ran]);
    report.expect("added", &["state=running", process]);
    report.expect("left", &["pods 0", "levels 0"]);
}
