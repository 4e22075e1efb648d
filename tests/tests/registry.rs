//! Images of Docker and OCI registries: Debian's own registry where things go well, and servers
//! that do as they like where they do not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use e2e::oci::{INDEX, Layer, Layout, MANIFEST, OciImage, Published, sha256};
use e2e::server::{Reply, Server};
use e2e::{Compression, Registry, Rkt, until};
use serde_json::json;

use super::oci::script;

pub(super) const OPEN: &str = "--insecure-options=image,http";

pub(super) fn fetch(rkt: &Rkt, image: &str) -> e2e::Output {
    rkt.strict(&[OPEN, "fetch", "--full", image])
}

pub(super) fn run(rkt: &Rkt, image: &str) -> Vec<String> {
    let output = rkt.strict(&[OPEN, "run", "--net=none", image]).expect(0);
    output.app_lines().iter().map(|l| (*l).to_owned()).collect()
}

#[test]
fn images_of_a_real_registry_run() {
    let (rkt, registry) = (Rkt::new(), Registry::start());
    let mut layout = Layout::new(rkt.path("layout"));
    let zstd = Layer::new()
        .compressed(Compression::Zstd)
        .file("z", 0o644, "zstd");
    layout.add(&script("cat /z; echo ' oci'", &[zstd]), "oci");
    layout.add(&script("echo docker", &[]), "docker");
    registry.push(&layout.reference("oci"), "some/thing:oci", &[]);
    let docker = ["--format=v2s2"];
    registry.push(&layout.reference("docker"), "some/thing:docker", &docker);
    assert_eq!(run(&rkt, &registry.image("some/thing:oci")), ["zstd oci"]);
    assert_eq!(run(&rkt, &registry.image("some/thing:docker")), ["docker"]);
    // By the name it got, and by both its digests.
    let name = format!("{}/some/thing:oci", registry.authority()).replace(':', "-");
    let name = name.replace("-oci", ":oci");
    let id = fetch(&rkt, &registry.image("some/thing:oci")).expect(0);
    let id = id.text().to_owned();
    assert_eq!(
        rkt.ok(&["fetch", "--full", "--pull-policy=never", &name]),
        id
    );
    let manifest = rkt.json(&["image", "cat-manifest", &id]);
    let annotations = manifest["annotations"].as_array().unwrap();
    let digest = annotations
        .iter()
        .find(|a| a["name"] == "appc.io/docker/manifesthash")
        .unwrap()["value"]
        .as_str()
        .unwrap();
    rkt.ok(&["image", "cat-manifest", digest]);
    let by_digest = registry.image(&format!("some/thing@{digest}"));
    assert_eq!(fetch(&rkt, &by_digest).expect(0).text(), id);
    let other = Rkt::new();
    assert_eq!(fetch(&other, &by_digest).expect(0).text(), id);
    fetch(&rkt, &registry.image("some/thing:none")).refused(&["404"]);
    // Without permission nothing comes over plain HTTP.
    rkt.run(&["fetch", &registry.image("some/thing:oci")])
        .refused(&["https://"]);
}

/// Images for several machines, as both kinds of lists, in a registry that checks them; and layers
/// that nobody compressed.
#[test]
fn lists_of_a_real_registry_are_searched() {
    let (rkt, registry) = (Rkt::new(), Registry::start());
    let mut layout = Layout::new(rkt.path("layout"));
    let plain = Layer::new()
        .compressed(Compression::None)
        .file("own", 0o644, "plain");
    let mine = script("cat /own", &[plain]).published();
    let other = script("echo other", &[])
        .for_platform("linux", "s390x")
        .published();
    let entry = |image: &Published, arch: &str| {
        let mut entry = e2e::oci::descriptor(MANIFEST, &image.manifest);
        entry["platform"] = json!({"os": "linux", "architecture": arch});
        entry
    };
    layout.add_published(&other, "other");
    layout.add_published(&mine, "mine");
    let list = json!({"schemaVersion": 2, "mediaType": INDEX,
        "manifests": [entry(&other, "s390x"), entry(&mine, "amd64")]});
    layout.document(INDEX, list.to_string().as_bytes(), "list");
    let from = layout.reference("list");
    registry.push(&from, "it:oci", &["--all", "--preserve-digests"]);
    registry.push(&from, "it:docker", &["--all", "--format=v2s2"]);
    for tag in ["it:oci", "it:docker"] {
        let rkt = Rkt::new();
        assert_eq!(run(&rkt, &registry.image(tag)), ["plain"], "{tag}");
    }
    registry.push(
        &layout.reference("other"),
        "other:v1",
        &["--preserve-digests"],
    );
    let id = fetch(&rkt, &registry.image("it:oci")).expect(0);
    let by_list = registry.image(&format!("it@{}", sha256(list.to_string().as_bytes())));
    assert_eq!(fetch(&rkt, &by_list).expect(0).text(), id.text());
}

