//! What is in an archive is in the tree: data, holes, owners, modes, times, attributes, links.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Header, Tar};
use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};
use store::{ImportOptions, Store, Verified};

/// A store with one image rendered from these bytes, and the tree's root.
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn rendered(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let options = ImportOptions {
        render: true,
        ..ImportOptions::default()
    };
    let id = store.import(bytes, &options).unwrap().id;
    let root = store.tree(&id).unwrap().rootfs();
    assert_eq!(store.verify(&id).unwrap(), Verified::Intact);
    (data, root)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn attribute(path: &Path, name: &str) -> Vec<u8> {
    let mut value = [0; 256];
    let length = lgetxattr(path, name, &mut value[..]).unwrap();
    value[..length].to_vec()
}

/// CAP_NET_RAW permitted and effective, as `setcap cap_net_raw+ep` writes it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn owners_modes_times_and_types() {
    if !is_root() {
        return;
    }
    let mut tar = Tar::aci("example.com/meta", "");
    tar.header(Header::new(b'5', "rootfs/dir").mode(0o1777).owner(5, 6))
        .header(
            Header::new(b'0', "rootfs/dir/suid")
                .mode(0o6755)
                .owner(1000, 2_000_000),
        )
        .header(Header::new(b'6', "rootfs/fifo").mode(0o622))
        .header(
            Header::new(b'3', "rootfs/null")
                .mode(0o666)
                .number(329, 8, 1)
                .number(337, 8, 3),
        )
        .header(
            Header::new(b'2', "rootfs/link")
                .owner(7, 8)
                .link("/dir/suid"),
        )
        .pax(&[("mtime", b"1234567890.123456789"), ("uid", b"3000000")])
        .file("rootfs/pax", b"")
        .pax(&[("mtime", b"-1.5")])
        .file("rootfs/before-1970", b"");
    let (_data, root) = rendered(&tar.end());
    let stat = |name: &str| root.join(name).symlink_metadata().unwrap();
    let (dir, suid, link) = (stat("dir"), stat("dir/suid"), stat("link"));
    assert_eq!((dir.mode() & 0o7777, dir.uid(), dir.gid()), (0o1777, 5, 6));
    assert_eq!(dir.mtime(), 1_400_000_000);
    assert_eq!(suid.mode() & 0o7777, 0o6755);
    assert_eq!((suid.uid(), suid.gid()), (1000, 2_000_000));
    assert_eq!(
        (link.uid(), link.gid(), link.mtime()),
        (7, 8, 1_400_000_000)
    );
    assert!(stat("fifo").file_type().is_fifo());
    assert_eq!(stat("fifo").mode() & 0o777, 0o622);
    assert_eq!(stat("null").rdev(), rustix::fs::makedev(1, 3));
    let pax = stat("pax");
    assert_eq!(
        (pax.mtime(), pax.mtime_nsec()),
        (1_234_567_890, 123_456_789)
    );
    assert_eq!(pax.uid(), 3_000_000);
    let old = stat("before-1970");
    assert_eq!((old.mtime(), old.mtime_nsec()), (-2, 500_000_000));
    assert_eq!(stat("").mtime(), 1_400_000_000);
}

#[test]
fn attributes_and_acls() {
    if !is_root() {
        return;
    }
    let bytes = Tar::aci("example.com/attributes", "")
        .pax(&[
            ("SCHILY.xattr.user.note", b"one\0two"),
            ("SCHILY.xattr.security.capability", &CAPABILITY),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            (
                "SCHILY.acl.access",
                b"user::rw-,user:1000:r--,group::r--,mask::r--,other::---",
            ),
        ])
        .file("rootfs/file", b"x")
        .pax(&[
            (
                "SCHILY.acl.default",
                b"user::rwx\nuser:joe:rwx:1001\ngroup::r-x\nother::---\n",
            ),
            ("SCHILY.acl.access", b"user::rwx\ngroup::r-x\nother::r-x\n"),
        ])
        .directory("rootfs/dir")
        .file("rootfs/dir/inside", b"")
        .end();
    let (_data, root) = rendered(&bytes);
    assert_eq!(attribute(&root.join("file"), "user.note"), b"one\0two");
    assert_eq!(
        attribute(&root.join("file"), "security.capability"),
        CAPABILITY
    );
    assert_eq!(
        attribute(&root.join("file"), "system.posix_acl_access").len(),
        4 + 5 * 8
    );
    assert_eq!(
        attribute(&root.join("dir"), "system.posix_acl_default").len(),
        4 + 5 * 8
    );
    let gone = |path: &Path, name: &str| lgetxattr(path, name, &mut [0; 64][..]).is_err();
    assert!(gone(&root.join("file"), "trusted.overlay.opaque"));
    // The default came after the file, which did not inherit it.
    assert!(gone(&root.join("dir/inside"), "system.posix_acl_access"));
}

