//! Isolators of apps and of pods: each holds, or it is said or refused, and `rkt status` tells
//! which.

use std::path::PathBuf;

use e2e::{Output, Rkt, fixtures};
use serde_json::{Value, json};

/// The file of a pod manifest with one busybox app.
fn manifest(rkt: &Rkt, script: &str, app: Value, pod: Value) -> String {
    let id = rkt.fetch(&fixtures::busybox());
    let manifest = json!({
        "acVersion": "0.8.11", "acKind": "PodManifest",
        "apps": [{
            "name": "app",
            "image": {"id": id},
            "app": {
                "exec": ["/bin/sh", "-c", script], "user": "0", "group": "0", "isolators": app,
            },
        }],
        "isolators": pod,
    });
    let file = rkt.path("pod.json");
    std::fs::write(&file, manifest.to_string()).unwrap();
    format!("--pod-manifest={}", file.display())
}

fn run(rkt: &Rkt, flags: &[&str], script: &str, app: Value, pod: Value) -> Output {
    let manifest = manifest(rkt, script, app, pod);
    rkt.run(&[&["run", &manifest], flags].concat())
}

/// What `rkt status` says became of the isolators, as `name outcome`.
fn outcomes(isolators: &Value) -> Vec<String> {
    let all = isolators.as_array().unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    all.iter()
        .map(|i| format!("{} {}", text(&i["name"]), text(&i["outcome"])))
        .collect()
}

/// A control file of a cgroup of the pod on a host with version 1 of control groups; `None` on one
/// without the controller there, where `vm` looks.
pub(crate) fn control(uuid: &str, app: &str, controller: &str, file: &str) -> Option<String> {
    let line = |text: String| {
        let mut lines = text.lines().map(str::to_owned);
        lines.find_map(|l| {
            let (names, path) = l.split_once(':')?.1.split_once(':')?;
            let has = names.split(',').any(|c| c == controller);
            has.then(|| path.to_owned())
        })
    };
    let own = line(std::fs::read_to_string("/proc/self/cgroup").unwrap())?;
    let hierarchy = PathBuf::from(format!("/sys/fs/cgroup/{controller}{own}"));
    if !hierarchy.is_dir() {
        return None;
    }
    let file = hierarchy.join(format!("machine-rkt-{uuid}.slice/{app}/{file}"));
    Some(std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())))
}

#[test]
fn block_devices_are_limited_by_app_and_by_pod() {
    // Where version 2 is the host's, `vm` looks.
    if !std::path::Path::new("/sys/fs/cgroup/blkio").is_dir() {
        return;
    }
    let rkt = Rkt::new();
    let limit = |most: &str| json!({"default": true, "limit": most});
    let manifest = manifest(
        &rkt,
        "sleep 1000",
        json!([{"name": "resource/block-bandwidth", "value": limit("1M")}]),
        json!([{"name": "resource/block-iops", "value": limit("77")}]),
    );
    let (_pod, uuid) = rkt.start_pod(&["--net=none", &manifest]);
    let disks = std::fs::read_dir("/sys/block").unwrap();
    let with_size = |dir: &PathBuf| {
        std::fs::read_to_string(dir.join("size")).is_ok_and(|size| size.trim() != "0")
    };
    let disks: Vec<_> = disks.map(|d| d.unwrap().path()).filter(with_size).collect();
    assert!(!disks.is_empty());
    for disk in disks {
        let number = std::fs::read_to_string(disk.join("dev")).unwrap();
        for direction in ["read", "write"] {
            let find = |app, unit, wanted: &str| {
                let file = format!("blkio.throttle.{direction}_{unit}_device");
                let text = control(&uuid, app, "blkio", &file).unwrap();
                let line = format!("{} {wanted}", number.trim());
                assert!(text.lines().any(|l| l == line), "{file}: {line} in {text}");
            };
            find("app", "bps", "1000000");
            find("", "iops", "77");
        }
    }
    rkt.ok(&["stop", "--force", &uuid]);
    rkt.await_state(&uuid, "exited");
    rkt.assert_clean();
}

