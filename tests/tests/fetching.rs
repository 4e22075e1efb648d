//! Images over HTTP and HTTPS: discovery, signatures, what is asked for twice, what breaks off.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::server::{Reply, Request, Server};
use e2e::{Aci, Compression, Gpg, Internet, Output, Rkt, Running, fixtures};
use serde_json::json;

pub(super) const OPEN: &str = "--insecure-options=image,http";
const USER: &str = "Carly Container <carly@example.com>";

/// The bytes of an image.
pub(super) fn bytes(rkt: &Rkt, aci: &Aci) -> Vec<u8> {
    let file = rkt.path("made.aci");
    aci.write(&file, Compression::Gzip).unwrap();
    fs::read(file).unwrap()
}

pub(super) fn app(name: &str, version: &str) -> Aci {
    Aci::new(name)
        .label("version", version)
        .exec(&["/nothing"])
        .file("/etc/x", 0o644, name)
}

pub(super) fn inside(internet: &Internet, rkt: &Rkt, args: &[&str]) -> Output {
    Running::start(internet.inside(&rkt.strict_command(args))).finish()
}

pub(super) fn page(prefix: &str) -> String {
    format!(
        r#"<html><head><meta name="ac-discovery" content="{prefix} https://{prefix}/images/{{name}}-{{version}}-{{os}}-{{arch}}.{{ext}}">
        <meta name="ac-discovery-pubkeys" content="{prefix} https://{prefix}/keys.gpg"></head></html>"#
    )
}

/// A host with a signed image, its key and the page that tells of both.
pub(super) fn signed_host(internet: &mut Internet, rkt: &Rkt, gpg: &Gpg) -> Vec<u8> {
    let image = bytes(rkt, &app("shop.test/app", "1.0"));
    let file = rkt.path("made.aci");
    let signature = gpg.sign(&file, &[]);
    let keys = fs::read(gpg.export(&rkt.path("keys.gpg"))).unwrap();
    let served = image.clone();
    internet.host("shop.test", move |request| {
        match request.path.as_str() {
            "/images/shop.test/app-1.0-linux-amd64.aci" => Reply::part(&served, request),
            "/images/shop.test/app-1.0-linux-amd64.aci.asc" => Reply::ok(signature.clone()),
            "/keys.gpg" => Reply::ok(keys.clone()),
            // The name itself says nothing, so that its parent is asked.
            "/?ac-discovery=1" => Reply::ok(page("shop.test")),
            _ => Reply::status(404),
        }
    });
    image
}

#[test]
fn a_name_is_discovered_and_its_signature_verified() {
    let (rkt, mut internet) = (Rkt::new(), Internet::new());
    let gpg = Gpg::with_key("ed25519", USER);
    signed_host(&mut internet, &rkt, &gpg);
    let name = "shop.test/app:1.0";
    inside(&internet, &rkt, &["fetch", name]).refused(&["unknown entity"]);
    let trust = [
        "trust",
        "--prefix=shop.test/app",
        "--skip-fingerprint-review",
    ];
    let trusted = inside(&internet, &rkt, &trust).expect(0);
    assert!(trusted.stdout.contains(&gpg.fingerprint()));
    let fetched = inside(&internet, &rkt, &["fetch", "--full", name]).expect(0);
    assert!(fetched.stderr.contains("signature verified"));
    assert!(fetched.stderr.contains(USER));
    rkt.ok(&["image", "cat-manifest", "shop.test/app:1.0"]);
    // Nothing else has this name; the store has it from now on.
    inside(&internet, &rkt, &["fetch", "shop.test/app:2.0"]).refused(&["404"]);
    internet.forget();
    let again = ["fetch", "--full", "--pull-policy=new", name];
    assert_eq!(
        inside(&internet, &rkt, &again).expect(0).text(),
        fetched.text()
    );
    assert!(internet.asked("shop.test").is_empty());
    inside(&internet, &rkt, &["fetch", "nowhere.test/app"]).refused(&["nowhere.test"]);
}

