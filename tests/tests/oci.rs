//! OCI images on disk: image layouts, archives, what `docker save` writes; and how their layers
//! come together.

use std::fs;
use std::process::Command;

use e2e::Rkt;
use e2e::oci::{Layer, Layout, MANIFEST, OciImage, sha256};
use serde_json::json;

use super::oci_layers::{INTRICATE, files_below, intricate, without_pod_files};

/// Busybox and some of its names.
pub(crate) fn busybox() -> Layer {
    let program = fs::read("/bin/busybox").unwrap();
    let names = [
        "sh", "ls", "cat", "stat", "id", "pwd", "find", "echo", "env",
    ];
    let layer = Layer::new()
        .dir("bin", 0o755)
        .file("bin/busybox", 0o755, program);
    names
        .iter()
        .fold(layer, |l, n| l.symlink(&format!("bin/{n}"), "busybox"))
}

/// An image that runs this script, with busybox below its layers.
pub(crate) fn script(script: &str, layers: &[Layer]) -> OciImage {
    let config = json!({"Entrypoint": ["/bin/sh", "-c"], "Cmd": [script]});
    OciImage::new(config, &[&[busybox()], layers].concat())
}

pub(super) fn layout(rkt: &Rkt) -> Layout {
    Layout::new(rkt.path("layout"))
}

pub(super) fn run_lines(rkt: &Rkt, image: &str, flags: &[&str]) -> Vec<String> {
    let output = rkt
        .run(&[&["run", "--net=none"], flags, &[image]].concat())
        .expect(0);
    output.app_lines().iter().map(|l| (*l).to_owned()).collect()
}

