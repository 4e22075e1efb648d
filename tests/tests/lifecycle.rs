//! Pods from prepare to removal, as `devel-pod-lifecycle` describes them.

use std::fs;

use e2e::{Rkt, fixtures};

fn place(rkt: &Rkt, uuid: &str) -> String {
    let found = [
        "embryo",
        "prepare",
        "prepared",
        "run",
        "exited-garbage",
        "garbage",
    ]
    .into_iter()
    .find(|state| rkt.data().join("pods").join(state).join(uuid).exists());
    found.unwrap_or("nowhere").to_owned()
}

#[test]
fn prepare_prints_the_uuid_and_run_prepared_runs_it() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let uuid = rkt.ok(&["prepare", "--quiet", &image]);
    assert_eq!(uuid.len(), 36, "{uuid}");
    assert_eq!(place(&rkt, &uuid), "prepared");
    assert_eq!(rkt.status(&uuid, "state").as_deref(), Some("prepared"));
    let output = rkt.run(&["run-prepared", "--net=none", &uuid]).expect(0);
    assert!(
        output.stdout.contains("hello from busybox"),
        "{}",
        output.all()
    );
    assert_eq!(place(&rkt, &uuid), "run");
    assert_eq!(rkt.status(&uuid, "state").as_deref(), Some("exited"));
    rkt.run(&["run-prepared", "--net=none", &uuid]).refused(&[]);
    rkt.assert_clean();
}

#[test]
fn a_running_pod_is_seen_ready_stopped_and_collected() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let (pod, uuid) = rkt.start_pod(&["--net=none", &image, "--exec=/probe", "--", "sleep"]);
    assert_eq!(rkt.status(&uuid, "state").as_deref(), Some("running"));
    assert_eq!(rkt.status(&uuid, "exited").as_deref(), Some("false"));
    let pid: u32 = rkt.status(&uuid, "pid").unwrap().parse().unwrap();
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());

    assert_eq!(rkt.ok(&["stop", &uuid]), format!("\"{uuid}\""));
    pod.finish();
    rkt.await_state(&uuid, "exited");
    assert_eq!(rkt.status(&uuid, "exited").as_deref(), Some("true"));
    assert!(rkt.status(&uuid, "app-probe").is_some());

    rkt.ok(&["gc", "--mark-only"]);
    assert_eq!(place(&rkt, &uuid), "exited-garbage");
    assert_eq!(
        rkt.status(&uuid, "state").as_deref(),
        Some("exited garbage")
    );
    let text = rkt.run(&["gc", "--grace-period=0s"]).expect(0).all();
    assert!(text.contains(&uuid), "{text}");
    assert_eq!(place(&rkt, &uuid), "nowhere");
    rkt.assert_clean();
}

#[test]
fn force_stops_what_ignores_term() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "trap '' TERM; echo ready; while :; do sleep 1000; done";
    let (mut pod, uuid) =
        rkt.start_pod(&["--net=none", &image, "--exec=/bin/sh", "--", "-c", script]);
    pod.await_stdout("ready");
    rkt.ok(&["stop", "--force", &uuid]);
    let output = pod.finish();
    assert_ne!(output.code, 0);
    rkt.await_state(&uuid, "exited");
    rkt.assert_clean();
}

#[test]
fn an_app_that_ignores_term_is_killed_after_a_while() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "trap '' TERM; echo ready; while :; do sleep 1000; done";
    let (mut pod, uuid) =
        rkt.start_pod(&["--net=none", &image, "--exec=/bin/sh", "--", "-c", script]);
    pod.await_stdout("ready");
    rkt.ok(&["stop", &uuid]);
    let output = pod.finish();
    assert_ne!(output.code, 0, "{}", output.all());
    rkt.assert_clean();
}

/// rkt becomes the pod: a signal to what was started ends it in order.
#[test]
fn signals_to_rkt_run_stop_the_pod() {
    use rustix::process::Signal;
    for signal in [Signal::TERM, Signal::INT] {
        let rkt = Rkt::new();
        let image = rkt.fetch(&fixtures::busybox());
        let script =
            "trap 'echo stopping in order; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
        let (mut pod, _) =
            rkt.start_pod(&["--net=none", &image, "--exec=/bin/sh", "--", "-c", script]);
        pod.await_stdout("ready");
        pod.signal(signal);
        let output = pod.finish();
        assert!(
            output.stdout.contains("stopping in order"),
            "{signal:?}: {}",
            output.all()
        );
        rkt.assert_clean();
    }
}

#[test]
fn stopping_twice_says_so() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let save = rkt.path("uuid").display().to_string();
    rkt.run(&[
        "run",
        "--net=none",
        &format!("--uuid-file-save={save}"),
        &image,
    ])
    .expect(0);
    let uuid = fs::read_to_string(&save).unwrap();
    let output = rkt.run(&["stop", &format!("--uuid-file={save}")]);
    assert!(
        output.all().contains("already stopped") && output.all().contains(uuid.trim()),
        "{}",
        output.all()
    );
}

