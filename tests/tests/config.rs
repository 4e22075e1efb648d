//! The configuration directories, as commands obey them.

use std::fs;
use std::path::Path;
use std::process::Command;

use e2e::{Aci, Compression, Output, Rkt, Running, fixtures};
use serde_json::{Value, json};

fn write(dir: &Path, name: &str, mut value: Value) {
    value["rktVersion"] = "v1".into();
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, value.to_string()).unwrap();
}

/// Without `--dir`, so that the configuration says where the data is.
fn configured(rkt: &Rkt, args: &[&str]) -> Output {
    let mut command = Command::new(fixtures::program("rkt"));
    command.arg(format!("--system-config={}", rkt.path("system").display()));
    command.arg(format!("--local-config={}", rkt.path("local").display()));
    command.arg(format!("--user-config={}", rkt.path("user").display()));
    command.arg("--insecure-options=image").args(args);
    Running::start(command).finish()
}

#[test]
fn the_data_directory_is_the_configured_one() {
    let rkt = Rkt::new();
    let data = |name: &str| json!({"rktKind": "paths", "data": rkt.path(name)});
    write(&rkt.path("system"), "paths.d/a.json", data("elsewhere"));
    write(&rkt.path("user"), "paths.d/b.json", data("data"));
    let image = rkt.image(&fixtures::busybox());
    configured(&rkt, &["fetch", &image]).expect(0);
    assert!(rkt.ok(&["image", "list"]).contains("example.com/busybox"));
    assert!(!rkt.path("elsewhere").exists());
    let shown = configured(&rkt, &["config"]).expect(0);
    let shown: Value = serde_json::from_str(shown.text()).unwrap();
    let path = rkt.path("data");
    assert_eq!(
        shown,
        json!({"stage0": [{"rktVersion": "v1", "rktKind": "paths", "data": path}]})
    );
    let one_line = configured(&rkt, &["config", "--pretty-print=false"]).expect(0);
    assert_eq!(one_line.text().lines().count(), 1);
}

#[test]
fn a_mistake_in_a_file_names_it() {
    let rkt = Rkt::new();
    write(
        &rkt.path("local"),
        "paths.d/wrong.json",
        json!({"rktKind": "paths", "data": "relative"}),
    );
    configured(&rkt, &["image", "list"]).refused(&["wrong.json", "\"data\"", "absolute"]);
    rkt.run(&["config"]).refused(&["wrong.json"]);
}

/// An image of the native stage1 under another name: the one that the store has, copied.
fn other_stage1(rkt: &Rkt, name: &str) -> Aci {
    let output = Command::new("tar")
        .args(["-xOf"])
        .arg(exported(rkt))
        .arg("manifest")
        .output()
        .unwrap();
    let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut aci = Aci::new(name).label("version", "1.2.3");
    for annotation in manifest["annotations"].as_array().unwrap() {
        let text = |key: &str| annotation[key].as_str().unwrap();
        aci = aci.annotation(text("name"), text("value"));
    }
    aci
}

fn exported(rkt: &Rkt) -> std::path::PathBuf {
    let path = rkt.path("native.aci");
    if !path.exists() {
        let names = rkt.ok(&["image", "list", "--fields=name", "--no-legend", "--full"]);
        let name = names.lines().find(|n| n.contains("stage1")).unwrap().trim();
        rkt.ok(&["image", "export", name, path.to_str().unwrap()]);
    }
    path
}

#[test]
fn the_default_stage1_is_the_configured_one() {
    let rkt = Rkt::new();
    let image = rkt.image(&fixtures::busybox());
    rkt.run(&["run", "--net=none", &image]).expect(0);
    let broken = rkt.path("images/other.aci");
    fs::create_dir(rkt.path("images")).unwrap();
    other_stage1(&rkt, "example.com/other-stage1")
        .write(&broken, Compression::None)
        .unwrap();
    write(
        &rkt.local_config(),
        "stage1.d/a.json",
        json!({"rktKind": "stage1", "name": "example.com/other-stage1", "version": "1.2.3"}),
    );
    // Not in the store, and no location.
    rkt.run(&["run", "--net=none", &image])
        .refused(&["example.com/other-stage1", "no location"]);
    write(
        &rkt.local_config(),
        "stage1.d/b.json",
        json!({"rktKind": "stage1", "location": broken}),
    );
    // It has a manifest and no programs, so this is the one that is taken.
    rkt.run(&["prepare", &image]).expect(0);
    assert!(
        rkt.ok(&["image", "list"])
            .contains("example.com/other-stage1:1.2.3")
    );
    // The flag is stronger.
    write(
        &rkt.local_config(),
        "paths.d/p.json",
        json!({"rktKind": "paths", "stage1-images": rkt.path("")}),
    );
    rkt.run(&["run", "--stage1-from-dir=native.aci", "--net=none", &image])
        .expect(0);
}
