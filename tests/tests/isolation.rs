//! Namespaces, privileges, devices and mounts, as an app sees them.

use e2e::{Output, Rkt, fixtures};
use serde_json::Value;

/// The fourteen of the surface page: bits of the numbers in `linux/capability.h`.
const DEFAULT_CAPABILITIES: u64 = 1 << 0 // CHOWN
    | 1 << 1 // DAC_OVERRIDE
    | 1 << 3 // FOWNER
    | 1 << 4 // FSETID
    | 1 << 5 // KILL
    | 1 << 6 // SETGID
    | 1 << 7 // SETUID
    | 1 << 8 // SETPCAP
    | 1 << 10 // NET_BIND_SERVICE
    | 1 << 13 // NET_RAW
    | 1 << 18 // SYS_CHROOT
    | 1 << 27 // MKNOD
    | 1 << 29 // AUDIT_WRITE
    | 1 << 31; // SETFCAP

fn report(flags: &[&str]) -> Value {
    run(flags, &[]).report()
}

fn run(flags: &[&str], words: &[&str]) -> Output {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let mut args = [&["run", "--net=none", image.as_str()], flags].concat();
    if !words.is_empty() {
        args.extend(["--exec=/probe", "--"]);
        args.extend(words);
    }
    rkt.run(&args).expect(0)
}

fn bits(report: &Value, field: &str) -> u64 {
    u64::from_str_radix(report["status"][field].as_str().unwrap(), 16).unwrap()
}

#[test]
fn all_namespaces_are_the_pods_own() {
    let report = report(&[]);
    for kind in ["pid", "mnt", "ipc", "uts", "net", "cgroup"] {
        let host = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(report["namespaces"][kind], host.to_str().unwrap(), "{kind}");
    }
}

#[test]
fn only_the_pods_processes_are_in_sight() {
    let report = report(&[]);
    let processes = report["processes"].as_object().unwrap();
    assert!(processes.len() <= 3, "{processes:?}");
    assert_ne!(report["pid"], 1, "the supervisor is PID 1");
}

#[test]
fn the_default_capabilities() {
    let report = report(&[]);
    assert_eq!(bits(&report, "CapBnd"), DEFAULT_CAPABILITIES);
    assert_eq!(bits(&report, "CapEff") & !DEFAULT_CAPABILITIES, 0);
}

#[test]
fn capabilities_can_be_removed_and_retained() {
    let removed = report(&["--caps-remove=CAP_NET_RAW,CAP_MKNOD"]);
    assert_eq!(
        bits(&removed, "CapBnd"),
        DEFAULT_CAPABILITIES & !(1 << 13) & !(1 << 27)
    );
    let retained = report(&["--caps-retain=CAP_NET_ADMIN,CAP_KILL"]);
    assert_eq!(bits(&retained, "CapBnd"), 1 << 12 | 1 << 5);
}

#[test]
fn both_capability_flags_at_once_are_refused() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    rkt.run(&[
        "run",
        "--net=none",
        &image,
        "--caps-remove=CAP_KILL",
        "--caps-retain=CAP_KILL",
    ])
    .refused(&["caps-re"]);
}

#[test]
fn a_filter_of_system_calls_is_in_place() {
    assert_eq!(report(&[])["status"]["Seccomp"], "2");
}

#[test]
fn an_ordinary_user_under_a_filter_gains_no_privileges() {
    assert_eq!(
        report(&["--user=1000", "--group=1000"])["status"]["NoNewPrivs"],
        "1"
    );
}

/// Newer calls work or fail as on an older kernel: none kills.
#[test]
fn todays_system_calls_survive_the_default_filter() {
    let output = run(&[], &["syscalls"]);
    let lines = output.app_lines();
    for name in ["statx", "openat2", "pidfd_open", "getrandom", "thread"] {
        assert!(
            lines.contains(&format!("{name}=ok").as_str()),
            "{name}: {}",
            output.stdout
        );
    }
}

/// What the filter leaves out kills, as the original's did where no errno was given.
#[test]
fn a_call_outside_the_default_filter_kills() {
    const SIGSYS: i32 = 31;
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let words = ["--exec=/probe", "--", "mount"];
    rkt.run(&[&["run", "--net=none", &image], words.as_slice()].concat())
        .expect(128 + SIGSYS);
    let free = [
        "--caps-retain=CAP_SYS_ADMIN",
        "--seccomp=mode=retain,@appc.io/all",
    ];
    let output = rkt.run(&[&["run", "--net=none", &image], free.as_slice(), &words].concat());
    assert_eq!(output.expect(0).app_lines(), ["mount=ok"]);
}