#[test]
fn the_pods_memory_bounds_what_its_apps_may_have() {
    let rkt = Rkt::new();
    let limit = |most: &str| json!({"limit": most});
    let output = run(
        &rkt,
        &["--net=none"],
        "dd if=/dev/zero of=/dev/null bs=100M count=1",
        json!([{"name": "resource/memory", "value": limit("500M")}]),
        json!([{"name": "resource/memory", "value": limit("30M")}]),
    );
    assert_eq!(output.code, 128 + 9, "{}", output.all());
    rkt.assert_clean();
}

#[test]
fn the_processes_of_a_pod_are_bounded() {
    let rkt = Rkt::new();
    let manifest = manifest(&rkt, "sleep 1000", json!([]), json!([]));
    let (_pod, uuid) = rkt.start_pod(&["--net=none", &manifest]);
    if let Some(most) = control(&uuid, "", "pids", "pids.max") {
        assert_eq!(most.trim(), "16384");
    }
    rkt.ok(&["stop", "--force", &uuid]);
}

#[test]
fn a_request_of_memory_is_a_soft_limit() {
    let rkt = Rkt::new();
    let manifest = manifest(
        &rkt,
        "sleep 1000",
        json!([
            {"name": "resource/memory", "value": {"request": "8192k", "limit": "64M"}},
            {"name": "resource/cpu", "value": {"request": "500m"}},
        ]),
        json!([]),
    );
    let (_pod, uuid) = rkt.start_pod(&["--net=none", &manifest]);
    if let Some(soft) = control(&uuid, "app", "memory", "memory.soft_limit_in_bytes") {
        let soft: u64 = soft.trim().parse().unwrap();
        assert!(soft <= 8_192_000 && soft > 8_192_000 - 4096, "{soft}");
    }
    if let Some(shares) = control(&uuid, "app", "cpu", "cpu.shares") {
        assert_eq!(shares.trim(), "512");
    }
    rkt.ok(&["stop", "--force", &uuid]);
}

#[test]
fn kernel_parameters_of_the_pods_namespaces() {
    let rkt = Rkt::new();
    let own = |file: &str| std::fs::read_to_string(file).unwrap();
    let before = own("/proc/sys/kernel/shmmni");
    let output = run(
        &rkt,
        &["--net=none"],
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni \
             /proc/sys/kernel/domainname",
        // The pod's word counts, not the app's.
        json!([{"name": "os/unix/sysctl", "value": {
            "kernel.shmmni": "55", "kernel.domainname": "of.app",
        }}]),
        json!([{"name": "os/unix/sysctl", "value": {
            "net.ipv4.ip_unprivileged_port_start": "321", "kernel/shmmni": "44",
            "kernel.shmmni": "44",
        }}]),
    );
    assert_eq!(output.expect(0).app_lines(), ["321", "44", "of.app"]);
    assert_eq!(own("/proc/sys/kernel/shmmni"), before);
    rkt.assert_clean();
}

#[test]
fn kernel_parameters_of_the_host_are_refused() {
    let rkt = Rkt::new();
    for (flags, key) in [
        (["--net=none"].as_slice(), "kernel.core_pattern"),
        (&["--net=none"], "vm.overcommit_memory"),
        (&["--net=none"], "fs.file-max"),
        (&["--net=host"], "net.ipv4.ip_forward"),
        (&["--net=none", "--ipc=parent"], "kernel.shmmni"),
    ] {
        let wish = json!([{"name": "os/unix/sysctl", "value": {key: "1"}}]);
        run(&rkt, flags, "echo ran", json!([]), wish.clone()).refused(&[key, "host"]);
        run(&rkt, flags, "echo ran", wish, json!([])).refused(&[key, "host"]);
    }
    let missing = json!([{"name": "os/unix/sysctl", "value": {"net.ipv4.no_such": "1"}}]);
    run(&rkt, &["--net=none"], "echo ran", json!([]), missing).refused(&["net.ipv4.no_such"]);
    rkt.assert_clean();
}

