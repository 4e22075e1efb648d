//! How layers of an image come together, and that images share them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use e2e::oci::{Layer, OciImage, sha256};
use e2e::{Compression, Rkt};

use super::oci::{layout, run_lines, script};

/// Layers whose order, whiteouts and forgotten directories all matter.
pub(super) fn intricate() -> OciImage {
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

pub(super) const INTRICATE: [&str; 18] = [
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

pub(super) fn without_pod_files(lines: Vec<String>) -> Vec<String> {
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

pub(super) fn files_below(dir: &std::path::Path) -> Vec<String> {
    let output = Command::new("find").arg(dir).args(["-type", "f"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Bytes of the store on disk.
pub(super) fn used(rkt: &Rkt) -> u64 {
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
