//! Layers of OCI images that mean no good.

mod common;

use std::io::Write;

use common::{Header, Tar, leftovers};
use oci::{Config, Descriptor, Digest, Manifest, media};
use store::{BlobSource, Limits, Opened, Refusal, Store};

/// Gives a configuration and one layer.
struct Parts(Vec<(Digest, Vec<u8>)>);

impl BlobSource for Parts {
    fn open(&self, blob: &Digest, offset: u64) -> Result<Opened<'_>, Refusal> {
        let found = self.0.iter().find(|(digest, _)| digest == blob);
        let (_, bytes) = found.ok_or("no such part")?;
        let from = usize::try_from(offset)?.min(bytes.len());
        Ok((Box::new(&bytes[from..]), from as u64))
    }
}

fn describe(kind: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: kind.to_owned(),
        digest: store::sha256(bytes),
        size: bytes.len() as u64,
        platform: None,
        annotations: Default::default(),
    }
}

/// Takes in an image of one layer; returns why that failed, and that nothing is left.
#[track_caller]
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn outcome(archive: &[u8], published: &[u8], limits: &Limits) -> Result<(), String> {
    let diff = store::sha256(archive);
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["{diff}"]}}}}"#
    );
    let config = config.into_bytes();
    let layer = describe(media::LAYER, published);
    let manifest = Manifest::write(&describe(media::CONFIG, &config), &[layer]);
    let manifest = Manifest::parse(&manifest).unwrap();
    let parts = Parts(vec![
        (store::sha256(&config), config.clone()),
        (store::sha256(published), published.to_vec()),
    ]);
    let mut first = None;
    for render in [true, false] {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path());
        let puller = store.pull(render, limits.clone()).unwrap();
        let layers = puller.layers(&manifest, &Config::parse(&config).unwrap(), &parts);
        drop(puller);
        let result = layers.map_err(|e| e.to_string());
        if result.is_err() {
            assert_eq!(leftovers(data.path()), [""; 0]);
        }
        first.get_or_insert(result);
    }
    first.unwrap()
}

#[track_caller]
fn refused(tar: &Tar, limits: &Limits, words: &str) {
    match outcome(&tar.0, &tar.0, limits) {
        Ok(()) => panic!("accepted instead of {words:?}"),
        Err(error) => assert!(error.contains(words), "{words:?} is not in {error:?}"),
    }
}

fn few() -> Limits {
    Limits {
        entries: 100,
        ..Limits::default()
    }
}

#[test]
fn too_many_and_too_deep() {
    let mut many = Tar::default();
    for number in 0..101 {
        many.file(&format!("f{number}"), b"");
    }
    refused(&many, &few(), "100 entries");
    // Directories that no entry speaks of cost as much.
    let mut implied = Tar::default();
    for number in 0..20 {
        implied.file(&format!("{number}/a/b/c/d/e/f"), b"");
    }
    match rustix::process::geteuid().is_root() {
        true => refused(&implied, &few(), "100 directories"),
        false => outcome(&implied.0, &implied.0, &few()).unwrap(),
    }
    for depth in [1001, 5000] {
        let path = format!("path={}x\n", "d/".repeat(depth));
        // The length counts its own digits.
        let length = (path.len() + 2..).find(|n| *n == n.to_string().len() + 1 + path.len());
        let record = format!("{} {path}", length.unwrap());
        let mut deep = Tar::default();
        deep.header(Header::new(b'x', "pax").size(record.len() as u64));
        deep.data(record.as_bytes());
        deep.file("short", b"x");
        match outcome(&deep.0, &deep.0, &Limits::default()) {
            Ok(()) => panic!("accepted"),
            Err(e) => assert!(e.contains("too deep") || e.contains("longer than"), "{e}"),
        }
    }
}

#[test]
fn a_layer_that_grows_without_end_is_refused() {
    let zeros = vec![0; 1 << 20];
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut tar = Tar::default();
    tar.header(Header::new(b'0', "zeros").size(1 << 32));
    packed.write_all(&tar.0).unwrap();
    for _ in 0..1200 {
        packed.write_all(&zeros).unwrap();
    }
    let packed = packed.finish().unwrap();
    let error = outcome(b"", &packed, &Limits::default()).unwrap_err();
    assert!(error.contains("times its compressed size"), "{error}");
    let limits = Limits {
        bytes: 10 << 20,
        ..Limits::default()
    };
    let error = outcome(b"", &packed, &limits).unwrap_err();
    assert!(error.contains("10485760 bytes"), "{error}");
}

#[test]
fn names_and_links_stay_inside() {
    let mut up = Tar::default();
    up.file("a/../../x", b"x");
    refused(&up, &few(), "\"..\"");
    let mut linked = Tar::default();
    linked.header(Header::new(b'1', "x").link("../../etc/passwd"));
    refused(&linked, &few(), "\"..\"");
    // Through a symbolic link a file stays in the layer.
    let outside = tempfile::tempdir().unwrap();
    let mut through = Tar::default();
    let target = outside.path().display().to_string();
    through.header(Header::new(b'2', "way").link(&target));
    through.file("way/file", b"x");
    let _ = outcome(&through.0, &through.0, &few());
    assert_eq!(outside.path().read_dir().unwrap().count(), 0);
    for name in [".wh.", ".wh..", ".wh..."] {
        let mut nothing = Tar::default();
        nothing.file(name, b"");
        if rustix::process::geteuid().is_root() {
            refused(&nothing, &few(), "whiteout");
        }
    }
}

#[test]
fn an_archive_that_ends_early_or_holds_nothing() {
    let empty = Tar::default();
    outcome(&empty.0, &empty.0, &few()).unwrap();
    let mut cut = Tar::default();
    cut.file("file", &[7; 2000]);
    // Without the mark at the end, as some tools write them.
    outcome(&cut.0, &cut.0, &few()).unwrap();
    cut.0.truncate(1500);
    refused(&cut, &few(), "truncated");
    let other = outcome(b"something else", &cut.0[..512], &few());
    assert!(other.is_err());
}

#[test]
fn what_came_in_without_a_tree_is_checked_by_whoever_unpacks_it() {
    let (mut tar, mut other) = (Tar::default(), Tar::default());
    tar.file("file", b"one");
    other.file("file", b"two");
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        store::sha256(&other.0)
    );
    let config = config.into_bytes();
    let manifest = Manifest::write(
        &describe(media::CONFIG, &config),
        &[describe(media::LAYER, &tar.0)],
    );
    let parsed = Manifest::parse(&manifest).unwrap();
    let parts = Parts(vec![
        (store::sha256(&config), config),
        (store::sha256(&tar.0), tar.0.clone()),
    ]);
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let puller = store.pull(false, few()).unwrap();
    let read = puller.config(&parsed, &parts).unwrap();
    puller.layers(&parsed, &read, &parts).unwrap();
    let appc = br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/wrong"}"#;
    let appc = appc::ImageManifest::parse(appc).unwrap();
    let id = puller.commit(&manifest, &appc, false).unwrap().id;
    let to = data.path().join("copy");
    let mut failures = vec![store.render_into(&id, &to, false).unwrap_err().to_string()];
    if rustix::process::geteuid().is_root() {
        failures.push(store.tree(&id).unwrap_err().to_string());
    }
    for failure in failures {
        assert!(failure.contains("configuration says"), "{failure}");
    }
}
