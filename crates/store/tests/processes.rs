//! Many processes, killed processes, lost and damaged indexes, full disks.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Tar, leftovers};
use store::{GcOptions, ImportOptions, Store, Verified};

/// Runs one test of this program in another process, with a job.
#[allow(clippy::expect_used, reason = "a helper of tests")]
fn other(job: &str, data: &Path) -> Child {
    Command::new(std::env::current_exe().expect("the test's own program"))
        .args(["--exact", "job", "--nocapture"])
        .env("STORE_JOB", job)
        .env("STORE_DATA", data)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("another process")
}

fn rendered() -> ImportOptions {
    ImportOptions {
        render: true,
        ..ImportOptions::default()
    }
}

/// An image with enough files to be killed in.
fn image(number: usize) -> Vec<u8> {
    let mut tar = Tar::aci(&format!("example.com/image{number}"), "");
    for i in 0..300 {
        tar.file(&format!("rootfs/{i}"), &[7; 3000]);
    }
    tar.end()
}

/// What other processes do; nothing when run as a test.
#[test]
fn job() {
    let (Ok(job), Ok(data)) = (std::env::var("STORE_JOB"), std::env::var("STORE_DATA")) else {
        return;
    };
    let store = Store::open(Path::new(&data));
    match job.split_once(' ') {
        Some(("import", number)) => {
            let bytes = image(number.parse().unwrap());
            store.import(&bytes[..], &rendered()).unwrap();
        }
        Some(("cycle", number)) => {
            let bytes = image(number.parse().unwrap());
            loop {
                let id = store.import(&bytes[..], &rendered()).unwrap().id;
                let tree = store.tree_id(&id).unwrap();
                store.remove_tree(&tree).unwrap();
                store.tree(&id).unwrap();
                store.remove(&id).unwrap();
                store.gc(&GcOptions::default()).unwrap();
            }
        }
        Some(("list", times)) => {
            for _ in 0..times.parse().unwrap() {
                store.list().unwrap();
            }
        }
        _ => panic!("unknown job {job:?}"),
    }
}

#[test]
fn ten_importers_of_one_image_and_forty_readers() {
    let data = tempfile::tempdir().unwrap();
    let mut all: Vec<Child> = (0..10).map(|_| other("import 1", data.path())).collect();
    all.extend((0..40).map(|_| other("list 20", data.path())));
    for mut child in all {
        assert!(child.wait().unwrap().success());
    }
    let store = Store::open(data.path());
    let images = store.list().unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!(store.verify(&images[0].id).unwrap(), Verified::Intact);
    assert_eq!(data.path().join("cas/tmp").read_dir().unwrap().count(), 0);
}

#[test]
fn killed_at_any_moment_the_store_stays_sound() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let mut delay = 7;
    for _ in 0..30 {
        // Spread over the whole cycle, the same in every run.
        delay = (delay * 37 + 11) % 83;
        let mut child = other("cycle 1", data.path());
        let until = Instant::now() + Duration::from_millis(4 + delay);
        while Instant::now() < until {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));

        for image in store.list().unwrap() {
            store.manifest(&image.id).unwrap();
            assert_ne!(image.size, 0);
            let verified = store.verify(&image.id).unwrap();
            assert!(!matches!(verified, Verified::Changed { .. }));
        }
        store
            .gc(&GcOptions {
                grace: Duration::from_secs(3600),
                ..GcOptions::default()
            })
            .unwrap();
        assert_eq!(data.path().join("cas/tmp").read_dir().unwrap().count(), 0);
        let bytes = image(1);
        let id = store.import(&bytes[..], &rendered()).unwrap().id;
        store.tree(&id).unwrap();
        assert_eq!(store.verify(&id).unwrap(), Verified::Intact);
        let mut out = Vec::new();
        store.export(&id, &mut out).unwrap();
        assert!(out == bytes);
    }
    store.gc(&GcOptions::default()).unwrap();
    assert_eq!(leftovers(data.path()), [""; 0]);
    for folder in ["imagelocks", "treestorelocks"] {
        assert_eq!(
            common::files(&data.path().join("cas").join(folder)),
            [""; 0]
        );
    }
}

#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn three_images(data: &Path) -> Store {
    let store = Store::open(data);
    for number in 0..3 {
        store.import(&image(number)[..], &rendered()).unwrap();
    }
    store
}

fn database(data: &Path) -> PathBuf {
    data.join("cas/db/index.sqlite")
}

