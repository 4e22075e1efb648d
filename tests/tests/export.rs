//! `rkt export`: an app's changes become an image.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{Aci, Rkt, fixtures};

/// What the app does to its root: new, changed, removed and replaced things of every kind.
const CHANGES: &str = "set -e
echo new > /etc/new
rm /etc/group
rm -r /old && mkdir /old && echo fresh > /old/fresh
mkdir -p /data/sub && chmod 1770 /data && touch /data/sub/a
ln /data/sub/a /data/b
ln -s sub/a /data/link
mknod /data/pipe p
touch /data/mine && chown 1000:50 /data/mine && chmod 4711 /data/mine
touch -d '2001-02-03 04:05:06' /etc/passwd";

fn image() -> Aci {
    fixtures::busybox()
        .dir("/old", 0o755)
        .file("/old/stale", 0o644, "stale")
        .symlink("/bin/ln", "busybox")
        .symlink("/bin/mknod", "busybox")
        .symlink("/bin/chmod", "busybox")
        .symlink("/bin/chown", "busybox")
}

/// Runs a script in a new pod to its end, and returns the pod.
fn run(rkt: &Rkt, image: &str, name: &str, script: &str, flags: &[&str]) -> String {
    let file = rkt.path("pod-uuid");
    let save = format!("--uuid-file-save={}", file.display());
    let app = [image, name, "--exec=/bin/sh", "--", "-c", script];
    rkt.run(&[&["run", "--net=none", &save], flags, &app].concat())
        .expect(0);
    fs::read_to_string(file).unwrap()
}

fn export(rkt: &Rkt, uuid: &str, name: &str, flags: &[&str]) -> PathBuf {
    let output = rkt.path(name);
    let place = output.to_str().unwrap();
    rkt.run(&[&["export", uuid, place], flags].concat())
        .expect(0);
    output
}

/// The files of an image file, rendered.
fn rendered(rkt: &Rkt, aci: &Path, name: &str) -> PathBuf {
    let id = rkt.fetch_file(aci);
    let dir = rkt.path(name);
    rkt.ok(&["image", "render", &id, dir.to_str().unwrap()]);
    dir.join("rootfs")
}

/// Names, modes, owners, sizes and times in an image file, as tar reads them. Left out is the top,
/// whose time is the pod's.
fn listing(aci: &Path) -> String {
    let tar = Command::new("tar")
        .args(["--full-time", "--numeric-owner", "-tvf"])
        .arg(aci)
        .output()
        .unwrap();
    assert!(tar.status.success());
    let text = String::from_utf8(tar.stdout).unwrap();
    // The columns are as wide as the longest time before them, also that of the line left out.
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = text.lines().filter(|line| !line.ends_with(" rootfs/"));
    lines.map(words).collect::<Vec<_>>().join("\n")
}

fn assert_changed(root: &Path) {
    let meta = |path: &str| fs::symlink_metadata(root.join(path)).unwrap();
    assert_eq!(fs::read_to_string(root.join("etc/new")).unwrap(), "new\n");
    assert!(!root.join("etc/group").exists());
    let old: Vec<_> = fs::read_dir(root.join("old"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(old, ["fresh"]);
    assert_eq!(meta("data").mode() & 0o7777, 0o1770);
    assert_eq!(meta("data/sub/a").ino(), meta("data/b").ino());
    assert_eq!(
        fs::read_link(root.join("data/link")).unwrap(),
        Path::new("sub/a")
    );
    assert!(meta("data/pipe").file_type().is_fifo());
    let mine = meta("data/mine");
    assert_eq!(
        (mine.uid(), mine.gid(), mine.mode() & 0o7777),
        (1000, 50, 0o4711)
    );
    assert_eq!(meta("etc/passwd").mtime(), 981_173_106);
    assert!(meta("etc/new").mtime_nsec() > 0);
    // Untouched ones are there as well.
    assert!(root.join("bin/busybox").exists());
}

#[test]
fn changes_become_an_image_which_gives_the_same_tree() {
    let rkt = Rkt::new();
    let id = rkt.fetch(&image());
    let uuid = run(&rkt, &id, "--name=app", CHANGES, &[]);
    let first = export(&rkt, &uuid, "first.aci", &[]);
    assert_changed(&rendered(&rkt, &first, "first"));
    let again = rkt.fetch_file(&first);
    let uuid = run(&rkt, &again, "--name=app", "true", &[]);
    let second = export(&rkt, &uuid, "second.aci", &[]);
    assert_eq!(listing(&first), listing(&second));
    rkt.assert_clean();
}

#[test]
fn a_copied_tree_is_exported_too() {
    let rkt = Rkt::new();
    let id = rkt.fetch(&image());
    let uuid = run(&rkt, &id, "--name=app", CHANGES, &["--no-overlay"]);
    let file = export(&rkt, &uuid, "copied.aci", &[]);
    assert_changed(&rendered(&rkt, &file, "copied"));
    rkt.assert_clean();
}

#[test]
fn one_app_of_several() {
    let rkt = Rkt::new();
    let id = rkt.fetch(&image());
    let file = rkt.path("uuid");
    let save = format!("--uuid-file-save={}", file.display());
    let app = |name, script| [name, "--exec=/bin/sh", "--", "-c", script, "---"];
    let one = app("--name=one", "echo 1 > /one");
    let two = app("--name=two", "echo 2 > /two");
    let args = [
        &["run", "--net=none", &save, &id][..],
        &one,
        &[&id],
        &two[..5],
    ];
    rkt.run(&args.concat()).expect(0);
    let uuid = fs::read_to_string(file).unwrap();
    let place = rkt.path("x.aci");
    let place = place.to_str().unwrap();
    rkt.run(&["export", &uuid, place]).refused(&["--app="]);
    rkt.run(&["export", "--app=three", &uuid, place])
        .refused(&["three", "one, two"]);
    assert!(!Path::new(place).exists());
    let file = export(&rkt, &uuid, "two.aci", &["--app=two"]);
    let root = rendered(&rkt, &file, "two");
    assert!(root.join("two").exists() && !root.join("one").exists());
    rkt.assert_clean();
}

#[test]
fn what_is_not_exported() {
    let rkt = Rkt::new();
    let id = rkt.fetch(&image());
    let sleeper = ["--net=none", &id, "--exec=/bin/sleep", "--", "1000"];
    let (_pod, running) = rkt.start_pod(&sleeper);
    let place = rkt.path("x.aci");
    let place = place.to_str().unwrap();
    rkt.run(&["export", &running, place])
        .refused(&["running", "exited"]);
    rkt.ok(&["stop", "--force", &running]);
    rkt.await_state(&running, "exited");
    rkt.run(&["export", &running]).refused(&["output file"]);
    rkt.run(&["export", &running, "x.tar"]).refused(&[".aci"]);
    fs::write(place, "mine").unwrap();
    rkt.run(&["export", &running, place])
        .refused(&["--overwrite"]);
    assert_eq!(fs::read_to_string(place).unwrap(), "mine");
    rkt.ok(&["export", "--overwrite", &running, place]);
    rkt.run(&["export", &running, "/nowhere/x.aci"])
        .refused(&["/nowhere", "No such file"]);
    rkt.assert_clean();
}
