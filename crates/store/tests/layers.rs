//! Dependencies, whitelists, and their order.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use appc::Hash;
use common::Tar;
use store::{Error, ImportOptions, Store};

/// Imports an image whose files hold its name; `more` is JSON, and names of directories end in a
/// slash.
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn add(store: &Store, name: &str, more: &str, files: &[&str]) -> Hash {
    let mut tar = Tar::aci(&format!("example.com/{name}"), more);
    for file in files {
        match file.strip_suffix('/') {
            Some(directory) => tar.directory(&format!("rootfs/{directory}")),
            None => tar.file(&format!("rootfs/{file}"), name.as_bytes()),
        };
    }
    let options = ImportOptions {
        render: true,
        ..ImportOptions::default()
    };
    store.import(&tar.end()[..], &options).unwrap().id
}

fn on(names: &[&str]) -> String {
    let mut text = String::from(r#","dependencies":["#);
    for (i, name) in names.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(text, r#"{comma}{{"imageName":"example.com/{name}"}}"#);
    }
    text + "]"
}

fn only(paths: &[&str]) -> String {
    format!(r#","pathWhitelist":{paths:?}"#)
}

/// Files of a tree with what they hold.
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn contents(root: &Path) -> BTreeMap<String, String> {
    let files = common::files(root).into_iter();
    files
        .map(|name| {
            let held = std::fs::read_to_string(root.join(&name)).unwrap();
            (name, held)
        })
        .collect()
}

#[track_caller]
#[allow(clippy::unwrap_used, reason = "a helper of tests")]
fn assert_tree(store: &Store, id: &Hash, wanted: &[(&str, &str)]) {
    let tree = store.tree(id).unwrap();
    let wanted: BTreeMap<String, String> = wanted
        .iter()
        .map(|(name, held)| ((*name).to_owned(), (*held).to_owned()))
        .collect();
    assert_eq!(contents(&tree.rootfs()), wanted);
    assert_eq!(store.verify(id).unwrap(), store::Verified::Intact);
    let other = tempfile::tempdir().unwrap();
    store.render_into(id, other.path(), true).unwrap();
    assert_eq!(contents(other.path()), wanted);
}

#[test]
fn later_layers_lie_over_earlier_ones_depth_first() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    add(&store, "lowest", "", &["a", "b", "c", "d"]);
    add(&store, "first", &on(&["lowest"]), &["b", "c", "d"]);
    add(&store, "second", "", &["c", "d"]);
    let top = add(&store, "top", &on(&["first", "second"]), &["d", "e"]);
    let wanted = [
        ("a", "lowest"),
        ("b", "first"),
        ("c", "second"),
        ("d", "top"),
        ("e", "top"),
    ];
    assert_tree(&store, &top, &wanted);
    let names: Vec<String> = store
        .rendered_from(&top)
        .unwrap()
        .iter()
        .map(|id| store.info(id).unwrap().name)
        .collect();
    let wanted = ["lowest", "first", "second", "top"].map(|n| format!("example.com/{n}"));
    assert_eq!(names, wanted);
    // A diamond: the lowest comes twice, and the second time lies over the first image.
    add(&store, "third", &on(&["lowest"]), &["d"]);
    let diamond = add(&store, "diamond", &on(&["first", "third"]), &[]);
    let wanted = [
        ("a", "lowest"),
        ("b", "lowest"),
        ("c", "lowest"),
        ("d", "third"),
    ];
    assert_tree(&store, &diamond, &wanted);
}

#[test]
fn the_name_of_a_tree_is_the_digest_of_its_images() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let base = add(&store, "base", "", &["a"]);
    let top = add(&store, "top", &on(&["base"]), &["b"]);
    let digest = |text: &str| {
        let id = Hash::from_sha512(&sha::Sha512::of(text.as_bytes()));
        format!("deps-{id}")
    };
    assert_eq!(store.tree_id(&base).unwrap(), digest(&base));
    assert_eq!(
        store.tree_id(&top).unwrap(),
        digest(&format!("{top},{base}"))
    );
}