#[test]
fn what_is_there_costs_one_request() {
    let (rkt, registry) = (Rkt::new(), Registry::start());
    let mut layout = Layout::new(rkt.path("layout"));
    layout.add(&script("echo it", &[]), "it");
    registry.push(&layout.reference("it"), "it:v1", &[]);
    let image = registry.image("it:v1");
    let first = fetch(&rkt, &image).expect(0);
    let before = registry.answered();
    assert_eq!(fetch(&rkt, &image).expect(0).text(), first.text());
    until(Duration::from_secs(20), "the log", || {
        registry.answered() > before
    });
    assert_eq!(registry.answered(), before + 1);
    // And none where the policy does not ask for one.
    run(&rkt, &image);
    rkt.ok(&["fetch", "--pull-policy=never", &image]);
    assert_eq!(registry.answered(), before + 1);
    layout.add(&script("echo changed", &[]), "new");
    registry.push(&layout.reference("new"), "it:v1", &[]);
    assert_eq!(run(&rkt, &image), ["it"]);
    fetch(&rkt, &image).expect(0);
    assert_eq!(run(&rkt, &image), ["changed"]);
    rkt.run(&["fetch", "--pull-policy=never", &registry.image("other:v1")])
        .refused(&["not in the store"]);
}

/// Layers are asked for at the same time, and written while they arrive.
#[test]
fn layers_come_side_by_side_and_are_written_at_once() {
    use std::sync::{Arc, Condvar, Mutex};
    let large: Vec<u8> = (0..600_000u32)
        .flat_map(|n| (n.wrapping_mul(n) ^ 0x5bd1_e995).to_le_bytes())
        .collect();
    let late = Layer::new()
        .file("comes-first", 0o644, "x")
        .file("large", 0o644, large);
    let early = Layer::new().file("own", 0o644, "own");
    let published = script("cat /own", &[early, late]).published();
    let layers: Vec<String> = published.layers.iter().map(|l| sha256(l)).collect();
    let together = Arc::new((Mutex::new(0), Condvar::new()));
    let go_on = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (waiting, go) = (together.clone(), go_on.clone());
    let registry = Server::start(move |request| {
        let layer = layers.iter().position(|l| request.path.ends_with(l));
        let Some(layer) = layer else {
            return published.answer(request);
        };
        let (count, changed) = &*waiting;
        let mut asked = count.lock().unwrap();
        *asked += 1;
        changed.notify_all();
        // Nobody gets a layer before two are asked for.
        while *asked < 2 {
            let (next, late) = changed
                .wait_timeout(asked, Duration::from_secs(60))
                .unwrap();
            asked = next;
            if late.timed_out() {
                return Reply::status(500);
            }
        }
        drop(asked);
        match (layer, request.range()) {
            (2, None) => published.answer(request).cut_after(1_000_000),
            (2, _) => {
                let limit = Duration::from_secs(60);
                e2e::until(limit, "the rest to be done", || go.load(Ordering::Relaxed));
                published.answer(request)
            }
            _ => published.answer(request),
        }
    });
    let rkt = Rkt::new();
    let image = at(&registry);
    let running = e2e::Running::start(rkt.strict_command(&[OPEN, "fetch", &image]));
    until(
        Duration::from_secs(60),
        "the first file of half a layer",
        || {
            let mut find = std::process::Command::new("find");
            find.arg(rkt.data().join("cas"))
                .args(["-name", "comes-first"]);
            find.output().is_ok_and(|found| !found.stdout.is_empty())
        },
    );
    go_on.store(true, Ordering::Relaxed);
    running.finish().expect(0);
    assert_eq!(run(&rkt, &image), ["own"]);
}

