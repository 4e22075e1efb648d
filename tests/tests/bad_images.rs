//! Images that are damaged or mean harm: refused with a reason, and nothing stays behind.

use std::fs;
use std::path::Path;

use e2e::{Aci, Compression, Rkt, fixtures};
use serde_json::json;

/// Fetching must fail with these words in the message, and the store must be as before.
#[track_caller]
fn refused(rkt: &Rkt, path: &Path, words: &[&str]) {
    rkt.run(&["fetch", path.to_str().unwrap()]).refused(words);
    let images = rkt.ok(&["image", "list", "--no-legend"]);
    assert_eq!(images, "", "an image is listed");
    for dir in [
        "cas/tmp",
        "cas/building",
        "cas/blob",
        "tmp",
        "cas/tree",
        "cas/imageManifest",
    ] {
        let left = files_below(&rkt.data().join(dir));
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

fn files_below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[track_caller]
fn refuse(aci: &Aci, words: &[&str]) {
    let rkt = Rkt::new();
    let path = rkt.path("bad.aci");
    aci.write(&path, Compression::None).unwrap();
    refused(&rkt, &path, words);
}

#[test]
fn no_file_and_no_image() {
    let rkt = Rkt::new();
    refused(&rkt, &rkt.path("absent.aci"), &["absent.aci"]);
    let text = rkt.path("text.aci");
    fs::write(&text, "this is not an archive at all\n".repeat(100)).unwrap();
    refused(&rkt, &text, &["text.aci"]);
    fs::write(&text, "").unwrap();
    refused(&rkt, &text, &["text.aci"]);
    refused(&rkt, Path::new("/var/tmp"), &["/var/tmp"]);
}

#[test]
fn truncated_at_any_place() {
    let rkt = Rkt::new();
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Xz,
        Compression::Zstd,
        Compression::Bzip2,
    ] {
        let whole = rkt.path("whole.aci");
        fixtures::busybox().write(&whole, compression).unwrap();
        let bytes = fs::read(&whole).unwrap();
        for part in [1, 10, 500, 999] {
            let cut = rkt.path("cut.aci");
            fs::write(&cut, &bytes[..bytes.len() * part / 1000]).unwrap();
            let output = rkt.run(&["fetch", cut.to_str().unwrap()]);
            // The zeros at a tar's end may be missing: GNU tar takes that too.
            if !(compression == Compression::None && part == 999 && output.code == 0) {
                refused(&rkt, &cut, &["cut.aci"]);
            }
        }
    }
}

#[test]
fn corrupt_compressed_bytes() {
    let rkt = Rkt::new();
    for compression in [
        Compression::Gzip,
        Compression::Xz,
        Compression::Zstd,
        Compression::Bzip2,
    ] {
        let path = rkt.path("corrupt.aci");
        fixtures::busybox().write(&path, compression).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        for byte in &mut bytes[middle..middle + 64] {
            *byte ^= 0x55;
        }
        fs::write(&path, bytes).unwrap();
        refused(&rkt, &path, &["corrupt.aci"]);
    }
}

#[test]
fn manifests_that_are_none() {
    refuse(
        &fixtures::probe().raw_manifest(b"{ this is not json"),
        &["manifest"],
    );
    refuse(&fixtures::probe().raw_manifest(b""), &["manifest"]);
    refuse(&fixtures::probe().raw_manifest(b"[]"), &["manifest"]);
    refuse(&fixtures::probe().raw_manifest(&[0xff; 100]), &["manifest"]);
    refuse(
        &fixtures::probe().raw_manifest("[".repeat(100_000).as_bytes()),
        &["manifest"],
    );
}

#[test]
fn manifests_with_wrong_contents_name_the_field() {
    refuse(
        &fixtures::probe().field("acKind", json!("PodManifest")),
        &["acKind"],
    );
    refuse(
        &fixtures::probe().field("acVersion", json!("new")),
        &["acVersion"],
    );
    refuse(
        &fixtures::probe().field("name", json!("Not A Name")),
        &["name"],
    );
    refuse(
        &fixtures::probe().field("labels", json!("none")),
        &["labels"],
    );
    refuse(&fixtures::probe().app("exec", json!("/probe")), &["exec"]);
    refuse(
        &fixtures::probe().app("workingDirectory", json!("relative")),
        &["workingDirectory"],
    );
    refuse(
        &fixtures::probe().mount_point("a", "relative"),
        &["mountPoints"],
    );
}

#[test]
fn an_image_without_a_manifest_or_a_root() {
    let rkt = Rkt::new();
    let dir = rkt.path("layout");
    fs::create_dir_all(dir.join("rootfs")).unwrap();
    fs::write(
        dir.join("manifest"),
        fixtures::probe().manifest().to_string(),
    )
    .unwrap();
    for (only, words) in [("rootfs", ["manifest"]), ("manifest", ["rootfs"])] {
        let path = rkt.path("part.aci");
        let mut tar = std::process::Command::new("tar");
        assert!(
            tar.arg("-C")
                .arg(&dir)
                .arg("-cf")
                .arg(&path)
                .arg(only)
                .status()
                .unwrap()
                .success()
        );
        refused(&rkt, &path, &words);
    }
}

/// Everything that tries to leave the root, either refused or kept inside.
#[test]
fn entries_that_try_to_escape() {
    let outside = e2e::TempDir::new();
    let target = outside.join("victim");
    fs::write(&target, "untouched").unwrap();
    let victim = target.to_str().unwrap();
    let up = format!("rootfs/../../../../../../..{victim}");
    let hostile = [
        fixtures::probe().raw_file(victim, b"absolute"),
        fixtures::probe().raw_file(&up, b"dots"),
        fixtures::probe()
            .raw_link("rootfs/out", outside.path().to_str().unwrap(), false)
            .raw_file("rootfs/out/victim", b"x"),
        fixtures::probe()
            .raw_link("rootfs/hard", victim, true)
            .raw_file("rootfs/hard", b"through a hard link"),
        fixtures::probe()
            .raw_link("rootfs/up", "../../../../../../../../..", false)
            .raw_file(&format!("rootfs/up{victim}"), b"x"),
        fixtures::probe()
            .raw_link("rootfs", "/", false)
            .raw_file(&format!("rootfs{victim}"), b"root is a link"),
        fixtures::probe()
            .raw_link("rootfs/a", "/", false)
            .raw_link("rootfs/b", &format!("rootfs/a{victim}"), true)
            .raw_file("rootfs/b", b"x"),
    ];
    for (number, aci) in hostile.iter().enumerate() {
        let rkt = Rkt::new();
        let path = rkt.path("hostile.aci");
        aci.write(&path, Compression::None).unwrap();
        let fetched = rkt.run(&["fetch", path.to_str().unwrap()]);
        if fetched.code == 0 {
            rkt.run(&[
                "image",
                "extract",
                "example.com/probe",
                rkt.path("out").to_str().unwrap(),
            ]);
            rkt.run(&[
                "run",
                "--net=none",
                "example.com/probe",
                "--exec=/probe",
                "--",
                "true",
            ]);
        } else {
            fetched.refused(&[]);
        }
        assert_eq!(
            fs::read_to_string(&target).unwrap(),
            "untouched",
            "case {number}"
        );
        assert_eq!(
            fs::read_dir(outside.path()).unwrap().count(),
            1,
            "case {number}"
        );
        rkt.assert_clean();
    }
}

/// A header that claims more than there is, in several sizes.
#[test]
fn sizes_that_lie() {
    let rkt = Rkt::new();
    let path = rkt.path("lies.aci");
    fixtures::probe().write(&path, Compression::None).unwrap();
    let good = fs::read(&path).unwrap();
    // The manifest is the first entry: its size field lies at 124, twelve octal digits.
    for size in ["77777777777", "00000000000", "-0000000001", "zzzzzzzzzzz"] {
        let mut bytes = good.clone();
        bytes[124..135].copy_from_slice(size.as_bytes());
        let sum: u32 = bytes[..512]
            .iter()
            .enumerate()
            .map(|(i, byte)| {
                if (148..156).contains(&i) {
                    32
                } else {
                    u32::from(*byte)
                }
            })
            .sum();
        bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        fs::write(&path, bytes).unwrap();
        refused(&rkt, &path, &["lies.aci"]);
    }
}

/// A bomb: a gigabyte of zeros in a megabyte; within the limits it may be taken, but must
/// not take memory in proportion. With a small disk it is refused; see `faults`.
#[test]
fn an_oversized_manifest() {
    let huge = format!("{{\"x\": \"{}\"}}", "a".repeat(20 << 20));
    refuse(
        &fixtures::probe().raw_manifest(huge.as_bytes()),
        &["manifest"],
    );
}
