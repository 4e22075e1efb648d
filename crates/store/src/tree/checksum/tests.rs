//! What is remembered of a tree while it is written gives the checksum that a walk over it gives.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{Mode, XattrFlags, setxattr};
use tempfile::TempDir;

use super::measure;
use crate::Limits;
use crate::extract::{Digests, Extractor};
use crate::oci::write_plain;
use crate::tar::Archive;
use crate::tree::open_root;

#[path = "../../../tests/common/mod.rs"]
mod common;
use common::{Header, Tar};

fn temp() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn add(extractor: &mut Extractor, tar: &Tar) {
    let limits = Limits::default();
    let bytes = tar.end();
    write_plain(&mut Archive::new(bytes.as_slice(), &limits), extractor).unwrap();
}

/// Writes a layer with some whiteouts, and compares.
fn same(root: &Path, tars: &[Tar]) -> Digests {
    let mut extractor = Extractor::of_layer(open_root(root).unwrap(), &Limits::default());
    for tar in tars {
        extractor.whiteout(b".wh.gone", b"in/gone").unwrap();
        extractor.opaque(b".wh..wh..opq", b"nothing/below").unwrap();
        add(&mut extractor, tar);
    }
    compare(root, extractor)
}

fn compare(root: &Path, extractor: Extractor) -> Digests {
    let known = extractor.finish().unwrap();
    let remembered = measure(root, &known).unwrap();
    let walked = measure(root, &Digests::new()).unwrap();
    assert_eq!(remembered.checksum, walked.checksum);
    assert_eq!(remembered.size, walked.size);
    known
}

/// Everything that a layer can hold, and what it can do to what it has written before.
fn odd() -> Tar {
    let mut tar = Tar::default();
    tar.header(Header::new(b'5', "in").mode(0o2775).owner(0, 50))
        .file("in/plain", b"plain")
        .file("in/empty", b"")
        .file("in/large", &vec![7; 700 << 10])
        .file("no/entry/for/these", b"deep")
        .symlink("link", "in")
        .file("link/through", b"through a link")
        .symlink("dangling", "/nowhere");
    for (number, mode) in [0o4755, 0o6755, 0o2755, 0o1644, 0o666, 0o777, 0, 0o7000]
        .into_iter()
        .enumerate()
    {
        // What only root can read, only root can walk over.
        if mode & 0o400 == 0 && !rustix::process::geteuid().is_root() {
            continue;
        }
        for (owner, group) in [(0, 0), (0, 50), (1000, 1000)] {
            let name = format!("in/mode-{number}-{owner}-{group}");
            tar.header(
                Header::new(b'0', &name)
                    .mode(mode)
                    .owner(owner, group)
                    .size(3),
            )
            .data(b"abc");
        }
    }
    for (name, records) in [
        ("user", &[("SCHILY.xattr.user.note", &b"text"[..])][..]),
        (
            "acl",
            &[("SCHILY.acl.access", b"u::rwx,u:7:r-x,g::r-x,o::---")],
        ),
        (
            "capability",
            &[(
                "SCHILY.xattr.security.capability",
                b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            )],
        ),
        ("past", &[("mtime", b"-1234.5")]),
        ("fine", &[("mtime", b"1234567890.123456789")]),
        ("future", &[("mtime", b"20000000000.5")]),
        (
            "sparse",
            &[("GNU.sparse.map", b"0,2,5,1"), ("GNU.sparse.size", b"10")],
        ),
    ] {
        tar.pax(records)
            .header(Header::new(b'0', &format!("in/{name}")).size(3))
            .data(b"abc");
    }
    tar.pax(&[("SCHILY.acl.default", b"u::rwx,g::---,o::---")])
        .directory("closed")
        .file("closed/file", b"in it");
    let mut foreign = Header::new(b'0', "");
    tar.header(foreign.put(0, b"in/\xff\xfe\n").size(2))
        .data(b"xx");
    tar.header(&mut Header::new(b'6', "in/fifo"));
    tar.header(
        Header::new(b'3', "in/null")
            .number(329, 8, 1)
            .number(337, 8, 3),
    );
    tar.header(
        Header::new(b'4', "in/block")
            .number(329, 8, 7)
            .number(337, 8, 0),
    );
    tar.hard_link("in/second", "in/plain")
        .hard_link("third", "in/second")
        .hard_link("in/null-too", "in/null")
        .hard_link("setuid", "in/mode-0-0-0");
    tar
}

/// Inodes whose numbers come again: files that go, and other things in their place.
fn replaced() -> Tar {
    let mut tar = Tar::default();
    for round in 0..3 {
        for number in 0..40 {
            let name = format!("again/{number}");
            match (number + round) % 6 {
                0 => tar.file(&name, format!("{round} {number}").as_bytes()),
                1 => tar.symlink(&name, "somewhere"),
                2 => tar.header(&mut Header::new(b'6', &name)),
                3 => tar
                    .pax(&[("GNU.sparse.map", b"0,2,5,1"), ("GNU.sparse.size", b"10")])
                    .header(Header::new(b'0', &name).size(3))
                    .data(b"abc"),
                4 => tar.directory(&name).file(&format!("{name}/inner"), b"1"),
                _ => tar
                    .header(Header::new(b'0', &name).mode(0o600).size(1))
                    .data(b"x"),
            };
        }
    }
    // The one that stays has a single name in the end.
    tar.file("first", b"of two names")
        .hard_link("other", "first")
        .file("first", b"another one");
    tar
}

#[test]
fn everything_odd() {
    let temp = temp();
    let known = same(temp.path(), &[odd(), replaced(), odd()]);
    let whole = known.values().filter(|known| known.looks.is_some());
    assert!(whole.count() > 40, "nothing was remembered");
}

#[test]
fn where_the_directory_hands_something_on() {
    // Its group, its ACL ("u::rwx,g::r-x,o::---"), both.
    let acl = [
        2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 5, 0, 255, 255, 255, 255, 32, 0, 0, 0,
        255, 255, 255, 255,
    ];
    for (group, closed) in [(true, false), (false, true), (true, true)] {
        let temp = temp();
        let root = temp.path();
        if group && chown(root, None, Some(50)).is_ok() {
            fs::set_permissions(root, Permissions::from_mode(0o2755)).unwrap();
        }
        // Not every file system has them.
        let _ =
            closed.then(|| setxattr(root, "system.posix_acl_default", &acl, XattrFlags::empty()));
        let mut tar = odd();
        tar.file("top", b"right below");
        same(root, &[tar, replaced()]);
        let top = fs::metadata(root.join("top")).unwrap();
        assert_eq!(top.mode() & 0o7777, 0o644);
        if rustix::process::geteuid().is_root() {
            assert_eq!((top.uid(), top.gid()), (0, 0));
        }
    }
}

#[test]
fn whatever_the_mask() {
    for mask in [0, 0o27, 0o777] {
        let temp = temp();
        let before = rustix::process::umask(Mode::from_raw_mode(mask));
        let known = same(temp.path(), &[odd()]);
        rustix::process::umask(before);
        assert!(!known.is_empty());
        let mode = |name: &str| fs::metadata(temp.path().join(name)).unwrap().mode() & 0o7777;
        assert_eq!(mode("in/plain"), 0o644);
        assert_eq!(mode("in/mode-4-0-0"), 0o666);
        assert_eq!(mode("in/mode-1-0-0"), 0o6755);
    }
}
