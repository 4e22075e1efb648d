//! Fetches from a registry that break: connections, bytes, commands, disks.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use e2e::oci::{Layer, Published, sha256};
use e2e::server::{Reply, Request, Server};
use e2e::{Rkt, SmallDisk, until};
use serde_json::json;

use super::oci::script;
use super::registry::{OPEN, at, fetch, image, run};

#[test]
fn a_connection_that_breaks_is_resumed() {
    let published = image().published();
    let breaks = AtomicUsize::new(0);
    let answer = published.clone();
    let registry = Server::start(move |request| {
        let reply = answer.answer(request);
        let large =
            request.path.contains("/blobs/") && !request.path.contains(&sha256(&answer.config));
        match large && breaks.fetch_add(1, Ordering::Relaxed) < 4 {
            true => reply.cut_after(100_000),
            false => reply,
        }
    });
    let rkt = Rkt::new();
    assert_eq!(run(&rkt, &at(&registry)), ["came"]);
    let ranges = registry.requests();
    assert!(
        ranges.iter().any(|r| r.range() > Some(0)),
        "nothing was resumed"
    );
}

#[test]
fn a_killed_fetch_is_resumed_by_the_next() {
    let published = image().published();
    let held = published.layers[1].clone();
    let digest = sha256(&held);
    let slow = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (answer, stall, wanted) = (published.clone(), slow.clone(), digest.clone());
    let registry = Server::start(move |request| {
        if request.path.ends_with(&wanted) && stall.load(Ordering::Relaxed) {
            if request.range().is_some() {
                std::thread::sleep(Duration::from_secs(3600));
            }
            return Reply::part(&held, request).cut_after(700_000);
        }
        answer.answer(request)
    });
    let rkt = Rkt::new();
    let image = at(&registry);
    let running = e2e::Running::start(rkt.strict_command(&[OPEN, "fetch", &image]));
    let partial = rkt.data().join("cas/tmp").join(digest.replace(':', "-"));
    until(Duration::from_secs(60), "a part of the layer", || {
        fs::metadata(&partial).is_ok_and(|m| m.len() >= 700_000)
    });
    running.signal(rustix::process::Signal::KILL);
    running.finish();
    slow.store(false, Ordering::Relaxed);
    registry.forget();
    assert_eq!(run(&rkt, &image), ["came"]);
    let resumed = registry.requests();
    let resumed = resumed.iter().filter(|r| r.path.ends_with(&digest));
    assert_eq!(
        resumed.map(Request::range).collect::<Vec<_>>(),
        [Some(700_000)]
    );
    assert!(!partial.exists());
}

#[test]
fn bytes_that_are_not_what_they_should_be_are_refused() {
    let published = image().published();
    let wrong: Vec<u8> = {
        let mut bytes = published.layers[1].clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    type Answer = Box<dyn Fn(&Published, &Request) -> Reply + Send + Sync>;
    let last = sha256(&published.layers[1]);
    let cases: Vec<(Answer, &str)> = vec![
        (
            Box::new(move |_, _| Reply::ok(wrong.clone())),
            "has the digest",
        ),
        (
            Box::new(|p, r| Reply::part(&p.layers[1][..1000], r)),
            "ends after 1000 of",
        ),
        (Box::new(|_, _| Reply::ok("x").endless()), "has the digest"),
        (Box::new(|_, _| Reply::status(500)), "500"),
        (Box::new(|_, _| Reply::ok("").cut_after(0)), "ends after 0"),
    ];
    for (answer, words) in cases {
        let (image, last) = (published.clone(), last.clone());
        let registry = Server::start(move |request| match request.path.ends_with(&last) {
            true => answer(&image, request),
            false => image.answer(request),
        });
        let rkt = Rkt::new();
        fetch(&rkt, &at(&registry)).refused(&[words]);
        assert!(rkt.ok(&["image", "list", "--no-legend"]).is_empty());
        rkt.ok(&["image", "gc", "--grace-period=0s"]);
        for name in ["cas/tree", "cas/building"] {
            assert_eq!(fs::read_dir(rkt.data().join(name)).unwrap().count(), 0);
        }
    }
    let other = image().field("Cmd", json!(["other"])).published();
    let registry = Server::start(move |request| match request.path.contains("/manifests/") {
        true => Reply::ok(other.manifest.clone()),
        false => Reply::status(404),
    });
    let rkt = Rkt::new();
    let digest = sha256(&published.manifest);
    let image = format!("docker://{}/it@{digest}", registry.authority());
    fetch(&rkt, &image).refused(&["something else than", &digest]);
}

/// Killed at many moments of a parallel fetch: the next command finds a sound store.
#[test]
fn killed_at_any_moment_the_store_stays_sound() {
    let layers: Vec<Layer> = (0..6)
        .map(|n| Layer::new().file(&format!("f{n}"), 0o644, vec![n; 1 << 20]))
        .collect();
    let published = script("ls /f5", &layers).published();
    let registry = Server::start(move |request| published.answer(request));
    let image = at(&registry);
    let trial = Rkt::new();
    let start = std::time::Instant::now();
    fetch(&trial, &image).expect(0);
    let whole = start.elapsed();
    let rkt = Rkt::new();
    for n in 0..20u32 {
        let moment = whole.mul_f64(f64::from(n * 7 % 20) / 20.0 * 1.1);
        let running = e2e::Running::start(rkt.strict_command(&[OPEN, "fetch", &image]));
        std::thread::sleep(moment);
        running.signal(rustix::process::Signal::KILL);
        running.finish();
        rkt.ok(&["image", "list"]);
        if n % 4 == 0 {
            rkt.ok(&["image", "gc", "--grace-period=0s"]);
        }
    }
    let id = fetch(&rkt, &image).expect(0);
    rkt.ok(&["image", "verify", id.text()]);
    assert_eq!(run(&rkt, id.text()), ["/f5"]);
    rkt.gc();
    rkt.ok(&["image", "rm", id.text()]);
    rkt.ok(&["image", "gc", "--grace-period=0s"]);
    for dir in ["cas/tree", "cas/building", "cas/blob/sha256"] {
        let left = fs::read_dir(rkt.data().join(dir)).unwrap();
        let names: Vec<_> = left.flatten().map(|e| e.file_name()).collect();
        let stage1 = dir == "cas/tree" && names.len() <= 1;
        assert!(names.is_empty() || stage1, "{dir}: {names:?}");
    }
}

/// Disks of all sizes: too small for a part, for the trees, for the index.
#[test]
fn a_disk_that_is_full_at_any_stage() {
    let published = image().published();
    let registry = Server::start(move |request| published.answer(request));
    let mut good = 0;
    for size in [64, 300, 1000, 2500, 4000, 6000, 40_000] {
        let rkt = Rkt::new();
        let _disk = SmallDisk::mount(&rkt.data(), &format!("{size}k"));
        let output = fetch(&rkt, &at(&registry));
        match output.code {
            0 => good += 1,
            _ => {
                let output = output.refused(&[]);
                let told = output.stderr.contains("o space left") || output.stderr.contains("full");
                assert!(told, "{size}k: {}", output.stderr);
                let parts = ["cas/tmp", "cas/building"].into_iter();
                let parts = parts.flat_map(|name| fs::read_dir(rkt.data().join(name)));
                let left: u64 = parts
                    .flatten()
                    .flatten()
                    .filter_map(|e| e.metadata().ok())
                    .map(|m| m.len())
                    .sum();
                assert!(left < 100_000, "{size}k: {left} bytes stay");
            }
        }
    }
    assert_eq!(good, 1);
}
