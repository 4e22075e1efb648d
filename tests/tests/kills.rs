//! SIGKILL at many random moments: the next command finds a consistent state, and one
//! collection removes what was left.

use std::time::{Duration, Instant};

use e2e::{Compression, Rkt, Running, fixtures};
use rustix::process::Signal;

const KILLS: u32 = 25;

/// Spreads the moments over the whole run of a command that takes `whole`: an odd stride
/// visits early, late and middle moments alternately.
fn moments(whole: Duration) -> impl Iterator<Item = Duration> {
    (0..KILLS).map(move |n| whole.mul_f64(f64::from((n * 11) % KILLS) / f64::from(KILLS) * 1.1))
}

fn kill_after(running: &mut Running, moment: Duration) {
    let start = Instant::now();
    while start.elapsed() < moment && running.try_status().is_none() {
        std::hint::spin_loop();
    }
    running.signal(Signal::KILL);
}

fn timed(command: impl FnOnce()) -> Duration {
    let start = Instant::now();
    command();
    start.elapsed()
}

#[test]
fn fetch() {
    let rkt = Rkt::new();
    let path = rkt.path("image.aci");
    fixtures::busybox()
        .file("/large", 0o644, vec![7u8; 4 << 20])
        .write(&path, Compression::Gzip)
        .unwrap();
    let path = path.to_str().unwrap();
    let trial = Rkt::new();
    let whole = timed(|| drop(trial.ok(&["fetch", path])));
    for moment in moments(whole) {
        let mut fetch = rkt.start(&["fetch", path]);
        kill_after(&mut fetch, moment);
        fetch.finish();
        rkt.ok(&["image", "list"]);
        rkt.ok(&["image", "gc"]);
    }
    rkt.ok(&["fetch", path]);
    let output = rkt
        .run(&["run", "--net=none", "example.com/busybox"])
        .expect(0);
    assert!(
        output.stdout.contains("hello from busybox"),
        "{}",
        output.all()
    );
    rkt.ok(&["image", "gc"]);
    for name in ["cas/tmp", "cas/building"] {
        let entries = std::fs::read_dir(rkt.data().join(name)).unwrap().flatten();
        let left: Vec<_> = entries.map(|e| e.path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    rkt.assert_clean();
}

#[test]
fn prepare() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let whole = timed(|| drop(rkt.ok(&["prepare", "--quiet", &image])));
    for moment in moments(whole) {
        let mut prepare = rkt.start(&["prepare", "--quiet", &image]);
        kill_after(&mut prepare, moment);
        prepare.finish();
        rkt.run(&["list"]).expect(0);
    }
    let uuid = rkt.ok(&["prepare", "--quiet", &image]);
    rkt.run(&["run-prepared", "--net=none", &uuid]).expect(0);
    rkt.assert_clean();
}

#[test]
fn run() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let args = ["run", &image, "--exec=/probe", "--", "true"];
    rkt.run(&args).expect(0);
    let whole = timed(|| drop(rkt.run(&args).expect(0)));
    for moment in moments(whole) {
        let mut run = rkt.start(&args);
        kill_after(&mut run, moment);
        run.finish();
        rkt.run(&["list"]).expect(0);
    }
    rkt.run(&args).expect(0);
    rkt.assert_clean();
}

/// The pod's main process is killed while the app runs: the app goes with it.
#[test]
fn the_main_process_of_a_running_pod() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let (pod, uuid) = rkt.start_pod(&[&image, "--exec=/probe", "--", "sleep"]);
    pod.signal(Signal::KILL);
    pod.finish();
    rkt.await_state(&uuid, "exited");
    rkt.assert_clean();
}

/// PID 1 of the pod is killed: the kernel ends the rest, and rkt says that it failed.
#[test]
fn the_supervisor_of_a_running_pod() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let (pod, uuid) = rkt.start_pod(&[&image, "--exec=/probe", "--", "sleep"]);
    let init = supervisor(&rkt).expect("no PID 1 of a pod");
    rustix::process::kill_process(rustix::process::Pid::from_raw(init).unwrap(), Signal::KILL)
        .unwrap();
    let output = pod.finish();
    assert_ne!(output.code, 0, "{}", output.all());
    rkt.await_state(&uuid, "exited");
    rkt.assert_clean();
}

/// The same at moments all over a start: it may still be mounting, or starting its app.
#[test]
fn the_supervisor_while_the_pod_starts() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    for pause in (0..12).map(|n| Duration::from_micros(n * 300)) {
        let mut pod = rkt.start(&["run", &image, "--exec=/probe", "--", "sleep"]);
        let init = e2e::until_some(Duration::from_secs(20), "a PID 1", || {
            assert!(pod.try_status().is_none(), "{}", pod.stderr());
            child_of(pod.pid())
        });
        let start = Instant::now();
        while start.elapsed() < pause {
            std::hint::spin_loop();
        }
        rustix::process::kill_process(rustix::process::Pid::from_raw(init).unwrap(), Signal::KILL)
            .unwrap();
        let output = pod.finish();
        assert_ne!(output.code, 0, "{}", output.all());
    }
    rkt.assert_clean();
}

/// The child of a pod's main process that is 1 in a namespace of its own.
fn child_of(pid: u32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .find(|pid| is_first(*pid))
}

/// The process that is 1 in its own namespace.
fn supervisor(rkt: &Rkt) -> Option<i32> {
    rkt.processes()
        .into_iter()
        .map(|(pid, _)| pid as i32)
        .find(|pid| is_first(*pid))
}

fn is_first(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("NSpid:"))
        .unwrap_or_default();
    let ids: Vec<_> = line.split_whitespace().skip(1).collect();
    ids.len() > 1 && ids.last() == Some(&"1")
}

#[test]
fn gc_killed_halfway_is_finished_by_the_next() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    for _ in 0..8 {
        rkt.run(&["run", "--net=none", &image]).expect(0);
    }
    for moment in [0, 1, 2, 4, 8].map(Duration::from_millis) {
        let mut gc = rkt.start(&["gc", "--grace-period=0s"]);
        kill_after(&mut gc, moment);
        gc.finish();
        rkt.run(&["list"]).expect(0);
    }
    rkt.assert_clean();
}
