//! Images in, and found again.

mod common;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use appc::{AcIdentifier, Hash, Label, Labels};
use common::{Tar, leftovers};
use store::{Error, GcOptions, ImportOptions, Store, Verified};

fn rendered() -> ImportOptions {
    ImportOptions {
        render: true,
        ..ImportOptions::default()
    }
}

#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn labels(pairs: &[(&str, &str)]) -> Labels {
    let label =
        |(name, value): &(&str, &str)| Label::new(AcIdentifier::parse(name).unwrap(), *value);
    Labels(pairs.iter().map(label).collect())
}

fn hello(version: &str) -> Vec<u8> {
    let more = format!(r#","labels":[{{"name":"version","value":"{version}"}}]"#);
    Tar::aci("example.com/hello", &more)
        .file("rootfs/hello", b"hello, world\n")
        .end()
}

#[test]
fn an_image_is_imported_found_exported_and_removed() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    assert_eq!(store.list().unwrap(), []);
    let bytes = hello("1");
    let image = store.import(&bytes[..], &rendered()).unwrap();
    assert_eq!(image.full_name(), "example.com/hello:1");
    assert_eq!(image.size, bytes.len() as u64);
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(store.info(&image.id).unwrap().tree_size, 13);

    assert_eq!(store.resolve(&image.id).unwrap(), image.id);
    assert_eq!(store.resolve(&image.id[..9]).unwrap(), image.id);
    assert_eq!(
        store
            .resolve(&image.id[..9].to_uppercase().replace("SHA", "sha"))
            .unwrap(),
        image.id
    );
    assert!(matches!(
        store.resolve("sha512-0"),
        Err(Error::BadId { .. })
    ));
    assert!(matches!(store.resolve("hello"), Err(Error::BadId { .. })));

    let name = AcIdentifier::parse("example.com/hello").unwrap();
    let find = |pairs: &[_]| store.find_by_name(&name, &labels(pairs)).unwrap();
    assert_eq!(find(&[]).as_ref(), Some(&image.id));
    assert_eq!(find(&[("version", "1")]).as_ref(), Some(&image.id));
    assert_eq!(find(&[("version", "2")]), None);

    let mut out = Vec::new();
    assert_eq!(store.export(&image.id, &mut out).unwrap(), image.size);
    assert_eq!(out, bytes);

    let tree = store.tree(&image.id).unwrap();
    assert_eq!(
        std::fs::read(tree.rootfs().join("hello")).unwrap(),
        b"hello, world\n"
    );
    assert_eq!(store.verify(&image.id).unwrap(), Verified::Intact);

    store.remove(&image.id).unwrap();
    assert!(matches!(store.manifest(&image.id), Err(Error::NotFound(_))));
    assert_eq!(find(&[]), None);
    store.gc(&GcOptions::default()).unwrap();
    assert_eq!(leftovers(data.path()), [""; 0]);
    assert!(store.remove(&image.id).unwrap_err().is_not_found());
}

#[test]
fn every_compression_gives_the_same_image() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let bytes = hello("1");
    let id = store
        .import(&bytes[..], &ImportOptions::default())
        .unwrap()
        .id;
    for program in ["gzip", "bzip2", "xz", "zstd"] {
        let spawned = Command::new(program)
            .arg("-c")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = spawned else {
            continue;
        };
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let packed = child.wait_with_output().unwrap().stdout;
        let again = store
            .import(&packed[..], &ImportOptions::default())
            .unwrap();
        assert_eq!(again.id, id, "{program}");
        for cut in [10, packed.len() / 2, packed.len() - 1] {
            let error = store
                .import(&packed[..cut], &ImportOptions::default())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("truncated") || error.contains("damaged"),
                "{program} cut at {cut}: {error}"
            );
        }
        let mut damaged = packed.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        assert!(
            store
                .import(&damaged[..], &ImportOptions::default())
                .is_err()
        );
    }
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn prefixes_may_be_ambiguous() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let mut ids: Vec<Hash> = Vec::new();
    // Some two of so many begin with the same two digits.
    for i in 0..257 {
        let image = store.import(&hello(&i.to_string())[..], &ImportOptions::default());
        ids.push(image.unwrap().id);
    }
    let shared = ids
        .iter()
        .map(|id| &id[..9])
        .find(|prefix| ids.iter().filter(|id| id.starts_with(prefix)).count() > 1)
        .unwrap();
    let Err(Error::Ambiguous { candidates, .. }) = store.resolve(shared) else {
        panic!("{shared} is not ambiguous");
    };
    assert!(candidates.len() > 1 && candidates.iter().all(|id| ids.contains(id)));
    assert_eq!(store.list().unwrap().len(), 257);
    // Newest of many versions.
    let name = AcIdentifier::parse("example.com/hello").unwrap();
    assert_eq!(
        store
            .find_by_name(&name, &Labels::default())
            .unwrap()
            .as_ref(),
        ids.last()
    );
}