#[test]
fn keys_of_https_are_trusted_where_the_user_says_so() {
    let (rkt, mut internet) = (Rkt::new(), Internet::new());
    let gpg = Gpg::with_key("rsa2048", USER);
    signed_host(&mut internet, &rkt, &gpg);
    let name = "shop.test/app:1.0";
    inside(&internet, &rkt, &["--trust-keys-from-https", "fetch", name]).expect(0);
    let key = rkt
        .local_config()
        .join("trustedkeys/prefix.d/shop.test/app");
    assert!(key.join(gpg.fingerprint()).exists());
    // A key by its URL.
    let rkt = Rkt::new();
    let url = "https://shop.test/keys.gpg";
    let args = [
        "trust",
        "--prefix=shop.test",
        "--skip-fingerprint-review",
        url,
    ];
    inside(&internet, &rkt, &args).expect(0);
    inside(&internet, &rkt, &["fetch", name]).expect(0);
    let plain = "http://shop.test/keys.gpg";
    let args = [
        "trust",
        "--prefix=a.test",
        "--skip-fingerprint-review",
        plain,
    ];
    inside(&internet, &rkt, &args).refused(&["plain HTTP"]);
    let allowed = [&args[..], &["--insecure-allow-http"]].concat();
    inside(&internet, &rkt, &allowed).expect(0);
    let pubkey = [&["--insecure-options=pubkey"], &args[..]].concat();
    inside(&internet, &rkt, &pubkey).expect(0);
}

#[test]
fn an_image_must_be_the_one_that_was_asked_for() {
    let (rkt, mut internet) = (Rkt::new(), Internet::new());
    let other = bytes(&rkt, &app("shop.test/other", "1.0"));
    let older = bytes(&rkt, &app("shop.test/app", "0.9"));
    let served = move |request: &Request| match request.path.as_str() {
        path if path.contains("ac-discovery") => Reply::ok(page("shop.test")),
        path if path.contains("app-1.0") => Reply::ok(older.clone()),
        _ => Reply::ok(other.clone()),
    };
    internet.host("shop.test", served);
    let fetch = |name: &str| inside(&internet, &rkt, &[OPEN, "fetch", name]);
    fetch("shop.test/app:1.0").refused(&["version", "0.9", "1.0"]);
    fetch("shop.test/thing:1.0").refused(&["shop.test/other", "shop.test/thing"]);
    assert!(rkt.ok(&["image", "list", "--no-legend"]).is_empty());
}

/// Labels that were asked for find their place in the template, and must be the image's own; of
/// several places the first that has the image gives it.
#[test]
fn labels_choose_the_image_and_mirrors_stand_in() {
    let (rkt, mut internet) = (Rkt::new(), Internet::new());
    let of = |arch: &str| {
        let label = |name: &str, value: &str| json!({"name": name, "value": value});
        let labels = [
            label("version", "1.0"),
            label("os", "linux"),
            label("arch", arch),
        ];
        let image = app("shop.test/app", "1.0");
        bytes(&rkt, &image.field("labels", json!(labels)))
    };
    let (arm, liar) = (of("aarch64"), of("amd64"));
    internet.host("lost.test", |_| Reply::status(404));
    internet.host("shop.test", move |request| match request.path.as_str() {
        path if path.contains("ac-discovery") => {
            let tag = |host: &str| {
                format!(
                    r#"<meta name="ac-discovery"
                    content="shop.test https://{host}/{{name}}-{{version}}-{{os}}-{{arch}}.{{ext}}">"#
                )
            };
            Reply::ok(tag("lost.test") + &tag("shop.test"))
        }
        "/shop.test/app-1.0-linux-aarch64.aci" => Reply::ok(arm.clone()),
        "/shop.test/app-1.0-linux-armv7l.aci" => Reply::ok(liar.clone()),
        _ => Reply::status(404),
    });
    let fetch = |name: &str| inside(&internet, &rkt, &[OPEN, "fetch", "--full", name]);
    fetch("shop.test/app:1.0,arch=armv7l").refused(&["\"arch\"", "amd64", "armv7l"]);
    assert!(rkt.ok(&["image", "list", "--no-legend"]).is_empty());
    let id = fetch("shop.test/app:1.0,arch=aarch64").expect(0);
    assert!(!internet.asked("lost.test").is_empty());
    let manifest = rkt.json(&["image", "cat-manifest", id.text()]);
    let labels = manifest["labels"].as_array().unwrap();
    assert!(labels.contains(&json!({"name": "arch", "value": "aarch64"})));
    // This machine's own is what is meant where nothing is said.
    fetch("shop.test/app:1.0").refused(&["404", "lost.test"]);
    let asked = internet.asked("shop.test");
    assert!(asked.iter().any(|r| r.path.ends_with("-linux-amd64.aci")));
}

