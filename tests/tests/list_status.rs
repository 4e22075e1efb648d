//! What `list`, `status` and `cat-manifest` print.

use std::time::{Duration, Instant};

use e2e::{Rkt, fixtures};

/// Tabs to every eighth column, as terminals have them.
fn expanded(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars() {
        match c {
            '\t' => text.push_str(&" ".repeat(8 - text.chars().count() % 8)),
            c => text.push(c),
        }
    }
    text
}

#[test]
fn list_has_the_documented_columns() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let (_pod, uuid) = rkt.start_pod(&[
        &image,
        "--name=one",
        "--exec=/bin/sleep",
        "--",
        "1000",
        "---",
        &image,
        "--name=two",
        "--exec=/bin/sleep",
        "--",
        "1000",
    ]);
    let text = rkt.ok(&["list"]);
    let lines: Vec<_> = text.lines().collect();
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words(lines[0]),
        [
            "UUID", "APP", "IMAGE", "NAME", "STATE", "CREATED", "STARTED", "NETWORKS"
        ]
    );
    let first = words(lines[1]);
    assert_eq!(
        first[..4],
        [&uuid[..8], "one", "example.com/busybox:1.35.0", "running"],
        "{text}"
    );
    assert!(lines[1].contains("default:ip4=172.16.28."), "{text}");
    assert_eq!(
        words(lines[2]),
        ["two", "example.com/busybox:1.35.0"],
        "{text}"
    );
    // Columns stand below each other once a terminal has expanded the tabs.
    let lines: Vec<_> = lines.into_iter().map(expanded).collect();
    assert_eq!(lines[0].find("APP"), lines[1].find("one"), "{text}");
    assert_eq!(lines[1].find("one"), lines[2].find("two"), "{text}");

    let full = rkt.ok(&["list", "--full", "--no-legend"]);
    assert!(
        full.contains(&uuid) && full.contains(&image[..19]),
        "{full}"
    );
    assert!(!full.contains("UUID"));
}

#[test]
fn list_as_json() {
    let rkt = Rkt::new();
    assert_eq!(rkt.ok(&["list", "--format=json"]), "null");
    let image = rkt.fetch(&fixtures::busybox());
    let uuid = rkt.ok(&[
        "prepare",
        "--quiet",
        &image,
        "--user-annotation=k=v",
        "--user-label=l=w",
    ]);
    let pods = rkt.json(&["list", "--format=json"]);
    let pod = &pods[0];
    assert_eq!(pod["name"], uuid.as_str());
    assert_eq!(pod["state"], "prepared");
    assert_eq!(pod["app_names"][0], "busybox");
    let app = &pod["apps"][0];
    assert_eq!(app["name"], "busybox");
    assert_eq!(app["image_id"], image.as_str());
    assert_eq!(app["user_annotations"]["k"], "v");
    assert_eq!(app["user_labels"]["l"], "w");
    assert!(rkt.ok(&["list", "--format=json-pretty"]).contains("\n\t"));
    assert_eq!(rkt.json(&["list", "--format=json-pretty"]), pods);
}

#[test]
fn status_as_text_and_as_json() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let save = format!("--uuid-file-save={}", rkt.path("uuid").display());
    rkt.run(&["run", &save, &image, "--exec=/probe", "--", "exit", "5"])
        .expect(5);
    let from = format!("--uuid-file={}", rkt.path("uuid").display());
    let text = rkt.ok(&["status", &from]);
    let keys: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, _)| key)
        .collect();
    for key in [
        "state",
        "created",
        "started",
        "networks",
        "exited",
        "app-probe",
    ] {
        assert!(keys.contains(&key), "{key} is missing: {text}");
    }
    assert!(text.contains("app-probe=5"), "{text}");
    assert!(text.contains("exited=true"), "{text}");
    let json = rkt.json(&["status", "--format=json", &from]);
    assert_eq!(json["state"], "exited");
    assert_eq!(json["apps"][0]["exit_code"], 5);
    let seconds = json["created_at"].as_i64().unwrap();
    assert!(
        (1_000_000_000..100_000_000_000).contains(&seconds),
        "created_at is in seconds: {seconds}"
    );
}

#[test]
fn status_waits_for_the_end() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let (pod, uuid) = rkt.start_pod(&["--net=none", &image, "--exec=/bin/sleep", "--", "1"]);
    let text = rkt.ok(&["status", "--wait", &uuid]);
    assert!(
        text.contains("state=exited") && text.contains("app-busybox=0"),
        "{text}"
    );
    pod.finish().expect(0);
}

/// However early one asks: while the pod's directories are still being made, too.
#[test]
fn readiness_is_never_missed() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    for _ in 0..30 {
        // Waits for it with `status --wait-ready` as soon as there is a UUID.
        let (pod, uuid) = rkt.start_pod(&["--net=none", &image, "--exec=/probe", "--", "sleep"]);
        rkt.ok(&["stop", "--force", &uuid]);
        pod.finish();
    }
    rkt.assert_clean();
}

#[test]
fn waiting_ends_when_its_time_is_over() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let (_pod, uuid) = rkt.start_pod(&["--net=none", &image, "--exec=/probe", "--", "sleep"]);
    let start = Instant::now();
    rkt.run(&["status", "--wait=300ms", &uuid]);
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_secs(20),
        "{took:?}"
    );
    assert_eq!(rkt.status(&uuid, "state").as_deref(), Some("running"));
}

#[test]
fn the_manifest_of_a_pod() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let uuid = rkt.ok(&[
        "prepare",
        "--quiet",
        "--set-env=A=b",
        &image,
        "--name=chosen",
    ]);
    let manifest = rkt.json(&["cat-manifest", &uuid]);
    assert_eq!(manifest["acKind"], "PodManifest");
    assert_eq!(manifest["apps"][0]["name"], "chosen");
    assert_eq!(manifest["apps"][0]["image"]["id"], image.as_str());
    let environment = manifest["apps"][0]["app"]["environment"]
        .as_array()
        .unwrap();
    assert!(
        environment
            .iter()
            .any(|entry| entry["name"] == "A" && entry["value"] == "b"),
        "{manifest}"
    );
    let compact = rkt.ok(&["cat-manifest", "--pretty-print=false", &uuid]);
    assert_eq!(compact.lines().count(), 1);
}
