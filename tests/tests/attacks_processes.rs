//! What a hostile app tries against other processes: its supervisor, who enters its pod, and, by
//! having or writing too much, its neighbours and the host. All of it must fail.

use std::process::Command;
use std::time::Duration;

use e2e::{Rkt, fixtures, until};

const NO_FILTER: &str = "--seccomp=mode=retain,@appc.io/all";
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn the_supervisor_cannot_be_traced() {
    for users in ["--private-users=false", "--private-users"] {
        for filter in [&[NO_FILTER][..], &[]] {
            let rkt = Rkt::new();
            let image = rkt.fetch(&fixtures::probe());
            let words = ["--exec=/probe", "--", "attack", "trace", "1"];
            let run = [&["run", "--net=none", users, &image], filter, &words].concat();
            let output = rkt.run(&run);
            let lines = output.app_lines();
            assert!(!lines.contains(&"broken"), "{}", output.all());
            // The default filter kills who tries.
            let ended = lines.last() == Some(&"end") && output.code == 0;
            assert!(ended || filter.is_empty(), "{}", output.all());
            rkt.assert_clean();
        }
    }
}

/// Programs of rkt run inside the pod for a moment, until they become what they were asked for:
/// those of an app that starts and of who enters. One app waits for them. With the default
/// capabilities it may not even look at them; with all, it cannot write.
#[test]
fn the_programs_that_start_others_cannot_be_written() {
    let privileged = "--insecure-options=capabilities,seccomp";
    for (users, flag) in [
        ("--private-users=false", NO_FILTER),
        ("--private-users=false", privileged),
        ("--private-users", NO_FILTER),
        ("--private-users", privileged),
    ] {
        let rkt = Rkt::new();
        let image = rkt.fetch(&fixtures::probe());
        let (_running, uuid) = rkt.start_sandbox(&["--net=none", users]);
        let add = |name: &str, flags: &[&str], words: &[&str]| {
            let named = format!("--name={name}");
            let add = ["app", "add", &uuid, &image, &named];
            rkt.ok(&[&add[..], flags, &["--exec=/probe", "--"], words].concat());
            rkt.ok(&["app", "start", &format!("--app={name}"), &uuid]);
        };
        add("watcher", &[flag], &["attack", "programs", "-"]);
        until(LIMIT, "the app to watch", || {
            rkt.ok(&["logs", &uuid]).contains("watching")
        });
        for turn in 0..5 {
            add(&format!("other{turn}"), &[], &["true"]);
            for privileged in ["--privileged=false", "--privileged"] {
                for _ in 0..3 {
                    let enter = ["enter", privileged, "--app=watcher", &uuid];
                    rkt.run(&[&enter[..], &["/probe", "true"]].concat())
                        .expect(0);
                }
            }
        }
        let enter = ["enter", "--app=watcher", &uuid, "/probe", "make", "/stop"];
        rkt.run(&enter).expect(0);
        let said = || rkt.ok(&["logs", "--app=watcher", "--format=cat", &uuid]);
        until(LIMIT, "the watcher to end", || said().contains("end"));
        let said = said();
        assert!(!said.contains("broken"), "{said}");
        // It was quick enough to see some, and privileged enough to open them or not.
        assert!(!said.contains("seen 0 times"), "{said}");
        let none = said.contains(" 0 programs opened");
        assert_eq!(none, flag == NO_FILTER, "{said}");
        rkt.run(&["stop", "--force", &uuid]).expect(0);
        rkt.await_state(&uuid, "exited");
        rkt.assert_clean();
    }
}

/// A pod that forks without end reaches its bound; another pod goes on, the host starts programs,
/// and the first can be ended.
#[test]
fn a_pod_that_forks_without_end_hurts_nobody_else() {
    let rkt = Rkt::new();
    let probe = rkt.fetch(&fixtures::probe());
    let busybox = rkt.fetch(&fixtures::busybox());
    let script =
        "n=0; while true; do n=$((n + 1)); /bin/busybox true && echo turn $n; sleep 0.1; done";
    let words = ["--exec=/bin/sh", "--", "-c", script];
    let (neighbour, beside) = rkt.start_pod(&[&["--net=none", &busybox][..], &words].concat());
    let words = ["--exec=/probe", "--", "attack", "forks", "-"];
    let (bomb, uuid) = rkt.start_pod(&[&["--net=none", &probe][..], &words].concat());
    until(LIMIT, "no more processes to be had", || {
        rkt.ok(&["logs", &uuid]).contains("forked ")
    });
    let said = rkt.ok(&["logs", &uuid]);
    let forked = said.lines().find_map(|line| line.split("forked ").nth(1));
    let forked: u64 = forked.unwrap().trim().parse().unwrap();
    assert!((1000..16_384).contains(&forked), "{forked}");
    let turns = || rkt.ok(&["logs", &beside]).matches("turn").count();
    let before = turns();
    until(LIMIT, "the other pod to go on", || turns() > before + 3);
    assert!(Command::new("true").status().unwrap().success());
    rkt.run(&["stop", "--force", &uuid]).expect(0);
    rkt.await_state(&uuid, "exited");
    drop(bomb);
    rkt.run(&["stop", "--force", &beside]).expect(0);
    rkt.await_state(&beside, "exited");
    drop(neighbour);
    rkt.assert_clean();
}

/// An app that writes to the disk as fast as it can has a bound: another pod's megabytes are
/// written before its own.
#[test]
fn a_pod_that_fills_the_disk_leaves_others_their_turn() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let manifest = serde_json::json!({
        "acVersion": "0.8.11", "acKind": "PodManifest",
        "apps": [{
            "name": "hog",
            "image": {"id": image},
            "app": {
                "exec": ["/bin/dd", "if=/dev/zero", "of=/big", "bs=64k", "count=800", "oflag=direct"],
                "user": "0", "group": "0",
                "isolators": [{
                    "name": "resource/block-bandwidth",
                    "value": {"default": true, "limit": "1M"},
                }],
            },
        }],
    });
    let file = rkt.path("pod.json");
    std::fs::write(&file, manifest.to_string()).unwrap();
    let manifest = format!("--pod-manifest={}", file.display());
    let (hog, uuid) = rkt.start_pod(&["--net=none", &manifest]);
    let words = [
        "--exec=/bin/dd",
        "--",
        "if=/dev/zero",
        "of=/some",
        "bs=64k",
        "count=160",
        "oflag=direct",
    ];
    rkt.run(&[&["run", "--net=none", &image][..], &words].concat())
        .expect(0);
    assert_eq!(rkt.status(&uuid, "state").unwrap(), "running");
    rkt.run(&["stop", "--force", &uuid]).expect(0);
    rkt.await_state(&uuid, "exited");
    drop(hog);
    rkt.assert_clean();
}