/// What was fetched from a place under no name is not taken for another name that leads there.
#[test]
fn a_place_that_is_known_holds_no_other_image() {
    let (rkt, mut internet) = (Rkt::new(), Internet::new());
    let other = bytes(&rkt, &app("shop.test/other", "1.0"));
    internet.host("shop.test", move |request| match request.path.as_str() {
        path if path.contains("ac-discovery") => Reply::ok(page("shop.test")),
        _ => match request.header("if-none-match") {
            Some(_) => Reply::status(304),
            None => Reply::ok(other.clone())
                .header("etag", "\"one\"")
                .header("cache-control", "max-age=600"),
        },
    });
    let url = "https://shop.test/images/shop.test/app-1.0-linux-amd64.aci";
    inside(&internet, &rkt, &[OPEN, "fetch", url]).expect(0);
    for _ in 0..2 {
        let name = [OPEN, "fetch", "shop.test/app:1.0"];
        inside(&internet, &rkt, &name).refused(&["shop.test/other", "shop.test/app"]);
        // The second time the server is asked, and says that nothing changed.
        let db = rkt.data().join("cas/db/index.sqlite");
        let stale = "UPDATE remote SET max_age = 0";
        let done = std::process::Command::new("sqlite3")
            .arg(&db)
            .arg(stale)
            .status();
        assert!(done.unwrap().success());
    }
}

#[test]
fn what_did_not_change_is_not_sent_again() {
    let rkt = Rkt::new();
    let image = bytes(&rkt, &app("example.com/app", "1"));
    let cached = Arc::new(AtomicBool::new(false));
    let fresh = cached.clone();
    let server = Server::start(move |request| {
        let reply = match request.header("if-none-match") {
            Some("\"one\"") => Reply::status(304),
            _ => Reply::ok(image.clone()),
        };
        let age = if fresh.load(Ordering::Relaxed) {
            "max-age=600"
        } else {
            "no-cache"
        };
        reply.header("etag", "\"one\"").header("cache-control", age)
    });
    let url = server.url("/app.aci");
    let fetch = |more: &[&str]| {
        let args = [&[OPEN, "fetch", "--full"], more, &[&url]].concat();
        rkt.strict(&args).expect(0).text().to_owned()
    };
    let id = fetch(&[]);
    assert_eq!(fetch(&[]), id);
    let asked = server.requests();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].header("if-none-match"), Some("\"one\""));
    assert_eq!(fetch(&["--pull-policy=new"]), id);
    assert_eq!(fetch(&["--pull-policy=never"]), id);
    assert_eq!(server.requests().len(), 2);
    // With the server's leave nobody asks for ten minutes.
    cached.store(true, Ordering::Relaxed);
    rkt.ok(&["image", "rm", &id]);
    fetch(&[]);
    fetch(&[]);
    assert_eq!(server.requests().len(), 3);
    rkt.ok(&["image", "rm", &id]);
    rkt.strict(&[OPEN, "fetch", "--pull-policy=never", &url])
        .refused(&["not in the store"]);
}

#[test]
fn a_signature_may_come_later() {
    let (rkt, gpg) = (Rkt::new(), Gpg::with_key("ed25519", USER));
    let image = bytes(&rkt, &app("example.com/app", "1"));
    let signature = gpg.sign(&rkt.path("made.aci"), &[]);
    let keys = gpg.export(&rkt.path("keys.gpg"));
    rkt.strict(&["trust", "--root", "--skip-fingerprint-review", &keys])
        .expect(0);
    let sent = Arc::new(AtomicBool::new(false));
    let server = Server::start(move |request| match request.path.as_str() {
        "/app.aci" => {
            sent.store(true, Ordering::Relaxed);
            Reply::ok(image.clone())
        }
        "/app.aci.asc" if sent.load(Ordering::Relaxed) => Reply::ok(signature.clone()),
        "/never.aci" => Reply::ok(image.clone()),
        _ => Reply::status(202),
    });
    let http = "--insecure-options=http";
    rkt.strict(&[http, "fetch", &server.url("/never.aci")])
        .refused(&["still not there"]);
    let fetched = rkt
        .strict(&[http, "fetch", &server.url("/app.aci")])
        .expect(0);
    assert!(fetched.stderr.contains("signature verified"));
}

#[test]
fn a_signature_of_another_file_is_refused() {
    let (rkt, gpg) = (Rkt::new(), Gpg::with_key("ed25519", USER));
    let other = rkt.path("other");
    fs::write(&other, "something else").unwrap();
    let signature = gpg.sign(&other, &[]);
    let keys = gpg.export(&rkt.path("keys.gpg"));
    rkt.strict(&["trust", "--root", "--skip-fingerprint-review", &keys])
        .expect(0);
    let image = bytes(&rkt, &app("example.com/app", "1"));
    let made = rkt.path("made.aci");
    let good = rkt.path("good.asc");
    fs::write(&good, gpg.sign(&made, &[])).unwrap();
    let server = Server::start(move |request| match request.path.ends_with(".asc") {
        true => Reply::ok(signature.clone()),
        false => Reply::ok(image.clone()),
    });
    let (http, url) = ("--insecure-options=http", server.url("/app.aci"));
    rkt.strict(&[http, "fetch", &url])
        .refused(&["signature made by"]);
    assert!(rkt.ok(&["image", "list", "--no-legend"]).is_empty());
    // A signature on disk takes its place.
    let option = format!("--signature={}", good.display());
    rkt.strict(&[http, "fetch", &url, &option]).expect(0);
}

