//! Bad input is refused for the right reason and leaves nothing behind.

mod common;

use common::{Header, Tar, leftovers};
use store::{Error, ImportOptions, Limits, Store};

/// Imports with and without rendering; returns the message.
#[track_caller]
fn refused(what: &str, bytes: &[u8]) -> String {
    refused_with(what, bytes, Limits::default())
}

#[track_caller]
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn refused_with(what: &str, bytes: &[u8], limits: Limits) -> String {
    let mut message = String::new();
    for render in [false, true] {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path());
        let options = ImportOptions {
            render,
            limits: limits.clone(),
            ..ImportOptions::default()
        };
        match store.import(bytes, &options) {
            Ok(_) if !render => continue,
            Ok(_) => panic!("{what} was accepted"),
            Err(error) => message = error.to_string(),
        }
        assert_eq!(leftovers(data.path()), [""; 0], "{what}");
        assert_eq!(store.list().unwrap(), [], "{what}");
    }
    message
}

fn aci() -> Tar {
    Tar::aci("example.com/bad", "")
}

#[test]
fn what_is_no_image_is_refused() {
    assert!(refused("nothing", b"").contains("empty"));
    assert!(refused("text", b"hello").contains("neither a tar archive nor compressed"));
    assert!(refused("zeros", &[0; 4096]).contains("neither"));
    let no_manifest = Tar::default().directory("rootfs").end();
    assert!(refused("no manifest", &no_manifest).contains("no manifest"));
    let no_rootfs = Tar::default()
        .file("manifest", &common::manifest("a.b/c", ""))
        .end();
    assert!(refused("no rootfs", &no_rootfs).contains("no rootfs"));
    let two = aci().file("manifest", &common::manifest("a.b/c", "")).end();
    assert!(refused("two manifests", &two).contains("two manifests"));
    let beside = aci().file("other", b"").end();
    assert!(refused("a file beside", &beside).contains("nothing beside"));
}