#[test]
fn uuid_files_are_taken_everywhere() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let save = rkt.path("uuid").display().to_string();
    rkt.run(&[
        "run",
        "--net=none",
        &format!("--uuid-file-save={save}"),
        &image,
    ])
    .expect(0);
    let from = format!("--uuid-file={save}");
    assert!(rkt.ok(&["status", &from]).contains("state=exited"));
    assert_eq!(rkt.json(&["cat-manifest", &from])["acKind"], "PodManifest");
    rkt.ok(&["rm", &from]);
    assert_eq!(rkt.pods(), Vec::<String>::new());
}

#[test]
fn a_running_pod_cannot_be_removed() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let (_pod, uuid) = rkt.start_pod(&["--net=none", &image, "--exec=/probe", "--", "sleep"]);
    rkt.run(&["rm", &uuid]).refused(&["running"]);
    rkt.ok(&["gc", "--grace-period=0s"]);
    assert_eq!(rkt.status(&uuid, "state").as_deref(), Some("running"));
}

#[test]
fn rm_removes_prepared_and_exited_pods_at_once() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let prepared = rkt.ok(&["prepare", "--quiet", &image]);
    let save = format!("--uuid-file-save={}", rkt.path("uuid").display());
    rkt.run(&["run", "--net=none", &save, &image]).expect(0);
    let exited = fs::read_to_string(rkt.path("uuid"))
        .unwrap()
        .trim()
        .to_owned();
    let text = rkt.ok(&["rm", &prepared, &exited]);
    assert_eq!(text, format!("\"{prepared}\"\n\"{exited}\""));
    rkt.assert_clean();
}

#[test]
fn prefixes_find_pods_when_they_are_clear() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let uuids: Vec<_> = (0..20)
        .map(|_| rkt.ok(&["prepare", "--quiet", &image]))
        .collect();
    assert!(
        rkt.ok(&["status", &uuids[0][..13]])
            .contains("state=prepared")
    );
    assert!(
        rkt.ok(&["status", &uuids[0][..13].to_uppercase()])
            .contains("state=prepared")
    );
    // Of twenty UUIDs two begin with the same of sixteen digits.
    let common = uuids
        .iter()
        .map(|uuid| &uuid[..1])
        .find(|digit| uuids.iter().filter(|uuid| uuid.starts_with(*digit)).count() > 1);
    rkt.run(&["status", common.unwrap()]).refused(&[]);
    rkt.run(&["status", "ffffffff-0000-4000-8000-000000000000"])
        .refused(&["ffffffff"]);
    rkt.run(&["status", "not-a-uuid"]).refused(&["not-a-uuid"]);
    rkt.run(&["stop", "ffffffff"]).refused(&["ffffffff"]);
    rkt.run(&["enter", "ffffffff"]).refused(&["ffffffff"]);
    rkt.run(&["cat-manifest", "ffffffff"])
        .refused(&["ffffffff"]);
}

#[test]
fn gc_keeps_to_the_grace_periods() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let prepared = rkt.ok(&["prepare", "--quiet", &image]);
    rkt.run(&["run", "--net=none", &image]).expect(0);
    rkt.ok(&["gc"]);
    rkt.ok(&["gc"]);
    let pods = rkt.pods();
    assert_eq!(
        pods.len(),
        2,
        "half an hour and a day have not passed: {pods:?}"
    );
    assert_eq!(place(&rkt, &prepared), "prepared");
    rkt.assert_clean();
}

#[test]
fn enter_runs_a_command_beside_the_app() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "touch /marker; echo ready; while :; do sleep 1000; done";
    let (mut pod, uuid) =
        rkt.start_pod(&["--net=none", &image, "--exec=/bin/sh", "--", "-c", script]);
    pod.await_stdout("ready");
    let output = rkt
        .run(&[
            "enter",
            &uuid,
            "/bin/sh",
            "-c",
            "ls /marker; hostname; exit 42",
        ])
        .expect(42);
    assert!(
        output.stdout.contains("/marker") && output.stdout.contains(&format!("rkt-{uuid}")),
        "{}",
        output.all()
    );
    rkt.ok(&["stop", "--force", &uuid]);
    pod.finish();
    rkt.run(&["enter", &uuid, "/bin/true"]).refused(&[]);
    rkt.assert_clean();
}

#[test]
fn enter_asks_which_app_when_there_are_several() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let wait = "echo ready; while :; do sleep 1000; done";
    let (_pod, uuid) = rkt.start_pod(&[
        "--net=none",
        &image,
        "--name=one",
        "--exec=/bin/sh",
        "--",
        "-c",
        wait,
        "---",
        &image,
        "--name=two",
        "--exec=/bin/sh",
        "--",
        "-c",
        wait,
    ]);
    let output = rkt.run(&["enter", &uuid, "/bin/true"]);
    output.refused(&["one", "two", "--app"]);
    rkt.run(&["enter", "--app=two", &uuid, "/bin/true"])
        .expect(0);
    rkt.run(&["enter", "--app=three", &uuid, "/bin/true"])
        .refused(&["three"]);
}