#[test]
fn whitelists_apply_to_an_image_and_all_below_it() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let files = ["keep/", "keep/a", "keep/b", "drop/", "drop/c", "d"];
    add(&store, "base", "", &files);
    let more = on(&["base"]) + &only(&["/keep/a", "/d", "/own", "/not-there"]);
    let image = add(&store, "top", &more, &["own", "other"]);
    let wanted = [("keep/a", "base"), ("d", "base"), ("own", "top")];
    assert_tree(&store, &image, &wanted);
    assert!(!store.tree(&image).unwrap().rootfs().join("drop").exists());
    // A whitelist below only thins out what is below it.
    let more = on(&["base"]) + &only(&["/d", "/keep/b"]);
    add(&store, "thin", &more, &[]);
    add(&store, "side", "", &["side"]);
    let more = on(&["side", "thin"]) + &only(&["/side", "/d", "/keep/a"]);
    let image = add(&store, "two", &more, &["x"]);
    assert_tree(&store, &image, &[("side", "side"), ("d", "base")]);
}

#[test]
fn a_kept_hard_link_brings_its_file_along() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let more = only(&["/kept", "/kept2", "/deep/kept3"]);
    let bytes = Tar::aci("example.com/links", &more)
        .file("rootfs/dropped", b"data")
        .hard_link("rootfs/kept", "rootfs/dropped")
        .hard_link("rootfs/dropped2", "rootfs/dropped")
        .hard_link("rootfs/kept2", "rootfs/dropped2")
        .directory("rootfs/deep")
        .hard_link("rootfs/deep/kept3", "rootfs/kept2")
        .end();
    let image = store.import(&bytes[..], &ImportOptions::default()).unwrap();
    let wanted = [("kept", "data"), ("kept2", "data"), ("deep/kept3", "data")];
    assert_tree(&store, &image.id, &wanted);
}

#[test]
fn types_change_from_layer_to_layer() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    add(&store, "base", "", &["a", "d/", "d/x", "d/y/", "d/y/z"]);
    let top = add(&store, "top", &on(&["base"]), &["a/", "a/in", "d"]);
    assert_tree(&store, &top, &[("a/in", "top"), ("d", "top")]);
    let link = Tar::aci("example.com/link", "")
        .directory("rootfs/usr")
        .directory("rootfs/usr/lib")
        .symlink("rootfs/lib", "usr/lib")
        .end();
    store.import(&link[..], &ImportOptions::default()).unwrap();
    let through = add(&store, "through", &on(&["link"]), &["lib/so"]);
    let root = store.tree(&through).unwrap().rootfs();
    let held = std::fs::read_to_string(root.join("usr/lib/so")).unwrap();
    assert_eq!(held, "through");
}

#[test]
fn wrong_dependencies_are_named() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    let version = r#","labels":[{"name":"version","value":"1"}]"#;
    let base = add(&store, "base", version, &["a"]);
    let alone = add(&store, "alone", &on(&["missing"]), &[]);
    let error = store.tree(&alone).unwrap_err();
    assert!(matches!(&error, Error::MissingDependency { .. }), "{error}");
    assert!(error.to_string().contains("example.com/missing"), "{error}");
    let by_id = |name: &str, id: &str| {
        format!(r#","dependencies":[{{"imageName":"example.com/{name}","imageID":"{id}"}}]"#)
    };
    let wrong = add(&store, "wrong", &by_id("other", &base), &[]);
    let error = store.tree(&wrong).unwrap_err().to_string();
    let named = "is an image named example.com/base";
    assert!(error.contains(named), "{error}");
    let unknown = format!("sha512-{}", "1".repeat(64));
    let none = add(&store, "none", &by_id("base", &unknown), &[]);
    assert!(store.tree(&none).unwrap_err().is_not_found());
    let right = add(&store, "right", &by_id("base", &base), &["b"]);
    assert_tree(&store, &right, &[("a", "base"), ("b", "right")]);
    let label = r#","dependencies":[{"imageName":"example.com/base","labels":[{"name":"version","value":"2"}]}]"#;
    let labelled = add(&store, "labelled", label, &[]);
    let error = store.tree(&labelled).unwrap_err().to_string();
    assert!(error.contains("version=2"), "{error}");
}

#[test]
fn circles_and_explosions_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path());
    add(&store, "loop-a", &on(&["loop-b"]), &[]);
    let circle = add(&store, "loop-b", &on(&["loop-a"]), &[]);
    let error = store.tree(&circle).unwrap_err().to_string();
    assert!(error.contains("in a circle"), "{error}");
    // Doubled at every level: 2^12 layers.
    add(&store, "wide-0", "", &["x"]);
    let mut top = None;
    for i in 1..=12 {
        let below = format!("wide-{}", i - 1);
        let more = on(&[&below, &below]);
        top = Some(add(&store, &format!("wide-{i}"), &more, &[]));
    }
    let error = store.tree(&top.unwrap()).unwrap_err().to_string();
    assert!(error.contains("more than 1024"), "{error}");
}