#[test]
fn a_filter_of_ones_own() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let flags = ["--seccomp=mode=remove,errno=EPERM,mkdir,mkdirat"];
    let words = [
        "--exec=/bin/sh",
        "--",
        "-c",
        "mkdir /tmp/x; touch /tmp/y && echo touched",
    ];
    let output = rkt
        .run(&[&["run", "--net=none", &image], flags.as_slice(), &words].concat())
        .expect(0);
    assert!(
        output.all().contains("Operation not permitted"),
        "{}",
        output.all()
    );
    assert!(output.stdout.contains("touched"));
}

#[test]
fn the_devices_of_the_specification_and_no_other() {
    let report = report(&[]);
    let dev = report["dev"].as_object().unwrap();
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        assert!(
            dev.contains_key(&format!("/dev/{name}")),
            "{name} is missing: {dev:?}"
        );
    }
    for (path, device) in dev {
        assert!(
            !device.as_str().unwrap().starts_with('b'),
            "a block device: {path}"
        );
        assert!(
            !["/dev/mem", "/dev/kmsg", "/dev/kvm", "/dev/port"].contains(&path.as_str()),
            "{path}"
        );
    }
}

#[test]
fn the_files_and_directories_of_every_app() {
    let report = report(&[]);
    let mounts = report["mounts"].as_array().unwrap();
    let kind = |target: &str| {
        let last = mounts.iter().rev().find(|mount| mount["target"] == target);
        last.map(|mount| mount["type"].as_str().unwrap().to_owned())
    };
    assert_eq!(kind("/proc").as_deref(), Some("proc"));
    assert_eq!(kind("/dev/pts").as_deref(), Some("devpts"));
    assert_eq!(kind("/dev/shm").as_deref(), Some("tmpfs"));
    assert!(kind("/sys").is_some());
    let root: Vec<_> = report["root"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for name in ["dev", "etc", "proc", "sys", "tmp", "run"] {
        assert!(root.contains(&name), "/{name} is missing: {root:?}");
    }
}

#[test]
fn protected_paths_cannot_be_written() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    for path in [
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/core_pattern",
        "/sys/kernel/mm/ksm/run",
    ] {
        let args = [
            "run",
            "--net=none",
            &image,
            "--exec=/probe",
            "--",
            "try-write",
            path,
        ];
        let output = rkt.run(&args).expect(0);
        let lines = output.app_lines();
        assert!(!lines.contains(&"ok"), "{path} could be written");
    }
}

#[test]
fn masked_paths_are_empty_or_unreadable() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let look = "for f in /proc/kallsyms /proc/kcore /proc/config.gz; do dd if=$f bs=1 count=1 2>/dev/null; done; \
                for d in firmware module fs power hypervisor; do for f in /sys/$d/*; do [ -e $f ] && echo $f; done; done; \
                echo end";
    let output = rkt
        .run(&[
            "run",
            "--net=none",
            &image,
            "--exec=/bin/sh",
            "--",
            "-c",
            look,
        ])
        .expect(0);
    let lines = output.app_lines();
    assert_eq!(lines, ["end"], "{}", output.all());
}

#[test]
fn a_root_file_system_can_be_read_only() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let words = [
        "--readonly-rootfs=true",
        "--exec=/bin/sh",
        "--",
        "-c",
        "touch /x || echo refused",
    ];
    let output = rkt
        .run(&[["run", "--net=none", &image].as_slice(), &words].concat())
        .expect(0);
    assert!(output.app_lines().contains(&"refused"), "{}", output.all());
}

#[test]
fn what_an_app_writes_stays_in_its_pod() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let write = [
        "--exec=/bin/sh",
        "--",
        "-c",
        "echo changed > /etc/passwd; cat /etc/passwd",
    ];
    let read = ["--exec=/bin/cat", "--", "/etc/passwd"];
    let run = |words: &[&str]| {
        rkt.run(&[&["run", "--net=none", &image], words].concat())
            .expect(0)
    };
    assert_eq!(run(&write).app_lines(), ["changed"]);
    assert!(run(&read).app_lines()[0].starts_with("root:"));
    rkt.ok(&["image", "verify", &image]);
}
