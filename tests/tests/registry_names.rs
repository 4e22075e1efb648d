//! An image that a registry has under several names.

use std::time::Duration;

use e2e::oci::{Layer, Layout};
use e2e::{Registry, Rkt};

use super::oci::script;

const OPEN: &str = "--insecure-options=image,http";

#[test]
fn each_reference_is_a_name_of_the_image() {
    let (rkt, registry) = (Rkt::new(), Registry::start());
    let mut layout = Layout::new(rkt.path("layout"));
    layout.add(&script("echo it runs", &[]), "it");
    let references = ["my/app:v1", "my/app:latest", "my/other:v9"];
    let host = registry.authority().replace(':', "-");
    let mut ids = Vec::new();
    for name in references {
        registry.push(&layout.reference("it"), name, &[]);
        let fetch = [OPEN, "fetch", "--full", &registry.image(name)];
        ids.push(rkt.strict(&fetch).expect(0).text().to_owned());
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let listed = rkt.ok(&["image", "list", "--fields=name", "--no-legend"]);
    for name in references {
        let name = format!("{host}/{name}");
        assert_eq!(listed.lines().filter(|l| *l == name).count(), 1, "{listed}");
        // As a name, and as it was fetched.
        let id = rkt.ok(&["fetch", "--full", "--pull-policy=never", &name]);
        assert_eq!(id, ids[0]);
    }
    for name in references {
        let uuid = rkt.ok(&["prepare", &registry.image(name)]);
        let uuid = uuid.trim();
        let manifest = rkt.json(&["cat-manifest", uuid]);
        let image = &manifest["apps"][0]["image"];
        assert_eq!(
            image["name"],
            format!("{host}/{}", name.split(':').next().unwrap())
        );
        let version = image["labels"].as_array().unwrap();
        let version = version.iter().find(|l| l["name"] == "version").unwrap();
        assert_eq!(version["value"], name.split(':').nth(1).unwrap());
        assert!(
            rkt.ok(&["list", "--full"])
                .contains(&format!("{host}/{name}"))
        );
        rkt.ok(&["rm", uuid]);
    }
    let (_pod, uuid) = rkt.start_sandbox(&["--net=none"]);
    rkt.ok(&["app", "add", &uuid, &registry.image("my/other:v9")]);
    let manifest = rkt.json(&["cat-manifest", &uuid]);
    assert_eq!(manifest["apps"][0]["name"], "other");
    assert_eq!(
        manifest["apps"][0]["image"]["name"],
        format!("{host}/my/other")
    );
}

#[test]
fn an_export_is_the_same_each_time() {
    let (rkt, registry) = (Rkt::new(), Registry::start());
    let mut layout = Layout::new(rkt.path("layout"));
    // Neither `/` nor `/deep` has an entry of its own, nor has what is taken away again.
    let lower = Layer::new().file("deep/file", 0o644, "x");
    let lower = lower.file("gone/file", 0o644, "x");
    let upper = Layer::new().whiteout("gone");
    layout.add(&script("true", &[lower, upper]), "it");
    registry.push(&layout.reference("it"), "my/app:v1", &[]);
    let fetch = [OPEN, "fetch", "--full", &registry.image("my/app:v1")];
    let id = rkt.strict(&fetch).expect(0).text().trim().to_owned();
    let export = |name: &str| {
        let file = rkt.path(name);
        rkt.ok(&["image", "export", &id, file.to_str().unwrap()]);
        std::fs::read(file).unwrap()
    };
    let first = export("a.aci");
    // Times have a resolution of a second in an archive.
    let second = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let begun = second();
    e2e::until(Duration::from_secs(5), "the next second", || {
        second() > begun
    });
    assert!(first == export("b.aci"));
    let directory = rkt.path("rendered");
    rkt.ok(&["image", "render", &id, directory.to_str().unwrap()]);
    assert!(directory.join("rootfs/deep/file").exists());
    assert!(!directory.join("rootfs/gone").exists());
}
