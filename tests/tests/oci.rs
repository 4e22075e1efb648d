//! OCI images on disk: image layouts, archives, what `docker save` writes; and how their layers
//! come together.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use e2e::oci::{Layer, Layout, MANIFEST, OciImage, sha256};
use e2e::{Compression, Rkt};
use serde_json::json;

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

fn layout(rkt: &Rkt) -> Layout {
    Layout::new(rkt.path("layout"))
}

fn run_lines(rkt: &Rkt, image: &str, flags: &[&str]) -> Vec<String> {
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

/// Layers whose order, whiteouts and forgotten directories all matter.
fn intricate() -> OciImage {
    let lower = Layer::new()
        .dir("etc", 0o711)
        .file("etc/gone", 0o644, "gone")
        .file("etc/kept", 0o644, "kept")
        .owned_dir("var", 0o750, 7, 8)
        .owned_dir("var/spool", 0o1777, 9, 10)
        .file("var/spool/old", 0o644, "old")
        .dir("covered", 0o755)
        .file("covered/below", 0o644, "below")
        .dir("again", 0o755)
        .file("again/below", 0o644, "below")
        .file("changes", 0o644, "was a file")
        .dir("shrinks", 0o755)
        .file("shrinks/inside", 0o644, "inside")
        .file("target", 0o644, "target");
    let middle = Layer::new()
        .whiteout("etc/gone")
        .whiteout("nothing/there")
        // No entries for var and var/spool: they stay as they are.
        .file("var/spool/new", 0o644, "new")
        .opaque("covered")
        .file("covered/own", 0o644, "own")
        // Taken away and made again in one layer.
        .whiteout("again")
        .file("again/own", 0o644, "own")
        .dir("changes", 0o700)
        .file("changes/now", 0o644, "a directory")
        .file("shrinks", 0o644, "now a file")
        .file("original", 0o644, "linked")
        .hard_link("copy", "original")
        .file("/absolute", 0o644, "absolute");
    let upper =
        Layer::new()
            .compressed(Compression::Zstd)
            .file("var/spool/newest", 0o644, "newest");
    let plain = Layer::new()
        .compressed(Compression::None)
        .file("top", 0o644, "top");
    let show = "cd /; for f in etc/* var/spool/* covered/* again/* changes/* shrinks original copy \
                absolute top target nothing/*; do echo $f $(cat $f 2>/dev/null); done; \
                stat -c '%n %a %u %g' etc var var/spool changes";
    script(show, &[lower, middle, upper, plain])
}

const INTRICATE: [&str; 18] = [
    "etc/kept kept",
    "var/spool/new new",
    "var/spool/newest newest",
    "var/spool/old old",
    "covered/own own",
    "again/own own",
    "changes/now a directory",
    "shrinks now a file",
    "original linked",
    "copy linked",
    "absolute absolute",
    "top top",
    "target target",
    "nothing/*",
    "etc 711 0 0",
    "var 750 7 8",
    "var/spool 1777 9 10",
    "changes 700 0 0",
];

fn without_pod_files(lines: Vec<String>) -> Vec<String> {
    // What the pod itself puts into /etc.
    let own = ["etc/hosts", "etc/resolv.conf", "etc/hostname", "etc/mtab"];
    let keep = |l: &String| !own.iter().any(|o| l.starts_with(o));
    lines.into_iter().filter(keep).collect()
}

#[test]
fn layers_come_together_as_the_specification_says() {
    let rkt = Rkt::new();
    let mut layout = layout(&rkt);
    layout.add(&intricate(), "intricate");
    let id = rkt.ok(&["fetch", "--full", &layout.reference("intricate")]);
    let expected: Vec<&str> = INTRICATE.to_vec();
    // As overlays, and copied.
    assert_eq!(without_pod_files(run_lines(&rkt, &id, &[])), expected);
    let copied = run_lines(&rkt, &id, &["--no-overlay"]);
    assert_eq!(without_pod_files(copied), expected);
    // The layers were laid over each other, not merged.
    let trees = rkt.data().join("cas/tree");
    let names = fs::read_dir(&trees).unwrap().flatten();
    let layers = names.filter(|e| e.file_name().to_string_lossy().starts_with("layer-"));
    assert_eq!(layers.count(), 5);
    let verified = rkt.run(&["image", "verify", &id]).expect(0);
    assert!(verified.stdout.contains("successfully verified checksum"));
    let out = rkt.path("rendered");
    rkt.ok(&["image", "render", &id, out.to_str().unwrap()]);
    let root = out.join("rootfs");
    assert!(!root.join("etc/gone").exists() && !root.join("covered/below").exists());
    assert!(!root.join("again/below").exists() && root.join("again/own").exists());
    assert_eq!(
        fs::metadata(root.join("var/spool")).unwrap().mode() & 0o7777,
        0o1777
    );
}

/// A hard link into a lower layer, a directory nobody spoke of where a lower layer has a link, and
/// an opaque root cannot be laid over anything: such images are written into one tree.
#[test]
fn layers_that_mean_nothing_by_themselves_are_written_together() {
    for (number, (lower, upper, show, expected)) in [
        (
            Layer::new().file("a", 0o644, "shared"),
            Layer::new().hard_link("b", "a"),
            "cat /a /b",
            "sharedshared",
        ),
        (
            Layer::new().dir("usr/lib", 0o755).symlink("lib", "usr/lib"),
            Layer::new().file("lib/x", 0o644, "through the link"),
            "cat /usr/lib/x",
            "through the link",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let rkt = Rkt::new();
        let mut layout = layout(&rkt);
        layout.add(&script(show, &[lower, upper]), "it");
        let reference = layout.reference("it");
        assert_eq!(run_lines(&rkt, &reference, &[]), [expected], "{number}");
        assert_eq!(run_lines(&rkt, &reference, &["--no-overlay"]), [expected]);
        rkt.run(&["image", "verify", &reference]).expect(0);
    }
}

#[test]
fn images_share_what_they_share() {
    let rkt = Rkt::new();
    let mut layout = layout(&rkt);
    let shared = Layer::new().file("shared", 0o644, vec![7; 3 << 20]);
    let shared = shared.compressed(Compression::None);
    layout.add(&script("true", std::slice::from_ref(&shared)), "one");
    let own = Layer::new().file("own", 0o644, "own");
    layout.add(&script("cat /own", &[shared, own]), "two");
    let one = rkt.ok(&["fetch", "--full", &layout.reference("one")]);
    let before = used(&rkt);
    let two = rkt.ok(&["fetch", "--full", &layout.reference("two")]);
    let grown = used(&rkt) - before;
    assert!(grown < 200 << 10, "a second image cost {grown} bytes");
    // What is shared stays as long as one of them does.
    rkt.ok(&["image", "rm", &one]);
    rkt.ok(&["image", "gc", "--grace-period=24h"]);
    assert_eq!(run_lines(&rkt, &two, &[]), ["own"]);
    rkt.gc();
    rkt.ok(&["image", "rm", &two]);
    rkt.ok(&["image", "gc", "--grace-period=0s"]);
    let left: Vec<_> = ["cas/blob", "cas/tree", "cas/tmp", "cas/imageManifest"]
        .iter()
        .flat_map(|dir| files_below(&rkt.data().join(dir)))
        .collect();
    assert!(
        left.iter()
            .all(|f| f.contains("stage1") || !f.contains("sha256")),
        "{left:?}"
    );
}

fn files_below(dir: &std::path::Path) -> Vec<String> {
    let output = Command::new("find").arg(dir).args(["-type", "f"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Bytes of the store on disk.
fn used(rkt: &Rkt) -> u64 {
    let sizes = Command::new("du")
        .args(["-sB1"])
        .arg(rkt.data().join("cas"))
        .output()
        .unwrap();
    let text = String::from_utf8(sizes.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_part_that_was_changed_on_disk_is_found() {
    let rkt = Rkt::new();
    let mut layout = layout(&rkt);
    let published = layout.add(&script("echo fine", &[]), "it");
    let id = rkt.ok(&["fetch", "--full", &layout.reference("it")]);
    let digest = sha256(&published.layers[0]);
    let hex = digest.trim_start_matches("sha256:");
    let blob = rkt
        .data()
        .join(format!("cas/blob/sha256/{}/sha256-{hex}", &hex[..2]));
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    rkt.run(&["image", "verify", &id]).refused(&[&digest]);
    let out = rkt.path("out");
    rkt.run(&["image", "render", &id, out.to_str().unwrap()])
        .refused(&[]);
    assert!(!out.exists());
    // Fetching it again heals it.
    fs::remove_file(&blob).unwrap();
    rkt.ok(&["fetch", &layout.reference("it")]);
    rkt.run(&["image", "verify", &id]).expect(0);
}

#[test]
fn a_lost_index_is_made_again() {
    let rkt = Rkt::new();
    let mut layout = layout(&rkt);
    layout.add(&script("echo here", &[]), "docker.io/library/x:v1");
    let id = rkt.ok(&["fetch", "--full", &layout.reference("")]);
    let before = rkt.ok(&["image", "list", "--full", "--fields=id,name,size"]);
    fs::remove_dir_all(rkt.data().join("cas/db")).unwrap();
    assert_eq!(
        rkt.ok(&["image", "list", "--full", "--fields=id,name,size"]),
        before
    );
    assert_eq!(
        run_lines(&rkt, "registry-1.docker.io/library/x:v1", &[]),
        ["here"]
    );
    assert!(before.contains(&id));
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

#[test]
fn what_a_prepared_pod_needs_stays_even_when_its_image_is_gone() {
    let rkt = Rkt::new();
    let mut layout = layout(&rkt);
    layout.add(&script("echo still here", &[]), "it");
    let id = rkt.ok(&["fetch", "--full", &layout.reference("it")]);
    let uuid = rkt.ok(&["prepare", "--quiet", &id]);
    rkt.ok(&["image", "gc", "--grace-period=0s"]);
    rkt.ok(&["image", "rm", &id]);
    rkt.ok(&["image", "gc", "--grace-period=0s"]);
    let output = rkt.run(&["run-prepared", "--net=none", &uuid]).expect(0);
    assert_eq!(output.app_lines(), ["still here"]);
    rkt.gc();
    rkt.ok(&["image", "gc", "--grace-period=0s"]);
    let trees = fs::read_dir(rkt.data().join("cas/tree")).unwrap();
    assert_eq!(trees.count(), 0);
}

/// A fetch, a run, their removal: the disk has what it had.
#[test]
fn the_disk_is_given_back() {
    let rkt = Rkt::new();
    let mut layout = layout(&rkt);
    layout.add(
        &script("true", &[Layer::new().file("f", 0o644, vec![1; 1 << 20])]),
        "it",
    );
    let cycle = || {
        let id = rkt.ok(&["fetch", "--full", &layout.reference("it")]);
        rkt.run(&["run", "--net=none", &id]).expect(0);
        rkt.gc();
        rkt.ok(&["image", "rm", &id]);
        rkt.ok(&["image", "gc", "--grace-period=0s"]);
        used(&rkt)
    };
    // The first one makes the directories and the index.
    let first = cycle();
    assert_eq!(cycle(), first);
}
