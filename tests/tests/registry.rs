//! Images of Docker and OCI registries: Debian's own registry where things go well, and servers
//! that do as they like where they do not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use e2e::oci::{INDEX, Layer, Layout, MANIFEST, OciImage, Published, sha256};
use e2e::server::{Reply, Request, Server};
use e2e::{Compression, Registry, Rkt, until};
use serde_json::json;

use super::oci::script;

const OPEN: &str = "--insecure-options=image,http";

fn fetch(rkt: &Rkt, image: &str) -> e2e::Output {
    rkt.strict(&[OPEN, "fetch", "--full", image])
}

fn run(rkt: &Rkt, image: &str) -> Vec<String> {
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

#[test]
fn credentials_come_from_rkts_configuration_and_from_dockers() {
    let registry = Registry::with_password();
    let rkt = Rkt::new();
    let mut layout = Layout::new(rkt.path("layout"));
    layout.add(&script("echo secret", &[]), "it");
    let login = ["--dest-creds=me:secret-word"];
    registry.push(&layout.reference("it"), "private:v1", &login);
    let image = registry.image("private:v1");
    let empty = rkt.path("home");
    fs::create_dir_all(empty.join(".docker")).unwrap();
    let with = |rkt: &Rkt| {
        let mut command = rkt.strict_command(&[OPEN, "fetch", &image]);
        command.env("HOME", &empty).env_remove("DOCKER_CONFIG");
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", empty.display()));
        e2e::Running::start(command).finish()
    };
    with(&rkt).refused(&[registry.authority(), "user and a password"]);
    // rkt's own.
    let auth = rkt.local_config().join("auth.d");
    fs::create_dir_all(&auth).unwrap();
    let file = auth.join("docker.json");
    let write = |password: &str| {
        let text = json!({"rktKind": "dockerAuth", "rktVersion": "v1",
            "registries": [registry.authority()],
            "credentials": {"user": "me", "password": password}});
        fs::write(&file, text.to_string()).unwrap();
    };
    write("wrong");
    let refused = with(&rkt).refused(&["401"]);
    assert!(!refused.all().contains("wrong"));
    write("secret-word");
    with(&rkt).expect(0);
    // Docker's file.
    let rkt = Rkt::new();
    let config = empty.join(".docker/config.json");
    let encoded = "bWU6c2VjcmV0LXdvcmQ=";
    let text = json!({"auths": {registry.authority(): {"auth": encoded}}});
    fs::write(&config, text.to_string()).unwrap();
    with(&rkt).expect(0);
    // A helper.
    let rkt = Rkt::new();
    let text = json!({"credHelpers": {registry.authority(): "test"}});
    fs::write(&config, text.to_string()).unwrap();
    with(&rkt).refused(&["docker-credential-test"]);
    let helper = empty.join("docker-credential-test");
    let answer = r#"#!/bin/sh
read host
echo "{\"ServerURL\":\"$host\",\"Username\":\"me\",\"Secret\":\"secret-word\"}""#;
    fs::write(&helper, answer).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    with(&rkt).expect(0);
    // A helper for all registries.
    let rkt = Rkt::new();
    fs::write(&config, json!({"credsStore": "test"}).to_string()).unwrap();
    with(&rkt).expect(0);
    // rkt's own word goes first, even a wrong one.
    let rkt = Rkt::new();
    let auth = rkt.local_config().join("auth.d");
    fs::create_dir_all(&auth).unwrap();
    fs::copy(&file, auth.join("docker.json")).unwrap();
    let wrong = fs::read_to_string(&file)
        .unwrap()
        .replace("secret-word", "wrong");
    fs::write(auth.join("docker.json"), wrong).unwrap();
    with(&rkt).refused(&["401"]);
    // Docker's file may be elsewhere.
    let rkt = Rkt::new();
    let elsewhere = rkt.path("docker");
    fs::create_dir(&elsewhere).unwrap();
    let text = json!({"auths": {registry.authority(): {"auth": encoded}}});
    fs::write(elsewhere.join("config.json"), text.to_string()).unwrap();
    let mut command = rkt.strict_command(&[OPEN, "fetch", &image]);
    command.env("DOCKER_CONFIG", &elsewhere).env_remove("HOME");
    e2e::Running::start(command).finish().expect(0);
}

/// A login that Docker keeps as a token buys the tokens of the registry.
#[test]
fn an_identity_token_buys_tokens() {
    let published = image().published();
    let tokens = Server::start(|request| {
        let body = request.body.replace("%5F", "_").replace("%2D", "-");
        let field = |text: &str| body.split('&').any(|f| f == text);
        match request.method == "POST"
            && field("grant_type=refresh_token")
            && field("refresh_token=long-lived")
        {
            true => Reply::ok(r#"{"access_token": "good-token"}"#),
            false => Reply::status(401),
        }
    });
    let realm = tokens.url("/token");
    let registry = Server::start(move |request| match request.header("authorization") {
        Some("Bearer good-token") => published.answer(request),
        _ => Reply::status(401).header(
            "www-authenticate",
            &format!(r#"Bearer realm="{realm}",service="reg""#),
        ),
    });
    let rkt = Rkt::new();
    let fetch = |token: &str| {
        let entry = json!({"auths": {registry.authority(): {"identitytoken": token}}});
        let config = rkt.path("docker");
        fs::create_dir_all(&config).unwrap();
        fs::write(config.join("config.json"), entry.to_string()).unwrap();
        let mut command = rkt.strict_command(&[OPEN, "fetch", &at(&registry)]);
        command.env("DOCKER_CONFIG", &config);
        e2e::Running::start(command).finish()
    };
    let told = fetch("stale").refused(&["does not accept the credentials"]);
    assert!(!told.all().contains("stale"));
    fetch("long-lived").expect(0);
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

fn image() -> OciImage {
    let large: Vec<u8> = (0..600_000u32)
        .flat_map(|n| (n.wrapping_mul(n) ^ 0x5bd1_e995).to_le_bytes())
        .collect();
    script("echo came", &[Layer::new().file("large", 0o644, large)])
}

fn at(server: &Server) -> String {
    format!("docker://{}/it:v1", server.authority())
}

#[test]
fn tokens_are_got_where_the_registry_says() {
    let published = image().published();
    let tokens = Server::start(|request| {
        assert!(request.path.contains("service=reg"), "{}", request.path);
        assert!(request.path.contains("scope=repository%3Ait%3Apull"));
        Reply::ok(r#"{"access_token": "good-token"}"#)
    });
    let realm = tokens.url("/token?a=b");
    let answer = published.clone();
    let registry = Server::start(move |request| match request.header("authorization") {
        Some("Bearer good-token") => answer.answer(request),
        _ => Reply::status(401).header(
            "www-authenticate",
            &format!(r#"Bearer realm="{realm}",service="reg",scope="repository:it:pull""#),
        ),
    });
    let rkt = Rkt::new();
    assert_eq!(run(&rkt, &at(&registry)), ["came"]);
    assert_eq!(tokens.requests().len(), 1);
}

#[test]
fn tokens_that_open_nothing_end_the_fetch() {
    let tokens = Server::start(|_| Reply::ok(r#"{"token": "poor"}"#));
    let realm = tokens.url("/token");
    let challenge = format!(
        r#"Bearer realm="{realm}",scope="repository:other:pull",error="insufficient_scope""#
    );
    let registry =
        Server::start(move |_| Reply::status(401).header("www-authenticate", &challenge));
    let rkt = Rkt::new();
    fetch(&rkt, &at(&registry)).refused(&["token does not allow"]);
    // Two questions, not a loop.
    assert_eq!(registry.requests().len(), 2);
    let endless =
        Server::start(|_| Reply::status(401).header("www-authenticate", "Basic realm=\"x\""));
    fetch(&rkt, &at(&endless)).refused(&["user and a password"]);
}

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
fn redirects_take_no_credentials_along() {
    let published = image().published();
    let answer = published.clone();
    let storage = Server::start(move |request| {
        assert_eq!(request.header("authorization"), None, "the secret leaked");
        answer.answer(request)
    });
    let elsewhere = storage.url("");
    let answer = published.clone();
    let registry = Server::start(move |request| match request.header("authorization") {
        None => Reply::status(401).header("www-authenticate", "Basic realm=\"x\""),
        Some(_) if request.path.contains("/blobs/") => {
            Reply::status(307).header("location", &format!("{elsewhere}{}", request.path))
        }
        Some(_) => answer.answer(request),
    });
    let rkt = Rkt::new();
    let auth = rkt.local_config().join("auth.d");
    fs::create_dir_all(&auth).unwrap();
    let text = json!({"rktKind": "dockerAuth", "rktVersion": "v1",
        "registries": [registry.authority()],
        "credentials": {"user": "me", "password": "word"}});
    fs::write(auth.join("docker.json"), text.to_string()).unwrap();
    assert_eq!(run(&rkt, &at(&registry)), ["came"]);
    assert!(!storage.requests().is_empty());
    let circle = Server::start(|r| Reply::status(302).header("location", &r.path));
    fetch(&rkt, &at(&circle)).refused(&["redirects more than"]);
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
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let published = image().published();
    let registry = Server::start(move |request| published.answer(request));
    let mut good = 0;
    for size in [64, 300, 1000, 2500, 4000, 6000, 40_000] {
        let rkt = Rkt::new();
        let options = std::ffi::CString::new(format!("size={size}k")).unwrap();
        let options = Some(options.as_c_str());
        mount("tmpfs", rkt.data(), "tmpfs", MountFlags::empty(), options).unwrap();
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
        unmount(rkt.data(), UnmountFlags::DETACH).unwrap();
    }
    assert_eq!(good, 1);
}