/// Damages the index in one way after another; the list is the same afterwards.
#[test]
fn a_lost_or_damaged_index_is_made_again() {
    let data = tempfile::tempdir().unwrap();
    let store = three_images(data.path());
    let before: Vec<_> = store
        .list()
        .unwrap()
        .into_iter()
        .map(|i| (i.id, i.name, i.size, i.tree_size))
        .collect();
    let file = database(data.path());
    let damages: [&dyn Fn(); 7] = [
        &|| std::fs::remove_file(&file).unwrap(),
        &|| std::fs::remove_dir_all(file.parent().unwrap()).unwrap(),
        &|| std::fs::write(&file, "").unwrap(),
        &|| {
            std::fs::write(&file, "no database at all, and longer than a hundred bytes, which is what SQLite's header has in its first page").unwrap()
        },
        &|| {
            for entry in file.parent().unwrap().read_dir().unwrap() {
                std::fs::write(entry.unwrap().path(), vec![0xa5; 9000]).unwrap();
            }
        },
        &|| {
            // The schema is whole, the pages behind it are not.
            store
                .gc(&GcOptions {
                    grace: Duration::from_secs(3600),
                    ..GcOptions::default()
                })
                .unwrap();
            let mut bytes = std::fs::read(&file).unwrap();
            bytes[4096..].fill(0xff);
            std::fs::write(&file, bytes).unwrap();
        },
        &|| {
            let bytes = std::fs::read(&file).unwrap();
            std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        },
    ];
    for (i, damage) in damages.into_iter().enumerate() {
        damage();
        let readers: Vec<Child> = (0..5).map(|_| other("list 1", data.path())).collect();
        for mut child in readers {
            assert!(child.wait().unwrap().success(), "damage {i}");
        }
        let mut after: Vec<_> = store
            .list()
            .unwrap()
            .into_iter()
            .map(|i| (i.id, i.name, i.size, i.tree_size))
            .collect();
        after.sort_by_key(|image| before.iter().position(|b| b.0 == image.0));
        assert_eq!(after, before, "damage {i}");
    }
    // Without the manifests beside them, the blobs have all it takes.
    std::fs::remove_dir_all(data.path().join("cas/imageManifest")).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(store.list().unwrap().len(), 3);
}

#[test]
fn changed_blobs_are_found_by_the_next_render() {
    let data = tempfile::tempdir().unwrap();
    let store = three_images(data.path());
    let id = store.list().unwrap()[0].id.clone();
    let path = store.blob_path(&id).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() / 2 + 100;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(
        store.verify(&id).unwrap(),
        Verified::Intact,
        "the tree is still what was rendered"
    );
    let error = store.rebuild_tree(&id).unwrap_err().to_string();
    assert!(error.contains("changed on disk"), "{error}");
    assert!(store.export(&id, std::io::sink()).is_err());
    assert_eq!(data.path().join("cas/tmp").read_dir().unwrap().count(), 0);
}

#[test]
fn changed_trees_are_found_and_rebuilt() {
    let data = tempfile::tempdir().unwrap();
    let store = three_images(data.path());
    let id = store.list().unwrap()[0].id.clone();
    let root = store.tree(&id).unwrap().rootfs();
    let changes: [&dyn Fn(); 4] = [
        &|| std::fs::write(root.join("1"), vec![8; 3000]).unwrap(),
        &|| std::fs::remove_file(root.join("2")).unwrap(),
        &|| std::fs::write(root.join("new"), "").unwrap(),
        &|| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(root.join("3"), std::fs::Permissions::from_mode(0o4755))
                .unwrap();
        },
    ];
    for change in changes {
        change();
        assert!(matches!(
            store.verify(&id).unwrap(),
            Verified::Changed { .. }
        ));
        store.rebuild_tree(&id).unwrap();
        assert_eq!(store.verify(&id).unwrap(), Verified::Intact);
    }
}

/// A small tmpfs at a directory, as long as the value lives.
struct Small(tempfile::TempDir);

#[allow(clippy::unwrap_used, reason = "a helper of tests")]
impl Small {
    fn new(size: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        rustix::mount::mount(
            "tmpfs",
            directory.path(),
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            options.as_c_str(),
        )
        .unwrap();
        Small(directory)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_says_so_and_holds_nothing() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let bytes = image(1);
    let (mut failed, mut done) = (0, 0);
    for size in [
        "8k", "40k", "100k", "300k", "600k", "1m", "1300k", "2m", "2300k", "2600k", "3m", "8m",
    ] {
        let disk = Small::new(size);
        let data = disk.0.path().join("data");
        let store = Store::open(&data);
        match store.import(&bytes[..], &rendered()) {
            Ok(image) => {
                done += 1;
                assert_eq!(store.verify(&image.id).unwrap(), Verified::Intact);
            }
            Err(error) => {
                failed += 1;
                assert!(error.is_no_space(), "{size}: {error}");
                assert!(
                    error.to_string().to_lowercase().contains("no space")
                        || error.to_string().contains("full"),
                    "{size}: {error}"
                );
                assert_eq!(leftovers(&data), [""; 0], "{size}");
            }
        }
    }
    assert!(failed >= 5 && done >= 1, "{failed} {done}");
}