#[test]
fn manifests_are_checked_while_they_are_read() {
    let with = |manifest: &[u8]| {
        Tar::default()
            .file("manifest", manifest)
            .directory("rootfs")
            .end()
    };
    assert!(refused("no JSON", &with(b"{")).contains("not valid JSON"));
    assert!(
        refused(
            "wrong kind",
            &with(br#"{"acKind":"PodManifest","acVersion":"0.8.11","name":"a"}"#)
        )
        .contains("acKind")
    );
    assert!(
        refused(
            "wrong type",
            &with(br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":7}"#)
        )
        .contains("name")
    );
    let large = vec![b' '; appc::MAX_MANIFEST + 1];
    assert!(refused("large", &with(&large)).contains("bytes of manifest"));
    let link = Tar::default()
        .symlink("manifest", "/etc/passwd")
        .directory("rootfs")
        .end();
    assert!(refused("a link", &link).contains("not a plain file"));
    let root = Tar::default()
        .file("manifest", &common::manifest("a", ""))
        .symlink("rootfs", "/etc")
        .end();
    assert!(refused("rootfs a link", &root).contains("not a directory"));
}

#[test]
fn truncated_archives_are_refused_wherever_they_end() {
    let whole = aci().file("rootfs/file", &[7; 3000]).end();
    for end in [512, 700, 1024, 1500, 2048, 2600, whole.len() - 1024] {
        let message = refused("truncated", &whole[..end]);
        assert!(message.contains("truncated"), "{end}: {message}");
    }
}

#[test]
fn names_stay_inside() {
    for name in [
        "/rootfs/x",
        "rootfs/../../x",
        "../x",
        "rootfs/a/../../../x",
        "..",
    ] {
        let message = refused(name, &aci().file(name, b"x").end());
        assert!(
            message.contains("absolute") || message.contains("\"..\""),
            "{name}: {message}"
        );
    }
    let message = refused(
        "hard link out",
        &aci().hard_link("rootfs/x", "/etc/passwd").end(),
    );
    assert!(message.contains("absolute"), "{message}");
    let message = refused(
        "hard link up",
        &aci()
            .hard_link("rootfs/x", "rootfs/../../../etc/passwd")
            .end(),
    );
    assert!(message.contains("\"..\""), "{message}");
    let message = refused(
        "hard link beside",
        &aci().hard_link("rootfs/x", "manifest").end(),
    );
    assert!(message.contains("outside rootfs"), "{message}");
    refused(
        "hard link to nothing",
        &aci().hard_link("rootfs/x", "rootfs/y").end(),
    );
    refused(
        "hard link to a directory",
        &aci()
            .directory("rootfs/d")
            .hard_link("rootfs/x", "rootfs/d")
            .end(),
    );
    let nul = aci().pax(&[("path", b"rootfs/a\0b")]).file("x", b"").end();
    assert!(refused("NUL", &nul).contains("NUL"));
    let long = aci()
        .pax(&[("path", format!("rootfs/{}", "n".repeat(300)).as_bytes())])
        .file("x", b"")
        .end();
    assert!(refused("long name", &long).contains("255 bytes"));
    let deep = aci()
        .pax(&[("path", format!("rootfs/{}", "d/".repeat(5000)).as_bytes())])
        .file("x", b"")
        .end();
    assert!(refused("deep", &deep).contains("4095 bytes"));
}

#[test]
fn links_lead_nowhere_outside() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    // As a process in the image would see it: the absolute target is below rootfs.
    let archives = [
        aci()
            .symlink("rootfs/link", target)
            .file("rootfs/link/evil", b"x")
            .end(),
        aci()
            .symlink("rootfs/link", "../../../../../../../../../../../../tmp")
            .file("rootfs/link/evil", b"x")
            .end(),
        aci()
            .symlink("rootfs/link", target)
            .hard_link("rootfs/copy", "rootfs/link/evil")
            .end(),
        aci()
            .symlink("rootfs/a", "b")
            .symlink("rootfs/b", "a")
            .file("rootfs/a/evil", b"x")
            .end(),
        aci()
            .symlink("rootfs/self", "/proc/self/root")
            .file("rootfs/self/evil", b"x")
            .end(),
        aci()
            .symlink("rootfs/f", &format!("{target}/evil"))
            .file("rootfs/f", b"x")
            .end(),
    ];
    for bytes in archives {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path());
        let options = ImportOptions {
            render: true,
            ..ImportOptions::default()
        };
        let _ = store.import(&bytes[..], &options);
        assert_eq!(common::files(outside.path()), [""; 0]);
        assert!(
            !std::path::Path::new("/tmp/evil").exists() && !std::path::Path::new("/evil").exists()
        );
    }
}

#[test]
fn limits_hold() {
    let mut many = aci();
    for i in 0..50 {
        many.file(&format!("rootfs/{i}"), b"");
    }
    let limits = Limits {
        entries: 20,
        ..Limits::default()
    };
    assert!(refused_with("entries", &many.end(), limits).contains("more than 20 entries"));
    let limits = Limits {
        bytes: 10_000,
        ..Limits::default()
    };
    assert!(refused_with("bytes", &many.end(), limits).contains("more than 10000 bytes"));
    let mut huge = aci();
    huge.header(Header::new(b'0', "rootfs/huge").size((1 << 33) - 1));
    assert!(refused("huge", &huge.end()).contains("truncated"));
    let mut endless = aci();
    endless.header(Header::new(b'0', "rootfs/huge").put(
        124,
        &[0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255],
    ));
    assert!(refused("endless", &endless.end()).contains("bytes in one file"));
    let mut negative = aci();
    negative.header(Header::new(b'0', "rootfs/neg").put(124, &[0xff; 12]));
    assert!(refused("negative", &negative.end()).contains("size"));
    let mut records = aci();
    records
        .header(Header::new(b'x', "pax").size(2 << 20))
        .data(&vec![b'1'; 2 << 20]);
    assert!(refused("records", &records.end()).contains("extensions"));
    let mut name = aci();
    name.header(Header::new(b'L', "long").size(1 << 30));
    assert!(refused("long name", &name.end()).contains("extensions"));
    let sparse = aci()
        .pax(&[
            ("GNU.sparse.map", b"0,1"),
            ("GNU.sparse.size", b"9223372036854775807"),
        ])
        .file("rootfs/sparse", b"x")
        .end();
    assert!(refused("sparse", &sparse).contains("bytes in one file"));
    for map in ["5,1,2,1", "0,3", "100,1", "x", "1"] {
        let sparse = aci()
            .pax(&[
                ("GNU.sparse.map", map.as_bytes()),
                ("GNU.sparse.size", b"10"),
            ])
            .file("rootfs/sparse", b"xy")
            .end();
        let message = refused(map, &sparse);
        assert!(
            message.contains("sparse") || message.contains("damaged"),
            "{map}: {message}"
        );
    }
}