#[test]
fn later_entries_replace_earlier_ones() {
    let bytes = Tar::aci("example.com/twice", "")
        .file("rootfs/a", b"first")
        .file("rootfs/a", b"second")
        .directory("rootfs/b")
        .file("rootfs/b/x", b"x")
        .file("rootfs/b", b"a file now")
        .symlink("rootfs/c", "/b")
        .directory("rootfs/c")
        .file("rootfs/c/y", b"y")
        .file("rootfs/implicit/parents/z", b"z")
        .hard_link("rootfs/hard", "rootfs/a")
        .hard_link("rootfs/hard", "rootfs/a")
        .hard_link("rootfs/a", "rootfs/a")
        .end();
    let (_data, root) = rendered(&bytes);
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    assert_eq!(read("a"), "second");
    assert_eq!(read("b"), "a file now");
    assert_eq!(read("c/y"), "y");
    assert_eq!(read("implicit/parents/z"), "z");
    let (a, hard) = (
        root.join("a").metadata().unwrap(),
        root.join("hard").metadata().unwrap(),
    );
    assert_eq!((a.ino(), a.nlink()), (hard.ino(), 2));
}

/// A directory with a bit of everything, packed by GNU tar in each of its formats.
#[test]
fn gnu_tar_in_all_its_formats() {
    let source = tempfile::tempdir().unwrap();
    let top = source.path().join("rootfs");
    fs::create_dir_all(top.join("sub")).unwrap();
    fs::write(
        source.path().join("manifest"),
        common::manifest("example.com/gnu", ""),
    )
    .unwrap();
    fs::write(top.join("plain"), "plain").unwrap();
    fs::hard_link(top.join("plain"), top.join("hard")).unwrap();
    let long = "n".repeat(120);
    fs::write(top.join("sub").join(&long), "long").unwrap();
    std::os::unix::fs::symlink("t".repeat(200), top.join("link")).unwrap();
    fs::write(top.join("ünïcode \n"), "u").unwrap();
    let sparse = fs::File::create(top.join("sparse")).unwrap();
    for piece in 0..40u64 {
        use std::os::unix::fs::FileExt;
        sparse.write_all_at(&[1; 4096], piece * (1 << 20)).unwrap();
    }
    sparse.set_len(50 << 20).unwrap();
    let attributes = lsetxattr(top.join("plain"), "user.a", b"b", XattrFlags::empty()).is_ok();
    let formats: [&[&str]; 6] = [
        &["--format=gnu", "-S"],
        &["--format=gnu"],
        &["--format=posix", "-S", "--sparse-version=0.0"],
        &["--format=posix", "-S", "--sparse-version=0.1"],
        &["--format=posix", "-S", "--sparse-version=1.0"],
        &["--format=posix", "--xattrs", "--xattrs-include=*"],
    ];
    for format in formats {
        let output = Command::new("tar")
            .args(["-C", source.path().to_str().unwrap(), "-c"])
            .args(format)
            .args(["./manifest", "./rootfs"])
            .output()
            .unwrap();
        assert!(output.status.success());
        let (_data, root) = rendered(&output.stdout);
        assert_eq!(fs::read(root.join("sub").join(&long)).unwrap(), b"long");
        assert_eq!(fs::read(root.join("ünïcode \n")).unwrap(), b"u");
        assert_eq!(
            fs::read_link(root.join("link")).unwrap().as_os_str().len(),
            200
        );
        let read = fs::read(root.join("sparse")).unwrap();
        assert!(read == fs::read(top.join("sparse")).unwrap(), "{format:?}");
        let blocks = root.join("sparse").metadata().unwrap().blocks();
        if format.contains(&"-S") {
            assert!(blocks * 512 < 2 << 20, "{format:?} lost the holes");
        }
        assert_eq!(root.join("hard").metadata().unwrap().nlink(), 2);
        if format.contains(&"--xattrs") && attributes {
            assert_eq!(attribute(&root.join("plain"), "user.a"), b"b");
        }
        let (ours, theirs) = (
            root.join("plain").metadata().unwrap(),
            top.join("plain").metadata().unwrap(),
        );
        assert_eq!(ours.mtime(), theirs.mtime());
        if format.contains(&"--format=posix") {
            assert_eq!(ours.mtime_nsec(), theirs.mtime_nsec());
        }
    }
}

