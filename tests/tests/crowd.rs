//! Many at once.

use std::time::Duration;

use e2e::{Compression, Rkt, fixtures};

const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn fifty_runs_at_once() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let pods: Vec<_> = (0..50)
        .map(|_| rkt.start(&["run", &image, "--exec=/probe", "--", "exit", "3"]))
        .collect();
    for pod in pods {
        pod.finish_within(LIMIT).expect(3);
    }
    assert_eq!(rkt.pods().len(), 50);
    let list = rkt.ok(&["list", "--no-legend"]);
    assert_eq!(list.matches("exited").count(), 50, "{list}");
    rkt.assert_clean();
}

/// The same from an image file, so that all of them import and render the same image.
#[test]
fn ten_first_runs_at_once() {
    let rkt = Rkt::new();
    let image = rkt.image(&fixtures::busybox());
    let pods: Vec<_> = (0..10)
        .map(|_| rkt.start(&["run", "--net=none", &image]))
        .collect();
    for pod in pods {
        let output = pod.finish_within(LIMIT).expect(0);
        assert!(
            output.stdout.contains("hello from busybox"),
            "{}",
            output.all()
        );
    }
    rkt.assert_clean();
}

#[test]
fn ten_fetches_of_one_image_at_once() {
    let rkt = Rkt::new();
    let path = rkt.path("image.aci");
    fixtures::busybox().write(&path, Compression::Gzip).unwrap();
    let path = path.to_str().unwrap();
    let fetches: Vec<_> = (0..10)
        .map(|_| rkt.start(&["fetch", "--full", path]))
        .collect();
    let mut ids: Vec<_> = fetches
        .into_iter()
        .map(|fetch| fetch.finish_within(LIMIT).expect(0).text().to_owned())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let listed = rkt.ok(&["image", "list", "--no-legend"]);
    assert_eq!(
        listed
            .lines()
            .filter(|line| line.contains("example.com/busybox"))
            .count(),
        1,
        "{listed}"
    );
    assert_eq!(
        std::fs::read_dir(rkt.data().join("cas/tmp"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_thousand_orphans_are_reaped() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let output = rkt
        .run(&[
            "run",
            "--net=none",
            &image,
            "--exec=/probe",
            "--",
            "orphans",
            "1000",
        ])
        .expect(0);
    assert!(output.stdout.contains("1000 orphans"), "{}", output.all());
    rkt.assert_clean();
}

/// Processes that an app left behind go when the pod goes.
#[test]
fn what_the_app_left_running_is_killed() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "(trap '' TERM HUP; while :; do sleep 1000; done) & echo ready";
    rkt.run(&[
        "run",
        "--net=none",
        &image,
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ])
    .expect(0);
    rkt.assert_clean();
}