#[test]
fn the_latest_is_preferred_when_no_version_is_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let latest = ImportOptions {
        latest: true,
        ..ImportOptions::default()
    };
    let one = store.import(&hello("1")[..], &latest).unwrap();
    let two = store
        .import(&hello("2")[..], &ImportOptions::default())
        .unwrap();
    let name = AcIdentifier::parse("example.com/hello").unwrap();
    let find = |pairs: &[_]| store.find_by_name(&name, &labels(pairs)).unwrap();
    assert_eq!(find(&[]), Some(one.id));
    assert_eq!(find(&[("version", "2")]), Some(two.id));
}

#[test]
fn only_the_image_asked_for_is_taken() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let options = ImportOptions {
        expected: Some(Hash::parse(&format!("sha512-{}", "0".repeat(64))).unwrap()),
        render: true,
        ..ImportOptions::default()
    };
    let error = store.import(&hello("1")[..], &options).unwrap_err();
    assert!(matches!(error, Error::WrongImage { .. }), "{error}");
    assert_eq!(leftovers(data.path()), [""; 0]);
}

#[test]
fn a_collection_takes_what_is_unused() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let ids: Vec<Hash> = (0..4)
        .map(|i| {
            store
                .import(&hello(&i.to_string())[..], &rendered())
                .unwrap()
                .id
        })
        .collect();
    let kept = store.gc(&GcOptions {
        grace: Duration::from_secs(3600),
        ..GcOptions::default()
    });
    assert_eq!(kept.unwrap().images, []);
    let mut options = GcOptions::default();
    options.images_in_use.insert(ids[0].clone());
    options.trees_in_use.insert(store.tree_id(&ids[1]).unwrap());
    std::fs::create_dir(data.path().join("cas/tmp/tree-left-behind")).unwrap();
    std::fs::write(data.path().join("cas/tmp/sha512-download"), "half").unwrap();
    let report = store.gc(&options).unwrap();
    assert_eq!(report.images.len(), 3);
    assert_eq!(report.temporaries, 1);
    assert_eq!(store.list().unwrap().len(), 1);
    assert!(store.is_rendered(&store.tree_id(&ids[0]).unwrap()));
    let trees: Vec<String> = store
        .trees()
        .unwrap()
        .into_iter()
        .map(|(tree, _)| tree)
        .collect();
    assert_eq!(trees.len(), 2);
    assert!(options.trees_in_use.iter().all(|tree| trees.contains(tree)));
    store.gc(&GcOptions::default()).unwrap();
    assert_eq!(
        leftovers(data.path()),
        [
            "sha512-download".to_owned(),
            data.path()
                .join("cas/tmp/sha512-download")
                .display()
                .to_string()
        ]
    );
}

#[test]
fn where_an_image_came_from_is_kept_with_it() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    assert_eq!(store.remote("https://example.com/a.aci").unwrap(), None);
    let image = store
        .import(&hello("1")[..], &ImportOptions::default())
        .unwrap();
    let mut remote = store::Remote {
        url: "https://example.com/a.aci".into(),
        signature_url: String::new(),
        etag: "\"1\"".into(),
        image: image.id.clone(),
        max_age: Duration::from_secs(60),
        download_time: std::time::SystemTime::UNIX_EPOCH
            + Duration::from_nanos(1_500_000_000_123_456_789),
    };
    store.set_remote(&remote).unwrap();
    assert_eq!(store.remote(&remote.url).unwrap().as_ref(), Some(&remote));
    assert!(!remote.is_fresh());
    remote.download_time = std::time::SystemTime::now();
    store.set_remote(&remote).unwrap();
    assert!(store.remote(&remote.url).unwrap().unwrap().is_fresh());
    store.remove(&image.id).unwrap();
    assert_eq!(store.remote(&remote.url).unwrap(), None);
}
