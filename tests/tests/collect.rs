//! Collecting many pods, and pods whose parts are missing.

use std::fs;
use std::time::{Duration, Instant};

use e2e::{Rkt, fixtures};
use rustix::process::Signal;

#[test]
fn many_exited_pods_go_at_once() {
    const PODS: usize = 30;
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    for _ in 0..PODS {
        rkt.run(&["run", "--net=none", &image, "--exec=/probe", "--", "true"])
            .expect(0);
    }
    assert_eq!(rkt.pods().len(), PODS);
    let start = Instant::now();
    rkt.gc();
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    rkt.assert_clean();
}

#[test]
fn two_collectors_at_once_do_not_trip_over_each_other() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    for _ in 0..10 {
        rkt.run(&["run", "--net=none", &image, "--exec=/probe", "--", "true"])
            .expect(0);
    }
    let collectors: Vec<_> = (0..4)
        .map(|_| rkt.start(&["gc", "--grace-period=0s"]))
        .collect();
    for collector in collectors {
        collector.finish().expect(0);
    }
    rkt.assert_clean();
}

#[test]
fn a_pod_with_broken_files_is_shown_and_collected() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let prepared = rkt.ok(&["prepare", "--quiet", &image]);
    rkt.run(&["run", "--net=none", &image, "--exec=/probe", "--", "true"])
        .expect(0);
    let exited = rkt
        .pods()
        .into_iter()
        .find(|uuid| *uuid != prepared)
        .unwrap();
    let pods = rkt.data().join("pods");
    fs::write(
        pods.join("prepared").join(&prepared).join("pod"),
        "not json",
    )
    .unwrap();
    let pod = pods.join("run").join(&exited);
    for name in ["pod", "pid", "ppid", "stage1TreeStoreID"] {
        let _ = fs::remove_file(pod.join(name));
    }
    rkt.run(&["list"]).expect(0);
    rkt.assert_clean();
}

#[test]
fn an_empty_data_directory_is_no_error() {
    let rkt = Rkt::new();
    assert_eq!(rkt.ok(&["list", "--no-legend"]), "");
    assert_eq!(rkt.ok(&["image", "list", "--no-legend"]), "");
    rkt.ok(&["gc"]);
    rkt.ok(&["image", "gc"]);
}

/// A pod whose mounts are still there in the caller's namespace: nothing outside is removed.
#[test]
fn removal_does_not_descend_into_mounts() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    rkt.run(&["run", "--net=none", &image, "--exec=/probe", "--", "true"])
        .expect(0);
    let precious = rkt.path("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "precious").unwrap();
    let point = rkt
        .data()
        .join("pods/run")
        .join(&rkt.pods()[0])
        .join("mounted");
    fs::create_dir(&point).unwrap();
    rustix::mount::mount_bind(&precious, &point).unwrap();
    rkt.gc();
    assert_eq!(
        fs::read_to_string(precious.join("file")).unwrap(),
        "precious"
    );
    rkt.assert_clean();
}

/// Pods are collected at once, each by a stage1 in the pod's own directory: none in another's.
#[test]
fn pods_collected_at_once_are_each_freed() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let pods: Vec<_> = (0..8)
        .map(|_| rkt.start_pod(&[&image, "--exec=/probe", "--", "sleep"]))
        .collect();
    for (pod, uuid) in pods {
        // Killed, so that everything is left to the collector.
        pod.signal(Signal::KILL);
        pod.finish();
        rkt.await_state(&uuid, "exited");
    }
    let collected = rkt.run(&["gc", "--grace-period=0s"]).expect(0);
    assert_eq!(collected.stderr, "");
    rkt.assert_clean();
}
