//! `rkt stats`: what pods and apps use.

use std::time::Duration;

use e2e::{Rkt, fixtures, until};
use serde_json::Value;

/// Works, writes a megabyte, sends something over loopback, stays.
const BUSY: &str = "dd if=/dev/zero of=/tmp/file bs=1024 count=1024 2>/dev/null
nslookup example.com 127.0.0.1 >/dev/null 2>&1 &
while :; do :; done";

fn busy(rkt: &Rkt, net: &str) -> (e2e::Running, String) {
    let image = rkt.fetch(&fixtures::busybox());
    let busy = [&image, "--name=busy", "--memory=64M", "--exec=/bin/sh"];
    let idle = [&image, "--name=idle", "--exec=/bin/sleep", "--", "1000"];
    let args = [&[net][..], &busy, &["--", "-c", BUSY, "---"], &idle];
    rkt.start_pod(&args.concat())
}

fn number(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn pods_and_apps_are_counted() {
    let rkt = Rkt::new();
    let (_pod, uuid) = busy(&rkt, "--net=none");
    until(Duration::from_secs(20), "the numbers to grow", || {
        let stats = rkt.json(&["stats", "--format=json", &uuid]);
        let busy = &stats[0]["apps"][0];
        number(busy, "cpu_time") > 50_000_000 && number(busy, "io_written") >= 1 << 20
    });
    let stats = rkt.json(&["stats", "--format=json", &uuid[..8]]);
    let pod = &stats[0];
    assert_eq!(pod["uuid"], uuid.as_str());
    let (busy, idle) = (&pod["apps"][0], &pod["apps"][1]);
    assert_eq!(
        (&busy["name"], &idle["name"]),
        (&"busy".into(), &"idle".into())
    );
    assert!(number(busy, "cpu_time") > number(idle, "cpu_time"));
    assert!(number(pod, "cpu_time") >= number(busy, "cpu_time"));
    assert!(number(pod, "memory") >= number(busy, "memory"));
    assert!(number(busy, "memory") > 1 << 20, "{stats}");
    let limit = number(busy, "memory_limit");
    assert!((63_990_000..=64_000_000).contains(&limit), "{limit}");
    assert_eq!(idle["memory_limit"], Value::Null);
    assert_eq!(number(idle, "processes"), 1);
    assert!(number(pod, "processes") >= 3, "{stats}");
    let lo = &pod["network"][0];
    assert_eq!(lo["name"], "lo");
    until(Duration::from_secs(20), "packets", || {
        let stats = rkt.json(&["stats", "--format=json", &uuid]);
        number(&stats[0]["network"][0], "received_bytes") > 0
    });
    let text = rkt.ok(&["stats", &uuid]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].starts_with("UUID") && lines[0].contains("MEMORY"));
    assert!(lines[1].starts_with(&uuid[..8]) && lines[2].contains("busy"));
    rkt.ok(&["stop", "--force", &uuid]);
    rkt.await_state(&uuid, "exited");
    rkt.run(&["stats", &uuid]).refused(&["running", "exited"]);
    assert_eq!(rkt.ok(&["stats", "--no-legend"]), "");
    rkt.assert_clean();
}

#[test]
fn following_ends_with_the_pod() {
    let rkt = Rkt::new();
    let (_pod, uuid) = busy(&rkt, "--net=host");
    let mut follow = rkt.start(&[
        "stats",
        "--follow",
        "--interval=100ms",
        "--format=json",
        &uuid,
    ]);
    until(Duration::from_secs(20), "three samples", || {
        assert!(follow.try_status().is_none(), "{}", follow.stderr());
        follow.stdout().lines().count() >= 3
    });
    rkt.ok(&["stop", "--force", &uuid]);
    let output = follow.finish().expect(0);
    let samples: Vec<Value> = output
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let share = |n: usize| samples[n][0]["apps"][0]["cpu_percent"].as_f64();
    assert_eq!(share(0), None);
    // On a busy machine it gets little, but something.
    assert!(share(2).is_some_and(|percent| percent > 1.0), "{samples:?}");
    assert!(samples[0][0].get("network").is_none(), "{samples:?}");
    rkt.assert_clean();
}

/// On a terminal each look replaces the one before, the busiest pod first.
#[test]
fn a_terminal_is_redrawn() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let pod = |script: &str| {
        let shell = ["--exec=/bin/sh", "--", "-c", script];
        rkt.start_pod(&[&["--net=none", &image], &shell[..]].concat())
    };
    let (idle_pod, idle) = pod("sleep 4");
    let (busy_pod, busy) = pod("timeout 4 sh -c 'while :; do :; done'; exit 0");
    let args = ["stats", "--follow", "--interval=100ms", &idle, &busy];
    let output = rkt.on_terminal(&args, &[]);
    assert_eq!(output.code, 0, "{}", output.all());
    let looks: Vec<&str> = output.stdout.split("\u{1b}[H\u{1b}[J").skip(1).collect();
    assert!(looks.iter().all(|look| look.contains("UUID")), "{looks:?}");
    // The first knows no share yet, at the end one of them may be gone, and a machine that is busy
    // itself may leave the busy one nothing for a while. Unsorted, the idle one is always first.
    let place = |look: &str, uuid: &str| look.find(&uuid[..8]);
    let orders = looks.iter().skip(1).filter_map(|look| {
        let (first, second) = (place(look, &busy)?, place(look, &idle)?);
        Some(first < second)
    });
    let orders: Vec<bool> = orders.collect();
    assert!(orders.contains(&true), "{looks:?}");
    idle_pod.finish().expect(0);
    busy_pod.finish().expect(0);
    rkt.assert_clean();
}

#[test]
fn wrong_questions() {
    let rkt = Rkt::new();
    rkt.run(&["stats", "no-such-pod"]).refused(&["no-such-pod"]);
    rkt.run(&["stats", "--format=xml"]).refused(&["xml"]);
    rkt.run(&["stats", "--follow", "--interval=0s"])
        .refused(&["--interval"]);
    rkt.run(&["stats", "--follow", "--interval=x"]).expect(254);
}