#[test]
fn compression_bombs_are_refused() {
    let mut bomb = zeros_in_gzip();
    bomb.extend([0; 4]);
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let options = ImportOptions {
        limits: Limits {
            bytes: 64 << 20,
            ..Limits::default()
        },
        ..ImportOptions::default()
    };
    let error = store.import(&bomb[..], &options).unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { .. } | Error::Truncated { .. }),
        "{error}"
    );
    assert_eq!(leftovers(data.path()), [""; 0]);
}

/// A gzip of an archive whose one file is a gigabyte of zeros, made by the real program.
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn zeros_in_gzip() -> Vec<u8> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut head = aci();
    head.header(Header::new(b'0', "rootfs/zeros").size(1 << 30));
    let mut child = Command::new("gzip")
        .arg("-c1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let feed = std::thread::spawn(move || {
        input.write_all(&head.0).unwrap();
        for _ in 0..80 {
            input.write_all(&vec![0; 1 << 20]).unwrap();
        }
    });
    let output = child.wait_with_output().unwrap().stdout;
    feed.join().unwrap();
    output
}

/// A fixed generator: the same damage in every run.
struct Random(u64);

impl Random {
    #[allow(clippy::unwrap_used, reason = "a helper of tests")]
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

#[test]
fn damaged_archives_never_do_more_than_fail() {
    let original = aci()
        .directory("rootfs/d")
        .file("rootfs/d/file", &[1; 700])
        .hard_link("rootfs/hard", "rootfs/d/file")
        .symlink("rootfs/soft", "d/file")
        .pax(&[
            ("path", b"rootfs/pax"),
            ("mtime", b"12.5"),
            ("SCHILY.xattr.user.a", b"b"),
        ])
        .file("x", b"pax")
        .pax(&[("GNU.sparse.map", b"0,2,5,1"), ("GNU.sparse.size", b"10")])
        .file("rootfs/sparse", b"xyz")
        .end();
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let options = ImportOptions {
        render: true,
        ..ImportOptions::default()
    };
    let mut random = Random(0x5eed);
    let mut accepted = 0;
    for _ in 0..400 {
        let mut bytes = original.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = u8::try_from(random.below(256)).unwrap();
        }
        // With sums made right again, the damage gets past the first check.
        for block in bytes.as_chunks_mut::<512>().0 {
            if &block[257..262] == b"ustar" {
                let mut header = Header { block: *block };
                *block = header.finish();
            }
        }
        if random.below(10) == 0 {
            bytes.truncate(random.below(original.len()));
        }
        if store.import(&bytes[..], &options).is_ok() {
            accepted += 1;
        }
        let temporary = data.path().join("cas/tmp").read_dir().unwrap().count();
        assert_eq!(temporary, 0);
    }
    assert!(accepted > 0);
    for image in store.list().unwrap() {
        assert_eq!(store.verify(&image.id).unwrap(), store::Verified::Intact);
    }
}