#[test]
fn the_umask_changes_nothing() {
    let bytes = Tar::aci("example.com/umask", "")
        .directory("rootfs/d")
        .file("rootfs/d/f", b"f")
        .file("rootfs/implicit/f", b"f")
        .end();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &bytes).unwrap();
    for mask in ["0", "0777", "0277"] {
        let data = tempfile::tempdir().unwrap();
        let status = Command::new("sh")
            .args([
                "-c",
                &format!("umask {mask}; exec \"$0\" --exact with_this_umask"),
            ])
            .arg(std::env::current_exe().unwrap())
            .env("STORE_DATA", data.path())
            .env("STORE_FILE", file.path())
            .output()
            .unwrap();
        assert!(status.status.success(), "{mask}: {status:?}");
        let store = Store::open(data.path());
        let id = store.list().unwrap()[0].id.clone();
        let root = store.tree(&id).unwrap().rootfs();
        let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(root.clone()), 0o755);
        assert_eq!(mode(root.join("d")), 0o755);
        assert_eq!(mode(root.join("d/f")), 0o644);
        assert_eq!(mode(root.join("implicit")), 0o755);
        assert_eq!(mode(data.path().join("cas")), 0o750);
        assert_eq!(mode(data.path().join("cas/db/index.sqlite")), 0o640);
        assert_eq!(mode(store.blob_path(&id).unwrap()), 0o640);
        let out = data.path().join("out");
        store.render_into(&id, &out, false).unwrap();
        assert_eq!(mode(out.join("rootfs/d/f")), 0o644);
    }
}

/// The other process of `the_umask_changes_nothing`.
#[test]
fn with_this_umask() {
    let (Ok(data), Ok(file)) = (std::env::var("STORE_DATA"), std::env::var("STORE_FILE")) else {
        return;
    };
    let options = ImportOptions {
        render: true,
        ..ImportOptions::default()
    };
    let store = Store::open(Path::new(&data));
    store.import_file(Path::new(&file), &options).unwrap();
}

#[test]
fn extracting_one_image_and_refusing_a_full_directory() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let bytes = Tar::aci("example.com/one", "").file("rootfs/f", b"f").end();
    let id = store
        .import(&bytes[..], &ImportOptions::default())
        .unwrap()
        .id;
    let out = data.path().join("out");
    store.extract(&id, &out, false).unwrap();
    assert_eq!(common::files(&out), ["manifest", "rootfs/f"]);
    let error = store.extract(&id, &out, true).unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
    assert_eq!(common::files(&out), ["manifest", "rootfs/f"]);
    let only = data.path().join("only");
    store.extract(&id, &only, true).unwrap();
    assert_eq!(common::files(&only), ["f"]);
}

/// As somebody else: owners and devices are left out, and the store says what it may not do.
#[test]
fn without_root() {
    if !is_root() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = data.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=4321", "--regid=4321", "--clear-groups"])
        .arg(&program)
        .args(["--exact", "as_somebody_else", "--nocapture"])
        .env("STORE_DATA", data.path().join("store"))
        .current_dir("/")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // Root reads and collects what others fetched.
    let store = Store::open(&data.path().join("store"));
    assert_eq!(store.list().unwrap().len(), 1);
}

/// The other process of `without_root`.
#[test]
fn as_somebody_else() {
    let Ok(data) = std::env::var("STORE_DATA") else {
        return;
    };
    if is_root() {
        return;
    }
    let mut tar = Tar::aci("example.com/other", "");
    tar.header(Header::new(b'0', "rootfs/owned").owner(1, 1))
        .header(
            Header::new(b'3', "rootfs/null")
                .number(329, 8, 1)
                .number(337, 8, 3),
        )
        .header(Header::new(b'5', "rootfs/closed").mode(0))
        .file("rootfs/closed/inside", b"x");
    let store = Store::open(Path::new(&data));
    let options = ImportOptions {
        render: true,
        ..ImportOptions::default()
    };
    let id = store.import(&tar.end()[..], &options).unwrap().id;
    let error = store.tree(&id).unwrap_err().to_string();
    assert!(error.contains("only root can render"), "{error}");
    let out = Path::new(&data).join("out");
    store.render_into(&id, &out, true).unwrap();
    assert_eq!(out.join("owned").metadata().unwrap().uid(), 4321);
    assert!(!out.join("null").exists());
    assert_eq!(out.join("closed").metadata().unwrap().mode() & 0o777, 0);
}
