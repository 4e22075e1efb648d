//! Registries over HTTPS, and those that mean no good: certificates, answers without end, redirects,
//! what lies damaged in the store.

use std::fs;

use e2e::oci::{INDEX, Layer, Published, descriptor, sha256};
use e2e::server::{Reply, Request, Server};
use e2e::{Internet, Output, Rkt, Running};
use serde_json::json;

use super::oci::script;

fn published() -> Published {
    script("echo came", &[Layer::new().file("own", 0o644, "own")]).published()
}

fn at(server: &Server) -> String {
    format!("docker://{}/it:v1", server.authority())
}

fn fetch(rkt: &Rkt, image: &str) -> Output {
    rkt.run(&["--insecure-options=http", "fetch", "--full", image])
}

fn inside(internet: &Internet, rkt: &Rkt, args: &[&str]) -> Output {
    Running::start(internet.inside(&rkt.command(args))).finish()
}

#[test]
fn a_registry_must_be_who_it_says() {
    let (rkt, mut internet) = (Rkt::new(), Internet::new());
    let image = published();
    let answer = move |request: &Request| image.answer(request);
    internet.host("good.test", answer.clone());
    internet.host_certified("wrong.test", "other.test", answer);
    let image = published();
    internet.host("down.test", move |request| {
        match request.path.contains("/blobs/") {
            true => {
                Reply::status(307).header("location", &format!("http://good.test{}", request.path))
            }
            false => image.answer(request),
        }
    });
    inside(&internet, &rkt, &["fetch", "docker://good.test/it:v1"]).expect(0);
    assert!(!internet.asked("good.test").is_empty());
    let other = Rkt::new();
    let fetch = |args: &[&str]| inside(&internet, &other, args);
    fetch(&["fetch", "docker://wrong.test/it:v1"]).refused(&["wrong.test", "ertificate"]);
    // Plain HTTP in the place of a certificate would be no better.
    fetch(&["fetch", "docker://down.test/it:v1"]).refused(&["plain HTTP", "good.test"]);
    assert!(other.ok(&["image", "list", "--no-legend"]).is_empty());
    fetch(&[
        "--insecure-options=tls",
        "fetch",
        "docker://wrong.test/it:v1",
    ])
    .expect(0);
}

/// Answers that never end, for everything that is read whole.
#[test]
fn answers_without_end_are_cut_off() {
    let image = published();
    let endless = || Reply::ok("[\n".repeat(50_000)).endless();
    let rkt = Rkt::new();
    let manifests = Server::start(move |_| endless());
    fetch(&rkt, &at(&manifests)).refused(&["sends more than"]);
    let (parts, config) = (image.clone(), sha256(&image.config));
    let configs = Server::start(move |request| match request.path.ends_with(&config) {
        true => endless(),
        false => parts.answer(request),
    });
    fetch(&rkt, &at(&configs)).refused(&["has the digest"]);
    let tokens = Server::start(move |_| endless());
    let challenge = format!("Bearer realm=\"{}\"", tokens.url("/token"));
    let registry =
        Server::start(move |_| Reply::status(401).header("www-authenticate", &challenge));
    fetch(&rkt, &at(&registry)).refused(&["sends more than"]);
    // A list that leads to itself, and one that leads to lists without end.
    let list = |digest: &str, size: usize| {
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": INDEX,
            "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": "amd64"}}]})
        .to_string()
        .into_bytes()
    };
    let mut lists = vec![list(&sha256(b"nowhere"), 7)];
    for _ in 0..10 {
        let last = lists.last().unwrap();
        lists.push(list(&sha256(last), last.len()));
    }
    let registry = Server::start(move |request| {
        let named = lists.iter().find(|l| request.path.ends_with(&sha256(l)));
        Reply::ok(named.unwrap_or(&lists[10]).clone())
    });
    fetch(&rkt, &at(&registry)).refused(&["from list to list"]);
    assert!(registry.requests().len() < 10);
    assert!(rkt.ok(&["image", "list", "--no-legend"]).is_empty());
    assert_eq!(
        fs::read_dir(rkt.data().join("cas/building"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn what_is_no_image_is_refused_with_its_kind() {
    let image = published();
    let manifest: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
    let chart = "application/vnd.cncf.helm.config.v1+json";
    let mut artifact = manifest.clone();
    artifact["config"] = descriptor(chart, b"{}");
    let mut odd = manifest.clone();
    odd["layers"][0]["mediaType"] = json!("application/vnd.example.squashfs");
    let mut old = manifest;
    old["schemaVersion"] = json!(1);
    let cases = [(artifact, chart), (odd, "squashfs"), (old, "schema 1")];
    for (manifest, words) in cases {
        let registry = Server::start(move |_| Reply::ok(manifest.to_string()));
        fetch(&Rkt::new(), &at(&registry)).refused(&[words]);
    }
}

/// A layer that was changed on disk is no use to the next image that shares it: it is got again.
#[test]
fn a_damaged_layer_is_fetched_again() {
    let (one, two) = (
        published(),
        script("cat /own", &[Layer::new().file("own", 0o644, "own")]),
    );
    let two = two.published();
    assert_eq!(one.layers, two.layers);
    let registry = Server::start(
        move |request| match request.path.contains("/manifests/v2") {
            true => two.answer(request),
            false if one.answer(request).is(404) => two.answer(request),
            false => one.answer(request),
        },
    );
    let rkt = Rkt::new();
    let first = fetch(&rkt, &at(&registry)).expect(0).text().to_owned();
    let hex = sha256(&published().layers[1]).replace("sha256:", "");
    let blob = rkt
        .data()
        .join(format!("cas/blob/sha256/{}/sha256-{hex}", &hex[..2]));
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, bytes).unwrap();
    rkt.run(&["image", "verify", &first]).refused(&[&hex]);
    // Without its tree the next image needs the blob.
    for tree in fs::read_dir(rkt.data().join("cas/tree")).unwrap().flatten() {
        fs::remove_dir_all(tree.path()).unwrap();
    }
    let second = format!("docker://{}/it:v2", registry.authority());
    let second = fetch(&rkt, &second).expect(0).text().to_owned();
    rkt.run(&["image", "verify", &first, &second]).expect(0);
    assert_eq!(
        rkt.run(&["run", "--net=none", &second])
            .expect(0)
            .app_lines(),
        ["own"]
    );
}

/// Requests that the registry is too busy for are asked again, as long as it says.
#[test]
fn a_busy_registry_is_asked_again() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let image = published();
    let count = AtomicUsize::new(0);
    let registry = Server::start(move |request| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::status(429).header("retry-after", "0"),
        1 => Reply::status(503).header("retry-after", "0"),
        _ => image.answer(request),
    });
    fetch(&Rkt::new(), &at(&registry)).expect(0);
    let busy = Server::start(|_| Reply::status(503).header("retry-after", "0"));
    fetch(&Rkt::new(), &at(&busy)).refused(&["503"]);
    assert!(busy.requests().len() < 10);
}

