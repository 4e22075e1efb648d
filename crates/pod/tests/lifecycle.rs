//! Pods through their lives, on the real file system.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::{Duration, Instant};

use pod::{Error, MarkedAs, Phase, Pod, Pods, State};

fn pods() -> (tempfile::TempDir, Pods) {
    let dir = tempfile::tempdir().unwrap();
    let pods = Pods::create(dir.path()).unwrap();
    (dir, pods)
}

/// A pod that ran and exited: its lock is gone.
fn exited(pods: &Pods) -> String {
    let pod = pods.new_pod().unwrap();
    let uuid = pod.uuid().to_owned();
    drop(pod.into_running(pods).unwrap());
    uuid
}

fn phase_dirs(data: &Path) -> Vec<String> {
    let mut all: Vec<_> = Phase::ALL
        .iter()
        .flat_map(|p| std::fs::read_dir(data.join("pods").join(p.dir())).unwrap())
        .map(|e| {
            e.unwrap()
                .path()
                .strip_prefix(data.join("pods"))
                .unwrap()
                .display()
                .to_string()
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_pod_passes_its_states() {
    let (data, pods) = pods();
    let preparing = pods.new_pod().unwrap();
    let uuid = preparing.uuid().to_owned();
    assert_eq!(pods.find(&uuid).unwrap().state(), State::Preparing);
    assert_eq!(phase_dirs(data.path()), [format!("prepare/{uuid}")]);
    let prepared = preparing.into_prepared(&pods).unwrap();
    assert_eq!(pods.find(&uuid).unwrap().state(), State::Prepared);
    let running = prepared.lock(&pods).unwrap().into_running(&pods).unwrap();
    assert_eq!(pods.find(&uuid).unwrap().state(), State::Running);
    drop(running);
    assert_eq!(pods.find(&uuid).unwrap().state(), State::Exited);
    pods.mark(Duration::MAX, |_, _| {}).unwrap();
    assert_eq!(pods.find(&uuid).unwrap().state(), State::ExitedGarbage);
    pods.sweep(Duration::ZERO, |_| {}, |_, e| panic!("{e}"))
        .unwrap();
    assert!(matches!(pods.find(&uuid), Err(Error::NotFound(_))));
    assert!(phase_dirs(data.path()).is_empty());
}

#[test]
fn an_aborted_preparation_is_garbage() {
    let (data, pods) = pods();
    drop(pods.new_pod().unwrap());
    let mut marked = Vec::new();
    pods.mark(Duration::MAX, |pod, as_what| {
        marked.push((pod.phase(), as_what))
    })
    .unwrap();
    assert_eq!(marked, [(Phase::Garbage, MarkedAs::Aborted)]);
    pods.sweep(Duration::MAX, |_| {}, |_, e| panic!("{e}"))
        .unwrap();
    assert!(phase_dirs(data.path()).is_empty());
}

#[test]
fn prepared_pods_expire_and_running_ones_stay() {
    let (_data, pods) = pods();
    pods.new_pod().unwrap().into_prepared(&pods).unwrap();
    let running = pods.new_pod().unwrap().into_running(&pods).unwrap();
    let mut marked = Vec::new();
    pods.mark(Duration::from_secs(3600), |_, m| marked.push(m))
        .unwrap();
    assert!(marked.is_empty());
    pods.mark(Duration::ZERO, |_, m| marked.push(m)).unwrap();
    assert_eq!(marked, [MarkedAs::Expired]);
    assert_eq!(
        pods.find(running.pod().uuid()).unwrap().state(),
        State::Running
    );
}

#[test]
fn prefixes_are_unambiguous_and_in_any_case() {
    let (data, pods) = pods();
    for uuid in [
        "aaaa0000-0000-4000-8000-000000000001",
        "aaab0000-0000-4000-8000-000000000002",
    ] {
        std::fs::create_dir(data.path().join("pods/run").join(uuid)).unwrap();
    }
    assert_eq!(&pods.find("AAAA").unwrap().uuid()[..4], "aaaa");
    assert!(
        matches!(pods.find("aaa"), Err(Error::Ambiguous { matches, .. }) if matches.len() == 2)
    );
    assert!(matches!(pods.find("b"), Err(Error::NotFound(_))));
    for bad in ["", "xyz", "../run", "aaaa0000-0000-4000-8000-0000000000011"] {
        assert!(
            matches!(pods.find(bad), Err(Error::InvalidUuid(_))),
            "{bad:?}"
        );
    }
}

#[test]
fn of_two_that_run_a_prepared_pod_one_wins() {
    let (_data, pods) = pods();
    let uuid = pods
        .new_pod()
        .unwrap()
        .into_prepared(&pods)
        .unwrap()
        .uuid()
        .to_owned();
    let (first, second) = (pods.find(&uuid).unwrap(), pods.find(&uuid).unwrap());
    let winner = first.lock(&pods).unwrap().into_running(&pods).unwrap();
    assert!(matches!(second.lock(&pods), Err(Error::Locked(_))));
    drop(winner);
}

#[test]
fn collections_side_by_side_do_not_disturb_each_other() {
    let (data, pods) = pods();
    for _ in 0..40 {
        exited(&pods);
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let pods = Pods::open(data.path()).unwrap();
                pods.mark(Duration::MAX, |_, _| {}).unwrap();
                pods.sweep(Duration::ZERO, |_| {}, |_, e| panic!("{e}"))
                    .unwrap();
            });
        }
    });
    pods.sweep(Duration::ZERO, |_| {}, |_, e| panic!("{e}"))
        .unwrap();
    assert!(phase_dirs(data.path()).is_empty());
}

