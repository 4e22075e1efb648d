//! Flags that override what an image says, on every command that has them, and what each of
//! `--insecure-options` switches off.

use std::time::Duration;

use e2e::{Rkt, Running, fixtures, until};

use crate::isolators::control;

const FLAGS: [&str; 7] = [
    "--caps-retain=CAP_KILL,CAP_CHOWN",
    "--seccomp=mode=remove,errno=EPERM,mkdir,mkdirat",
    "--memory=64M",
    "--cpu=500m",
    "--cpu-shares=512",
    "--oom-score-adj=300",
    "--readonly-rootfs=true",
];

const SCRIPT: &str = "grep CapBnd /proc/self/status
cat /proc/self/oom_score_adj
mkdir /dev/shm/new 2>/dev/null || echo filtered
(echo x > /new) 2>/dev/null || echo read-only
echo end
exec sleep 1000";

/// Looks at a running pod whose app `app` has all of the overrides.
#[track_caller]
fn all_apply(rkt: &Rkt, uuid: &str) {
    let said = || rkt.ok(&["logs", "--app=app", "--format=cat", uuid]);
    until(Duration::from_secs(60), "the app to speak", || {
        said().contains("end")
    });
    let expected = "CapBnd:\t0000000000000021\n300\nfiltered\nread-only\nend";
    assert_eq!(said(), expected);
    let stats = rkt.json(&["stats", "--format=json", uuid]);
    let limit = stats[0]["apps"][0]["memory_limit"].as_u64().unwrap();
    // In whole pages.
    assert!((63_990_000..=64_000_000).contains(&limit), "{limit}");
    if let Some(quota) = control(uuid, "app", "cpu", "cpu.cfs_quota_us") {
        assert_eq!(quota.trim(), "50000");
    }
    if let Some(shares) = control(uuid, "app", "cpu", "cpu.shares") {
        assert_eq!(shares.trim(), "512");
    }
    let status = rkt.json(&["status", "--format=json", uuid]);
    let isolators = status["apps"][0]["isolators"].as_array().unwrap();
    assert_eq!(isolators.len(), 6, "{status}");
    assert!(
        isolators.iter().all(|i| i["outcome"] == "applied"),
        "{status}"
    );
    rkt.ok(&["stop", "--force", uuid]);
    rkt.await_state(uuid, "exited");
}

#[test]
fn every_override_on_every_command() {
    let rkt = Rkt::new();
    // What is overridden is there, too.
    let image = fixtures::busybox()
        .isolator("resource/memory", serde_json::json!({"limit": "1G"}))
        .isolator("os/linux/oom-score-adj", serde_json::json!(100));
    let image = rkt.fetch(&image);
    let words = ["--name=app", "--exec=/bin/sh"];
    let app = [&FLAGS[..], &words, &["--", "-c", SCRIPT]].concat();

    let (_run, uuid) = rkt.start_pod(&[&["--net=none", &image], &app[..]].concat());
    all_apply(&rkt, &uuid);

    let uuid = rkt.ok(&[&["prepare", "--quiet", &image], &app[..]].concat());
    let _prepared: Running = rkt.start(&["run-prepared", "--net=none", &uuid]);
    rkt.run(&["status", "--wait-ready=60s", &uuid]).expect(0);
    all_apply(&rkt, &uuid);

    let (_sandbox, uuid) = rkt.start_sandbox(&["--net=none"]);
    rkt.ok(&[&["app", "add", &uuid, &image], &app[..]].concat());
    rkt.ok(&["app", "start", "--app=app", &uuid]);
    all_apply(&rkt, &uuid);
    rkt.assert_clean();
}

/// Of each command that takes them, the two flags that exclude each other.
#[test]
fn conflicts_are_told_on_every_command() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let both = ["--caps-retain=CAP_KILL", "--caps-remove=CAP_KILL"];
    rkt.run(&[&["run", "--net=none", &image], &both[..]].concat())
        .refused(&["caps-retain", "caps-remove"]);
    rkt.run(&[&["prepare", &image], &both[..]].concat())
        .refused(&["caps-retain", "caps-remove"]);
    let (_sandbox, uuid) = rkt.start_sandbox(&["--net=none"]);
    let added = rkt.run(&[&["app", "add", &uuid, &image, "--name=a"], &both[..]].concat());
    assert_ne!(added.code, 0);
    assert!(added.stderr.contains("caps-retain"), "{}", added.stderr);
    rkt.ok(&["stop", "--force", &uuid]);
}

/// What a value of `--insecure-options` leaves in place.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Kept {
    signatures: bool,
    capabilities: bool,
    paths: bool,
    seccomp: bool,
}

fn kept(rkt: &Rkt, option: &str, image: &str, file: &str) -> Kept {
    let insecure = format!("--insecure-options={option}");
    // A stage1 of one's own would have to be signed; this one is built in.
    let run = rkt
        .strict(&[&insecure, "run", "--net=none", image])
        .expect(0);
    let report = run.report();
    let bounding = report["status"]["CapBnd"].as_str().unwrap();
    let bounding = u64::from_str_radix(bounding, 16).unwrap();
    let mounts = report["mounts"].as_array().unwrap();
    Kept {
        signatures: rkt.strict(&[&insecure, "fetch", file]).code != 0,
        capabilities: bounding.count_ones() == 14,
        paths: mounts.iter().any(|m| m["target"] == "/proc/sys"),
        seccomp: report["status"]["Seccomp"] == "2",
    }
}

#[test]
fn each_insecure_option_switches_off_what_it_names() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    // Not fetched yet, and not signed.
    let file = rkt.image(&fixtures::hello());
    let all = Kept {
        signatures: true,
        capabilities: true,
        paths: true,
        seccomp: true,
    };
    let no_run = Kept {
        capabilities: false,
        paths: false,
        seccomp: false,
        ..all
    };
    for (option, wanted) in [
        ("none", all),
        ("http", all),
        ("tls", all),
        ("pubkey", all),
        ("ondisk", all),
        (
            "capabilities",
            Kept {
                capabilities: false,
                ..all
            },
        ),
        (
            "paths",
            Kept {
                paths: false,
                ..all
            },
        ),
        (
            "seccomp",
            Kept {
                seccomp: false,
                ..all
            },
        ),
        (
            "paths,seccomp",
            Kept {
                paths: false,
                seccomp: false,
                ..all
            },
        ),
        ("all-run", no_run),
        (
            "image",
            Kept {
                signatures: false,
                ..all
            },
        ),
        (
            "all-fetch",
            Kept {
                signatures: false,
                ..all
            },
        ),
        (
            "all",
            Kept {
                signatures: false,
                ..no_run
            },
        ),
    ] {
        assert_eq!(kept(&rkt, option, &image, &file), wanted, "{option}");
    }
    rkt.strict(&["--insecure-options=some", "list"])
        .refused(&["insecure-options", "some"]);
    rkt.assert_clean();
}