/// rkt's configuration knows Docker's registry by all its names.
#[test]
fn dockers_registry_has_several_names() {
    let (rkt, mut internet) = (Rkt::new(), Internet::new());
    let image = published();
    internet.host("registry-1.docker.io", move |request| {
        match (
            request.header("authorization"),
            request.path.starts_with("/v2/library/it/"),
        ) {
            (Some("Basic bWU6d29yZA=="), true) => image.answer(request),
            _ => Reply::status(401).header("www-authenticate", "Basic realm=\"x\""),
        }
    });
    let auth = rkt.local_config().join("auth.d");
    fs::create_dir_all(&auth).unwrap();
    let text = json!({"rktKind": "dockerAuth", "rktVersion": "v1", "registries": ["index.docker.io"],
        "credentials": {"user": "me", "password": "word"}});
    fs::write(auth.join("docker.json"), text.to_string()).unwrap();
    for name in [
        "docker://it",
        "docker:docker.io/it:latest",
        "docker://index.docker.io/library/it",
    ] {
        let output = inside(
            &internet,
            &rkt,
            &["run", "--net=none", "--pull-policy=update", name],
        );
        assert_eq!(output.expect(0).app_lines(), ["came"], "{name}");
    }
}

/// Servers close connections that lay idle when they like, also while the next question is on its
/// way. What may be asked again is; a token is asked for on a connection of its own.
#[test]
fn connections_that_are_closed_between_two_questions_are_replaced() {
    let (rkt, image) = (Rkt::new(), published());
    let registry = Server::start(move |request| {
        let host = request.header("host").unwrap_or_default();
        let realm = format!(r#"Bearer realm="http://{host}/token",service="reg""#);
        let reply = match (request.method.as_str(), request.header("authorization")) {
            ("POST", _) => Reply::ok(r#"{"access_token": "good"}"#),
            (_, Some("Bearer good")) => image.answer(request),
            _ => Reply::status(401).header("www-authenticate", &realm),
        };
        reply.last()
    });
    let config = rkt.path("docker");
    fs::create_dir_all(&config).unwrap();
    let auths = json!({"auths": {registry.authority(): {"identitytoken": "long-lived"}}});
    fs::write(config.join("config.json"), auths.to_string()).unwrap();
    let mut command = rkt.command(&["--insecure-options=http", "fetch", &at(&registry)]);
    command.env("DOCKER_CONFIG", &config);
    Running::start(command).finish().expect(0);
    let asked = registry.requests();
    assert_eq!(asked.iter().filter(|r| r.method == "POST").count(), 1);
}