pub(super) fn image() -> OciImage {
    let large: Vec<u8> = (0..600_000u32)
        .flat_map(|n| (n.wrapping_mul(n) ^ 0x5bd1_e995).to_le_bytes())
        .collect();
    script("echo came", &[Layer::new().file("large", 0o644, large)])
}

pub(super) fn at(server: &Server) -> String {
    format!("docker://{}/it:v1", server.authority())
}

#[test]
fn a_list_is_searched_for_this_machine() {
    let mine = image().published();
    let entry = |arch: &str, bytes: &[u8]| {
        json!({"mediaType": MANIFEST, "digest": sha256(bytes), "size": bytes.len(),
               "platform": {"os": "linux", "architecture": arch}})
    };
    let list = json!({"schemaVersion": 2, "mediaType": INDEX,
        "manifests": [entry("s390x", b"other"), entry("amd64", &mine.manifest)]});
    let answer = mine.clone();
    let registry = Server::start(
        move |request| match request.path.ends_with("/manifests/v1") {
            true => Reply::ok(list.to_string()).header("content-type", INDEX),
            false => answer.answer(request),
        },
    );
    let rkt = Rkt::new();
    assert_eq!(run(&rkt, &at(&registry)), ["came"]);
    registry.forget();
    fetch(&rkt, &at(&registry)).expect(0);
    assert_eq!(registry.requests().len(), 1);
    let list = json!({"schemaVersion": 2, "manifests": [entry("s390x", b"other")]});
    let registry = Server::start(move |_| Reply::ok(list.to_string()));
    fetch(&rkt, &at(&registry)).refused(&["linux/amd64", "linux/s390x"]);
    let old = r#"{"schemaVersion": 1, "name": "it", "tag": "v1", "fsLayers": []}"#;
    let registry = Server::start(move |_| Reply::ok(old));
    fetch(&rkt, &at(&registry)).refused(&["schema 1"]);
}

/// Many commands at once want the same and overlapping images: each layer is fetched once.
#[test]
fn a_crowd_fetches_each_layer_once() {
    let shared = Layer::new().file("shared", 0o644, vec![3; 2 << 20]);
    let images: Vec<Published> = (0..3)
        .map(|n| {
            let own = Layer::new().file("own", 0o644, format!("{n}"));
            script("cat /own", &[shared.clone(), own]).published()
        })
        .collect();
    let answers = images.clone();
    let registry = Server::start(move |request| {
        let tag = |n: usize| request.path.ends_with(&format!("/manifests/v{n}"));
        if let Some(n) = (0..answers.len()).find(|n| tag(*n)) {
            return answers[n].answer(request);
        }
        let mut replies = answers.iter().map(|image| image.answer(request));
        replies.find(|r| !r.is(404)).unwrap_or(Reply::status(404))
    });
    let rkt = Rkt::new();
    let name = |n: usize| format!("docker://{}/it:v{}", registry.authority(), n % 3);
    let running: Vec<_> = (0..50)
        .map(|n| e2e::Running::start(rkt.strict_command(&[OPEN, "fetch", "--full", &name(n)])))
        .collect();
    let ids: Vec<String> = running
        .into_iter()
        .map(|r| r.finish().expect(0).text().to_owned())
        .collect();
    assert!(ids.iter().enumerate().all(|(n, id)| *id == ids[n % 3]));
    let blob = sha256(&images[0].layers[1]);
    let asked = registry.requests();
    let asked = asked.iter().filter(|r| r.path.ends_with(&blob)).count();
    assert_eq!(asked, 1);
    for (n, id) in ids.iter().take(3).enumerate() {
        assert_eq!(run(&rkt, id), [n.to_string()]);
    }
}