fn depends(aci: Aci, on: &[&str]) -> Aci {
    let list: Vec<_> = on.iter().map(|name| json!({"imageName": name})).collect();
    aci.field("dependencies", json!(list))
}

#[test]
fn dependencies_are_fetched_once_and_circles_refused() {
    let (rkt, mut internet) = (Rkt::new(), Internet::new());
    let image = |name: &str, on: &[&str]| {
        let name = format!("deps.test/{name}");
        let made =
            app(&name, "latest").file(&format!("/from-{}", name.replace('/', "-")), 0o644, "x");
        let on: Vec<String> = on.iter().map(|n| format!("deps.test/{n}")).collect();
        let on: Vec<&str> = on.iter().map(String::as_str).collect();
        (name.clone(), bytes(&rkt, &depends(made, &on)))
    };
    let images = [
        image("top", &["left", "right"]),
        image("left", &["base"]),
        image("right", &["base"]),
        image("base", &[]),
        image("one", &["two"]),
        image("two", &["one"]),
        image("lost", &["nowhere"]),
    ];
    internet.host("deps.test", move |request| {
        if request.path.contains("ac-discovery=1") {
            return Reply::ok(page("deps.test"));
        }
        let wanted = images
            .iter()
            .find(|(name, _)| request.path.contains(&format!("/{name}-")));
        wanted.map_or(Reply::status(404), |(_, bytes)| Reply::ok(bytes.clone()))
    });
    let fetch = |name: &str| {
        inside(
            &internet,
            &rkt,
            &["--insecure-options=image", "fetch", name],
        )
    };
    fetch("deps.test/top").expect(0);
    let asked = internet.asked("deps.test");
    let of = |name: &str| {
        asked
            .iter()
            .filter(|r| r.path.contains(&format!("{name}-latest")))
            .count()
    };
    assert_eq!(
        [of("top"), of("left"), of("right"), of("base")],
        [1, 1, 1, 1]
    );
    let out = rkt.path("rendered");
    rkt.ok(&["image", "render", "deps.test/top", out.to_str().unwrap()]);
    for name in ["top", "left", "right", "base"] {
        assert!(
            out.join(format!("rootfs/from-deps.test-{name}")).exists(),
            "{name}"
        );
    }
    fetch("deps.test/one").refused(&["circle"]);
    fetch("deps.test/lost").refused(&["deps.test/nowhere", "depends on"]);
}

#[test]
fn a_stage1_comes_from_a_url_or_by_name() {
    let (rkt, mut internet) = (Rkt::new(), Internet::new());
    let id = rkt.fetch(&fixtures::busybox());
    rkt.run(&["run", "--net=none", &id]).expect(0);
    let all = rkt.ok(&["image", "list", "--full", "--no-legend", "--fields=id,name"]);
    let line = all.lines().find(|l| l.contains("stage1")).unwrap();
    let mut words = line.split_whitespace();
    let (stage1, name) = (words.next().unwrap(), words.next().unwrap());
    let file = rkt.path("stage1.aci");
    rkt.ok(&["image", "export", stage1, file.to_str().unwrap()]);
    let host = name.split('/').next().unwrap().to_owned();
    let image = fs::read(&file).unwrap();
    let prefix = host.clone();
    internet.host(&host, move |request| {
        match request.path.contains("ac-discovery") {
            true => Reply::ok(page(&prefix)),
            false => Reply::ok(image.clone()),
        }
    });
    let url = format!("--stage1-url=https://{host}/stage1.aci");
    for choice in [url, format!("--stage1-name={name}")] {
        let rkt = Rkt::new();
        let id = rkt.fetch(&fixtures::busybox());
        let args = ["run", "--net=none", &choice, &id];
        let output = Running::start(internet.inside(&rkt.command(&args)))
            .finish()
            .expect(0);
        assert!(
            output.stdout.contains("hello from busybox"),
            "{}",
            output.all()
        );
        rkt.gc();
    }
}
