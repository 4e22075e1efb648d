//! Apps that use up what they can, while a neighbour pod and the host go on.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::{Rkt, Running, fixtures, until, until_some};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(120);
/// Processes of a pod, as docs/security.md says.
const PROCESSES: u64 = 16_384;
/// What makes a probe fork without end.
const BOMB: [&str; 5] = ["--exec=/probe", "--", "attack", "bomb", "-"];

/// A pod that counts aloud.
struct Neighbour<'r> {
    rkt: &'r Rkt,
    uuid: String,
    _running: Running,
}

impl<'r> Neighbour<'r> {
    fn new(rkt: &'r Rkt, image: &str) -> Self {
        let count = "n=0; while true; do n=$((n + 1)); echo turn $n; sleep 0.1; done";
        let (running, uuid) = rkt.start_pod(&[
            "--net=none",
            image,
            "--name=neighbour",
            "--exec=/bin/sh",
            "--",
            "-c",
            count,
        ]);
        Self {
            rkt,
            uuid,
            _running: running,
        }
    }

    /// It counts on, a command enters it, another pod starts and ends, and the host writes a file
    /// to its disk.
    fn and_the_host_go_on(&self, image: &str) {
        let turns = || self.rkt.ok(&["logs", &self.uuid]).matches("turn").count();
        let before = turns();
        until(LIMIT, "the neighbour to go on", || turns() > before + 5);
        let entered = self.rkt.run(&["enter", &self.uuid, "/bin/echo", "here"]);
        assert!(entered.expect(0).stdout.contains("here"));
        let words = ["--exec=/bin/echo", "--", "new"];
        let output = self
            .rkt
            .run(&[&["run", "--net=none", image], &words[..]].concat());
        assert_eq!(output.expect(0).app_lines(), ["new"]);
        let file = fs::File::create(self.rkt.path("host")).unwrap();
        fs::write(self.rkt.path("host"), "x").unwrap();
        file.sync_all().unwrap();
    }

    fn end(self) {
        self.rkt.ok(&["stop", "--force", &self.uuid]);
        self.rkt.await_state(&self.uuid, "exited");
    }
}

/// Ends a hog, however busy it is.
fn end(rkt: &Rkt, running: Running, uuid: &str) {
    rkt.ok(&["stop", "--force", uuid]);
    running.finish_within(LIMIT);
}

/// The processes of a pod.
fn processes_of(rkt: &Rkt, uuid: &str) -> u64 {
    let stats = rkt.json(&["stats", "--format=json", uuid]);
    stats[0]["processes"].as_u64().unwrap()
}

#[test]
fn a_fork_bomb_is_bounded() {
    let rkt = Rkt::new();
    let probe = rkt.fetch(&fixtures::probe());
    let busybox = rkt.fetch(&fixtures::busybox());
    let neighbour = Neighbour::new(&rkt, &busybox);
    for users in ["--private-users=false", "--private-users"] {
        let (mut running, uuid) =
            rkt.start_pod(&[&["--net=none", users, &probe, "--cpu=1"], &BOMB[..]].concat());
        // No process more may be made, by the kernel's word.
        running.await_stdout("full: Resource temporarily unavailable");
        assert_eq!(processes_of(&rkt, &uuid), PROCESSES);
        neighbour.and_the_host_go_on(&busybox);
        end(&rkt, running, &uuid);
    }
    neighbour.end();
    rkt.assert_clean();
}

/// With a limit of memory a bomb does not even come that far.
#[test]
fn a_fork_bomb_stays_within_its_memory() {
    let rkt = Rkt::new();
    let probe = rkt.fetch(&fixtures::probe());
    let busybox = rkt.fetch(&fixtures::busybox());
    let neighbour = Neighbour::new(&rkt, &busybox);
    let bounded = ["--net=none", &probe, "--cpu=1", "--memory=32M"];
    let beside = [
        "---",
        &busybox,
        "--name=beside",
        "--exec=/bin/sh",
        "--",
        "-c",
        "while true; do echo beside; sleep 0.1; done",
    ];
    let (running, uuid) = rkt.start_pod(&[&bounded, &BOMB[..], &beside].concat());
    // Its first process outlives the others, by the marks that they give themselves.
    let killed = || {
        let text = fs::read_to_string("/proc/vmstat").unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix("oom_kill "));
        line.unwrap().parse::<u64>().unwrap()
    };
    let before = killed();
    until(LIMIT, "the kernel to kill", || killed() > before + 3);
    assert!(processes_of(&rkt, &uuid) < PROCESSES / 4);
    let beside = || rkt.ok(&["logs", &uuid]).matches("beside").count();
    let seen = beside();
    until(LIMIT, "the app beside it to go on", || beside() > seen + 5);
    neighbour.and_the_host_go_on(&busybox);
    end(&rkt, running, &uuid);
    neighbour.end();
    rkt.assert_clean();
}