#[test]
fn the_configuration_becomes_a_manifest_with_the_originals_names() {
    let rkt = Rkt::new();
    let image = OciImage::probe(&["report"], &[Layer::new().dir("srv", 0o755)])
        .field("Cmd", json!(["one", "two"]))
        .field("Env", json!(["A=1", "B=x=y", "broken"]))
        .field("User", json!("1000:2000"))
        .field("WorkingDir", json!("/srv"))
        .field("ExposedPorts", json!({"80/tcp": {}, "53/udp": {}}))
        .field("Volumes", json!({"/data": {}, "/var/lib/x": {}}))
        .field("Labels", json!({"maintainer": "me"}))
        .field("StopSignal", json!("SIGQUIT"));
    let mut layout = layout(&rkt);
    let published = layout.add(&image, "docker.io/library/thing:1.2");
    let id = rkt.ok(&["fetch", "--full", &layout.reference("")]);
    let manifest = rkt.json(&["image", "cat-manifest", &id]);
    assert_eq!(manifest["name"], "registry-1.docker.io/library/thing");
    let app = &manifest["app"];
    assert_eq!(app["exec"], json!(["/probe", "report", "one", "two"]));
    assert_eq!(
        (&app["user"], &app["group"]),
        (&json!("1000"), &json!("2000"))
    );
    assert_eq!(app["workingDirectory"], "/srv");
    assert_eq!(app["userLabels"], json!({"maintainer": "me"}));
    assert_eq!(
        app["environment"],
        json!([{"name": "A", "value": "1"}, {"name": "B", "value": "x=y"}])
    );
    let names = |list: &serde_json::Value| {
        let list = list.as_array().unwrap().iter();
        list.map(|p| p["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&app["ports"]), ["53-udp", "80-tcp"]);
    assert_eq!(
        names(&app["mountPoints"]),
        ["volume-data", "volume-var-lib-x"]
    );
    let annotation = |name: &str| {
        let all = manifest["annotations"].as_array().unwrap();
        let found = all.iter().find(|a| a["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}"))["value"].clone()
    };
    assert_eq!(
        annotation("appc.io/docker/registryurl"),
        "registry-1.docker.io"
    );
    assert_eq!(annotation("appc.io/docker/repository"), "library/thing");
    assert_eq!(annotation("appc.io/docker/tag"), "1.2");
    assert_eq!(
        annotation("appc.io/docker/imageid"),
        sha256(&published.config)
    );
    assert_eq!(
        annotation("appc.io/docker/manifesthash"),
        sha256(&published.manifest)
    );
    assert_eq!(
        annotation("appc.io/docker/entrypoint"),
        r#"["/probe","report"]"#
    );
    assert_eq!(annotation("appc.io/docker/cmd"), r#"["one","two"]"#);
    assert_eq!(
        annotation("appc.io/docker/originalname"),
        layout.reference("")
    );
    assert_eq!(annotation("appc.io/docker/stopsignal"), "SIGQUIT");
    assert_eq!(annotation("created"), "2024-05-01T12:00:00Z");
    let label = |name: &str| {
        let all = manifest["labels"].as_array().unwrap();
        all.iter().find(|l| l["name"] == name).unwrap()["value"].clone()
    };
    assert_eq!(
        (label("version"), label("os")),
        (json!("1.2"), json!("linux"))
    );
    let output = rkt.run(&["run", "--net=none", &id]).expect(0);
    let report = output.report();
    assert_eq!(report["args"], app["exec"]);
    assert_eq!(report["cwd"], "/srv");
    assert_eq!(report["env"]["B"], "x=y");
    assert!(
        report["status"]["Uid"]
            .as_str()
            .unwrap()
            .starts_with("1000")
    );
    assert!(
        report["status"]["Gid"]
            .as_str()
            .unwrap()
            .starts_with("2000")
    );
}

#[test]
fn every_way_to_name_an_image_on_disk_works() {
    let rkt = Rkt::new();
    let mut layout = layout(&rkt);
    let published = layout.add(&script("echo one", &[]), "one");
    layout.add(&script("echo two", &[]), "two");
    rkt.run(&["fetch", &layout.reference("")])
        .refused(&["several images", "one", "two"]);
    rkt.run(&["fetch", &layout.reference("three")])
        .refused(&["three", "one", "two"]);
    assert_eq!(run_lines(&rkt, &layout.reference("two"), &[]), ["two"]);
    let one = rkt.ok(&["fetch", "--full", &layout.reference("one")]);
    let digest = sha256(&published.manifest);
    let escaped = layout.path().display().to_string().replace('/', "%2F");
    for name in [
        digest.clone(),
        layout.reference("one"),
        layout.reference(&digest),
        format!("cimd:oci-layout:v=0:{escaped}%3Aone"),
        "layout:one".to_owned(),
        one[..40].to_owned(),
    ] {
        rkt.run(&["image", "cat-manifest", &name]).expect(0);
        assert_eq!(run_lines(&rkt, &name, &[]), ["one"], "{name}");
    }
    let listed = rkt.ok(&["image", "list", "--fields=name,digest", "--no-legend"]);
    assert!(listed.contains(&digest), "{listed}");
    rkt.run(&["image", "rm", &digest]).expect(0);
    rkt.run(&["image", "cat-manifest", &digest])
        .refused(&[&digest]);
    rkt.strict(&["fetch", &layout.reference("one")])
        .refused(&["not signed"]);
}

#[test]
fn archives_hold_the_same_images() {
    let rkt = Rkt::new();
    let mut layout = layout(&rkt);
    layout.add(&script("echo from an archive", &[]), "it");
    let id = rkt.ok(&["fetch", "--full", &layout.reference("it")]);
    let plain = rkt.path("plain.tar");
    let pack = |flags: &str, to: &std::path::Path| {
        let mut tar = Command::new("tar");
        tar.args([flags, to.to_str().unwrap(), "-C"]);
        assert!(tar.arg(layout.path()).arg(".").status().unwrap().success());
    };
    pack("-cf", &plain);
    let packed = rkt.path("packed.tar.gz");
    pack("-czf", &packed);
    for archive in [plain, packed] {
        let name = format!("oci-archive:{}", archive.display());
        assert_eq!(rkt.ok(&["fetch", "--full", &name]), id);
    }
    // What skopeo makes of it for docker load.
    let saved = rkt.path("saved.tar");
    let to = format!("docker-archive:{}:example.com/saved:v1", saved.display());
    skopeo(&["copy", &layout.reference("it"), &to]);
    let name = format!("docker-archive:{}", saved.display());
    assert_eq!(run_lines(&rkt, &name, &[]), ["from an archive"]);
    assert_eq!(
        run_lines(&rkt, "example.com/saved:v1", &[]),
        ["from an archive"]
    );
    rkt.run(&["fetch", &format!("{name}:other/name:v2")])
        .refused(&["other/name:v2", "example.com/saved:v1"]);
    rkt.run(&[
        "fetch",
        &format!("docker-archive:{}", rkt.image(&e2e::fixtures::probe())),
    ])
    .refused(&["manifest.json"]);
}

pub(crate) fn skopeo(args: &[&str]) {
    let output = Command::new("skopeo")
        .arg("--insecure-policy")
        .args(args)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {args:?}: {stderr}");
}

#[test]
fn bad_images_are_refused_and_leave_nothing() {
    let rkt = Rkt::new();
    let mut layout = layout(&rkt);
    let good = script("true", &[]);
    let evil = |layer: Layer| OciImage::new(json!({}), &[layer]);
    let mut cases: Vec<(String, Vec<&str>)> = Vec::new();
    for (name, layer, words) in [
        (
            "up",
            Layer::new().file("../../x", 0o644, "x"),
            vec!["\"..\""],
        ),
        (
            "rootlink",
            Layer::new().hard_link("x", "/"),
            vec!["hard link"],
        ),
        (
            "nowhere",
            Layer::new().file(".wh...", 0o644, ""),
            vec!["whiteout"],
        ),
        (
            "uplink",
            Layer::new().hard_link("x", "../../etc/passwd"),
            vec![".."],
        ),
    ] {
        layout.add(&evil(layer), name);
        cases.push((layout.reference(name), words));
    }
    let foreign = good.clone().for_platform("linux", "s390x");
    let described = foreign.published();
    let list = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": MANIFEST, "digest": sha256(&described.manifest), "size": described.manifest.len(),
        "platform": {"os": "linux", "architecture": "s390x"}}]});
    layout.add_published(&described, "unused");
    layout.document(e2e::oci::INDEX, list.to_string().as_bytes(), "foreign");
    cases.push((
        layout.reference("foreign"),
        vec!["linux/amd64", "linux/s390x"],
    ));
    // A layer that is another one, and a configuration that tells of another.
    let mut wrong = good.published();
    let text = String::from_utf8(wrong.config.clone()).unwrap();
    let diff = sha256(&busybox().tar());
    wrong.config = text.replace(&diff, &sha256(b"other")).into_bytes();
    let manifest = String::from_utf8(wrong.manifest.clone()).unwrap();
    let (old, new) = (sha256(text.as_bytes()), sha256(&wrong.config));
    wrong.manifest = manifest.replace(&old, &new).into_bytes();
    layout.add_published(&wrong, "diff");
    cases.push((layout.reference("diff"), vec!["configuration says"]));
    let other = script("other", &[Layer::new().file("f", 0o644, "f")]);
    let published = layout.add(&other, "damaged");
    let digest = sha256(&published.layers[1]);
    let file = layout.blob_path(&digest);
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 10;
    bytes[last] ^= 0xff;
    fs::write(&file, &bytes).unwrap();
    cases.push((layout.reference("damaged"), vec!["has the digest"]));
    let short = script("short", &[Layer::new().file("s", 0o644, "s")]);
    let published = layout.add(&short, "short");
    let file = layout.blob_path(&sha256(&published.layers[1]));
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 7]).unwrap();
    cases.push((layout.reference("short"), vec!["ends after"]));
    layout.document(
        MANIFEST,
        json!({"schemaVersion": 1, "name": "x"})
            .to_string()
            .as_bytes(),
        "old",
    );
    cases.push((layout.reference("old"), vec!["schema 1"]));
    for (reference, words) in cases {
        rkt.run(&["fetch", &reference]).refused(&words);
        rkt.ok(&["image", "gc", "--grace-period=0s"]);
        let blobs = files_below(&rkt.data().join("cas/blob"));
        assert!(blobs.is_empty(), "{reference}: {blobs:?}");
        for name in ["cas/tree", "cas/building"] {
            let trees = fs::read_dir(rkt.data().join(name)).unwrap();
            assert_eq!(trees.count(), 0, "{reference}");
        }
        assert!(rkt.ok(&["image", "list", "--no-legend"]).is_empty());
    }
    let outside = rkt.path("x");
    assert!(!outside.exists());
}