#[test]
fn the_pods_privileges_bound_its_apps() {
    let rkt = Rkt::new();
    let output = run(
        &rkt,
        &["--net=none"],
        "grep -e CapBnd -e NoNewPrivs /proc/self/status; cat /proc/self/oom_score_adj",
        json!([{"name": "os/linux/capabilities-retain-set",
                "value": {"set": ["CAP_KILL", "CAP_NET_ADMIN"]}}]),
        json!([
            {"name": "os/linux/capabilities-remove-set", "value": {"set": ["CAP_NET_ADMIN"]}},
            {"name": "os/linux/no-new-privileges", "value": true},
            {"name": "os/linux/oom-score-adj", "value": 300},
        ]),
    );
    let lines = output.expect(0);
    assert_eq!(
        lines.app_lines(),
        ["CapBnd:\t0000000000000020", "NoNewPrivs:\t1", "300"]
    );
}

/// What a pod's filter denies no app has, whatever its own says; what only the app's denies stays
/// denied.
#[test]
fn the_pods_filter_bounds_its_apps() {
    let rkt = Rkt::new();
    let set = |names: &[&str]| json!({"set": names, "errno": "EPERM"});
    let denies_mkdir = json!([
        {"name": "os/linux/seccomp-remove-set", "value": set(&["mkdir", "mkdirat"])},
    ]);
    let all = json!([{"name": "os/linux/seccomp-retain-set", "value": {"set": ["@appc.io/all"]}}]);
    let denies_chown = json!([
        {"name": "os/linux/seccomp-remove-set",
         "value": set(&["chown", "fchown", "lchown", "fchownat"])},
    ]);
    let script = "mkdir /tmp/d 2>/dev/null && echo made; chown 1 /tmp 2>/dev/null && echo owned; \
                  mkdir /tmp/d 2>&1 | grep -o 'not permitted'; echo end";
    let script = script.replace("chown ", "/bin/busybox chown ");
    for (app, wanted) in [
        (json!([]), &["owned", "not permitted", "end"][..]),
        (all, &["owned", "not permitted", "end"]),
        (denies_chown, &["not permitted", "end"]),
    ] {
        let output = run(&rkt, &["--net=none"], &script, app, denies_mkdir.clone());
        assert_eq!(output.expect(0).app_lines(), wanted);
    }
    let unknown = json!([{"name": "os/linux/seccomp-remove-set", "value": set(&["no_such"])}]);
    run(&rkt, &["--net=none"], "echo ran", json!([]), unknown).refused(&["no_such"]);
    rkt.assert_clean();
}

#[test]
fn status_tells_what_became_of_each() {
    let rkt = Rkt::new();
    let manifest = manifest(
        &rkt,
        "true",
        json!([
            {"name": "resource/memory", "value": {"limit": "64M"}},
            {"name": "resource/cpu", "value": {"limit": "1m"}},
            {"name": "os/linux/capabilities-retain-set", "value": {"set": ["CAP_KILL", "CAP_CHOWN"]}},
            {"name": "os/linux/apparmor-profile", "value": {"profile": "x"}},
            {"name": "os/linux/selinux-context",
             "value": {"user": "u", "role": "r", "type": "t", "level": "s0"}},
            {"name": "example.com/own", "value": 1},
            {"name": "resource/network-bandwidth", "value": {"default": true, "limit": "1M"}},
            {"name": "os/linux/seccomp-remove-set", "value": {"set": ["mount"]}},
        ]),
        json!([
            {"name": "os/linux/capabilities-retain-set", "value": {"set": ["CAP_KILL"]}},
            {"name": "os/linux/seccomp-remove-set", "value": {"set": ["mount"]}},
        ]),
    );
    let uuid = rkt.ok(&["prepare", "--quiet", &manifest]);
    let uuid = uuid.trim();
    let strict = ["run-prepared", "--net=none", "--strict-isolators", uuid];
    rkt.run(&strict).refused(&["strict", "apparmor-profile"]);

    let uuid = rkt.ok(&["prepare", "--quiet", &manifest]);
    let uuid = uuid.trim();
    let insecure = [
        "--insecure-options=image,seccomp",
        "run-prepared",
        "--net=none",
        uuid,
    ];
    let output = rkt.run(&insecure).expect(0);
    for word in [
        "apparmor-profile",
        "selinux-context",
        "example.com/own",
        "not applied",
    ] {
        assert!(output.stderr.contains(word), "{word}: {}", output.stderr);
    }
    let status = rkt.json(&["status", "--format=json", uuid]);
    assert_eq!(
        outcomes(&status["apps"][0]["isolators"]),
        [
            "resource/memory applied",
            "resource/cpu changed",
            "os/linux/capabilities-retain-set changed",
            "os/linux/apparmor-profile unsupported",
            "os/linux/selinux-context unsupported",
            "example.com/own unsupported",
            "resource/network-bandwidth unsupported",
            "os/linux/seccomp-remove-set changed",
        ]
    );
    assert_eq!(
        outcomes(&status["isolators"]),
        [
            "os/linux/capabilities-retain-set applied",
            "os/linux/seccomp-remove-set changed",
        ]
    );
}