#[test]
fn a_memory_hog_stays_within_its_limit() {
    let rkt = Rkt::new();
    let busybox = rkt.fetch(&fixtures::busybox());
    let neighbour = Neighbour::new(&rkt, &busybox);
    let hog = "while true; do dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null || echo eaten; done";
    let (running, uuid) = rkt.start_pod(&[
        "--net=none",
        &busybox,
        "--name=hog",
        "--memory=32M",
        "--exec=/bin/sh",
        "--",
        "-c",
        hog,
    ]);
    let eaten = || rkt.ok(&["logs", &uuid]).matches("eaten").count();
    until(LIMIT, "the hog to have eaten", || eaten() > 3);
    neighbour.and_the_host_go_on(&busybox);
    let seen = eaten();
    until(LIMIT, "the hog to go on", || eaten() > seen);
    end(&rkt, running, &uuid);
    neighbour.end();
    rkt.assert_clean();
}

/// What the disk is given to write may not be more than the limit in the time that went by.
#[test]
fn a_disk_hog_stays_within_its_limit() {
    // Where version 2 is the host's, `vm` looks.
    if !Path::new("/sys/fs/cgroup/blkio").is_dir() {
        return;
    }
    const RATE: u64 = 2_000_000;
    let rkt = Rkt::new();
    let busybox = rkt.fetch(&fixtures::busybox());
    let neighbour = Neighbour::new(&rkt, &busybox);
    let limited = fixtures::busybox().isolator(
        "resource/block-bandwidth",
        json!({"default": true, "limit": RATE.to_string()}),
    );
    let limited = rkt.fetch(&limited);
    let hog = "while dd if=/dev/zero of=/big bs=256k count=8 oflag=direct 2>/dev/null; do echo wrote; done";
    let start = Instant::now();
    let (running, uuid) = rkt.start_pod(&[
        "--net=none",
        &limited,
        "--name=hog",
        "--exec=/bin/sh",
        "--",
        "-c",
        hog,
    ]);
    let wrote = || rkt.ok(&["logs", &uuid]).matches("wrote").count() as u64;
    until(LIMIT, "the hog to have written", || wrote() > 2);
    neighbour.and_the_host_go_on(&busybox);
    let more = wrote() + 1;
    let bytes = until_some(LIMIT, "the hog to go on", || {
        Some(wrote()).filter(|n| *n > more)
    }) * 8
        * 256
        * 1024;
    let most = RATE as f64 * (start.elapsed().as_secs_f64() + 2.0);
    assert!((bytes as f64) < most, "{bytes} bytes, {most} at most");
    end(&rkt, running, &uuid);
    neighbour.end();
    rkt.assert_clean();
}

/// `rkt app stop` and `rkt app rm` end an app that forks faster than it can be looked at; the pod and
/// its other apps stay.
#[test]
fn an_app_that_forks_without_end_can_be_ended() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let (_running, uuid) = rkt.start_sandbox(&["--net=none"]);
    rkt.start_app(&uuid, &image, "beside", &["--exec=/probe", "--", "sleep"]);
    for end in ["stop", "rm"] {
        rkt.start_app(&uuid, &image, end, &[&["--cpu=1"], &BOMB[..]].concat());
        let app = format!("--app={end}");
        // It is at its fastest while there are still processes to be had.
        until(LIMIT, "the app to be at it", || {
            processes_of(&rkt, &uuid) > 1000
        });
        rkt.run(&["app", end, &app, &uuid]).expect(0);
        // The supervisor, and the app beside.
        until(LIMIT, "the others to be gone", || {
            processes_of(&rkt, &uuid) == 2
        });
    }
    rkt.ok(&["stop", "--force", &uuid]);
    rkt.await_state(&uuid, "exited");
    rkt.assert_clean();
}