#[test]
fn exported_images_are_read_by_rkt_and_by_skopeo() {
    let rkt = Rkt::new();
    let mut layout = layout(&rkt);
    layout.add(&intricate(), "docker.io/library/intricate:v1");
    let id = rkt.ok(&["fetch", "--full", &layout.reference("")]);
    let aci = rkt.path("exported.aci");
    rkt.ok(&["image", "export", &id, aci.to_str().unwrap()]);
    let other = Rkt::new();
    let expected: Vec<&str> = INTRICATE.to_vec();
    let lines = run_lines(&other, aci.to_str().unwrap(), &[]);
    assert_eq!(without_pod_files(lines), expected);
    // As an OCI archive the image is what it was.
    let archive = rkt.path("exported.tar");
    let path = archive.to_str().unwrap();
    rkt.ok(&["image", "export", "--format=oci", &id, path]);
    let from = format!("oci-archive:{path}");
    let other = Rkt::new();
    assert_eq!(other.ok(&["fetch", "--full", &from]), id);
    skopeo(&[
        "copy",
        &from,
        &format!("dir:{}", rkt.path("copied").display()),
    ]);
    // An ACI becomes one layer.
    let made = rkt.fetch(&e2e::fixtures::busybox());
    rkt.ok(&[
        "image",
        "export",
        "--format=oci",
        "--overwrite",
        &made,
        path,
    ]);
    skopeo(&[
        "copy",
        &from,
        &format!("dir:{}", rkt.path("made").display()),
    ]);
    let lines = run_lines(&other, &from, &[]);
    assert!(
        lines.iter().any(|l| l.contains("hello from busybox")),
        "{lines:?}"
    );
    rkt.run(&["image", "export", "--format=zip", &id, path])
        .refused(&["zip"]);
}