#[test]
fn rm_refuses_what_lives() {
    let (_data, pods) = pods();
    let running = pods.new_pod().unwrap().into_running(&pods).unwrap();
    let pod = pods.find(running.pod().uuid()).unwrap();
    assert!(matches!(
        pods.retire(pod),
        Err(Error::WrongState {
            state: State::Running,
            ..
        })
    ));
    let uuid = exited(&pods);
    let locked = pods.retire(pods.find(&uuid).unwrap()).unwrap();
    assert_eq!(pods.find(&uuid).unwrap().state(), State::ExitedDeleting);
    pods.remove(locked).unwrap();
    assert!(pods.find(&uuid).is_err());
}

#[test]
fn waiting_ends_with_the_pod_or_with_the_time() {
    let (_data, pods) = pods();
    let running = pods.new_pod().unwrap().into_running(&pods).unwrap();
    let find = || pods.find(running.pod().uuid()).unwrap();
    let limit = Some(Duration::from_millis(30));
    assert!(matches!(
        pods.wait_finished(find(), limit),
        Err(Error::TimedOut(_))
    ));
    assert!(matches!(
        pods.wait_ready(find(), limit),
        Err(Error::TimedOut(_))
    ));
    let pod = find();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pods.wait_finished(pod, None));
        std::thread::sleep(Duration::from_millis(50));
        drop(running);
        assert_eq!(waiting.join().unwrap().unwrap().state(), State::Exited);
    });
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_prepared_pod_is_waited_for_through_its_run() {
    let (_data, pods) = pods();
    let uuid = pods
        .new_pod()
        .unwrap()
        .into_prepared(&pods)
        .unwrap()
        .uuid()
        .to_owned();
    let (pod, own): (Pod, Pod) = (pods.find(&uuid).unwrap(), pods.find(&uuid).unwrap());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pods.wait_finished(pod, Some(Duration::from_secs(20))));
        let running = own.lock(&pods).unwrap().into_running(&pods).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        drop(running);
        assert_eq!(waiting.join().unwrap().unwrap().state(), State::Exited);
    });
}

#[test]
fn readiness_is_noticed() {
    let (_data, pods) = pods();
    let running = pods.new_pod().unwrap().into_running(&pods).unwrap();
    let status = running.dir().path().join("stage1/rootfs/rkt");
    let pod = pods.find(running.pod().uuid()).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pods.wait_ready(pod, Some(Duration::from_secs(20))));
        std::fs::create_dir_all(&status).unwrap();
        std::os::unix::fs::symlink("ready", status.join("supervisor-status")).unwrap();
        assert!(waiting.join().unwrap().unwrap().is_ready().unwrap());
    });
}

#[test]
fn a_missing_data_directory_has_no_pods_and_an_odd_one_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let pods = Pods::open(&dir.path().join("none")).unwrap();
    pods.walk::<Error>(&Phase::ALL, |_| panic!("a pod"))
        .unwrap();
    assert!(matches!(pods.find("ab"), Err(Error::NotFound(_))));
    std::fs::write(dir.path().join("pods"), "").unwrap();
    assert!(
        Pods::open(dir.path())
            .unwrap_err()
            .to_string()
            .contains("pods")
    );
}

#[test]
fn a_pods_links_are_not_followed() {
    let (data, pods) = pods();
    let pod = pods.new_pod().unwrap();
    std::fs::write(data.path().join("secret"), "s").unwrap();
    std::os::unix::fs::symlink(data.path().join("secret"), pod.dir().path().join("pod")).unwrap();
    let found = pods.find(pod.uuid()).unwrap();
    assert!(found.manifest_bytes().is_err());
    assert!(pod.dir().write("pod", b"x", 0o600).is_err());
    assert_eq!(
        std::fs::read_to_string(data.path().join("secret")).unwrap(),
        "s"
    );
}

#[test]
fn pods_are_made_while_others_collect_without_grace() {
    let (data, pods) = pods();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let pods = Pods::open(data.path()).unwrap();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                pods.mark(Duration::MAX, |_, _| {}).unwrap();
                pods.sweep(Duration::ZERO, |_| {}, |_, e| panic!("{e}"))
                    .unwrap();
            }
        });
        for _ in 0..200 {
            drop(exited(&pods));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