#[test]
fn strict_means_none_is_passed_over() {
    let rkt = Rkt::new();
    let odd = fixtures::busybox().isolator("example.com/own", json!(1));
    let image = rkt.fetch(&odd);
    let words = ["--exec=/bin/echo", "--", "ran"];
    let run =
        |flags: &[&str]| rkt.run(&[&["run", "--net=none"], flags, &[&image], &words].concat());
    assert_eq!(run(&[]).expect(0).app_lines(), ["ran"]);
    run(&["--strict-isolators"]).refused(&["example.com/own", "strict"]);

    let prepare = ["prepare", "--quiet", "--strict-isolators", &image];
    let uuid = rkt.ok(&[prepare.as_slice(), &words].concat());
    rkt.run(&["run-prepared", "--net=none", uuid.trim()])
        .refused(&["example.com/own"]);

    let (_pod, loose) = rkt.start_sandbox(&["--net=none"]);
    rkt.ok(&["app", "add", &loose, &image, "--name=loose"]);
    let add = [
        "app",
        "add",
        "--strict-isolators",
        &loose,
        &image,
        "--name=strict",
    ];
    let refused = rkt.run(&add);
    assert_ne!(refused.code, 0);
    assert!(
        refused.stderr.contains("example.com/own"),
        "{}",
        refused.stderr
    );
    let (_pod, strict) = rkt.start_sandbox(&["--net=none", "--strict-isolators"]);
    let refused = rkt.run(&["app", "add", &strict, &image, "--name=a"]);
    assert!(
        refused.stderr.contains("example.com/own"),
        "{}",
        refused.stderr
    );
    assert_ne!(refused.code, 0);
    rkt.ok(&["stop", "--force", &loose, &strict]);
}

#[test]
fn systemds_groups_of_system_calls() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let run = |filter: &str| {
        let script = "chown 1 /tmp && echo changed; echo end";
        let seccomp = format!("--seccomp={filter}");
        let words = ["--exec=/bin/sh", "--", "-c", script];
        rkt.run(&[&["run", "--net=none", &image, &seccomp], words.as_slice()].concat())
    };
    // A group inside a group.
    let output = run("mode=remove,errno=EPERM,@systemd/privileged").expect(0);
    assert_eq!(output.app_lines().last(), Some(&"end"), "{}", output.all());
    assert!(!output.stdout.contains("changed"), "{}", output.all());
    let output = run("mode=remove,errno=EPERM,@systemd/clock").expect(0);
    assert_eq!(output.app_lines(), ["changed", "end"]);
    run("mode=remove,@systemd/no-such").refused(&["@systemd/no-such"]);
}

#[test]
fn what_an_ordinary_user_retains_works() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let flags = [
        "--user=1000",
        "--group=1000",
        "--caps-retain=CAP_CHOWN,CAP_KILL",
    ];
    let script = "grep -e CapInh -e CapPrm -e CapEff -e CapBnd -e CapAmb /proc/self/status";
    let words = ["--exec=/bin/sh", "--", "-c", script];
    let args = [&["run", "--net=none", &image], flags.as_slice(), &words].concat();
    let output = rkt.run(&args).expect(0);
    let sets = output.app_lines();
    assert_eq!(sets.len(), 5, "{}", output.all());
    for set in sets {
        assert!(set.ends_with("0000000000000021"), "{set}");
    }
}
