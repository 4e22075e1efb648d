//! The rules of the page "rkt configuration", with its own examples.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use config::{Auth, Config, Credentials, Dirs, Measuring, Paths, Stage1, Tpm};
use serde_json::{Value, json};

struct Machine {
    _root: tempfile::TempDir,
    dirs: Dirs,
}

impl Machine {
    fn new(files: &[(&str, Value)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let dirs = Dirs {
            system: at("system"),
            local: at("local"),
            user: Some(at("user")),
        };
        let machine = Self { dirs, _root: root };
        for (name, value) in files {
            machine.write(name, &value.to_string());
        }
        machine
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dirs.system.parent().unwrap().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn message(&self) -> String {
        let error = Config::load(&self.dirs).unwrap_err();
        match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        }
    }
}

/// A file of this kind with these other fields.
fn file(kind: &str, more: Value) -> Value {
    let mut value = json!({"rktKind": kind, "rktVersion": "v1"});
    value
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    value
}

fn oauth(domains: &[&str], token: &str) -> Value {
    file(
        "auth",
        json!({"domains": domains, "type": "oauth", "credentials": {"token": token}}),
    )
}

fn basic(domains: &[&str], user: &str) -> Value {
    let credentials = json!({"user": user, "password": "bar"});
    file(
        "auth",
        json!({"domains": domains, "type": "basic", "credentials": credentials}),
    )
}

#[test]
fn auth_is_overridden_domain_by_domain() {
    let all = ["coreos.com", "tectonic.com", "kubernetes.io"];
    let machine = Machine::new(&[
        ("system/auth.d/coreos.json", oauth(&all, "common-token")),
        (
            "local/auth.d/specific-coreos.json",
            basic(&["coreos.com"], "foo"),
        ),
        (
            "user/auth.d/specific-tectonic.json",
            oauth(&["tectonic.com"], "tectonic-token"),
        ),
    ]);
    let hosts = Credentials::load(&machine.dirs).unwrap().hosts;
    let token = |host: &str| match &hosts[host] {
        Auth::OAuth { token } => token.reveal(),
        other => panic!("{other:?}"),
    };
    assert_eq!(token("kubernetes.io"), "common-token");
    assert_eq!(token("tectonic.com"), "tectonic-token");
    assert!(matches!(&hosts["coreos.com"], Auth::Basic(b) if b.user == "foo"));
    assert!(!format!("{hosts:?}").contains("tectonic-token"));
}

#[test]
fn the_printed_entries_are_one_for_each_host() {
    let docker = json!({"registries": ["quay.io"], "credentials": {"user": "d", "password": "p"}});
    let machine = Machine::new(&[
        (
            "local/auth.d/basic.json",
            basic(&["foo.com", "bar.com"], "sysUser"),
        ),
        ("user/auth.d/basic.json", basic(&["foo.com"], "user")),
        ("local/auth.d/docker.json", file("dockerAuth", docker)),
        (
            "local/paths.d/p.json",
            file("paths", json!({"data": "/data"})),
        ),
    ]);
    let text = Config::load(&machine.dirs).unwrap().to_json().to_string();
    assert_eq!(
        text,
        r#"{"stage0":[{"rktVersion":"v1","rktKind":"auth","domains":["bar.com"],"type":"basic","credentials":{"user":"sysUser","password":"bar"}},{"rktVersion":"v1","rktKind":"auth","domains":["foo.com"],"type":"basic","credentials":{"user":"user","password":"bar"}},{"rktVersion":"v1","rktKind":"dockerAuth","registries":["quay.io"],"credentials":{"user":"d","password":"p"}},{"rktVersion":"v1","rktKind":"paths","data":"/data"}]}"#
    );
}

#[test]
fn paths_are_overridden_one_by_one() {
    let both = json!({"data": "/opt/data", "stage1-images": "/opt/stage1"});
    let machine = Machine::new(&[
        ("system/paths.d/a.json", file("paths", both)),
        (
            "local/paths.d/b.json",
            file("paths", json!({"data": "/home/me/rkt"})),
        ),
    ]);
    let paths = Paths::load(&machine.dirs).unwrap();
    assert_eq!(paths.data.as_deref(), Some(Path::new("/home/me/rkt")));
    let stage1 = paths.stage1_images.as_deref();
    assert_eq!(stage1, Some(Path::new("/opt/stage1")));
}

#[test]
fn measuring_is_configured_field_by_field() {
    let tpm = |more: Value| file("tpm", more);
    let machine = Machine::new(&[
        (
            "system/tpm.d/s.json",
            tpm(json!({"measure": "tpmd", "address": "127.0.0.1:1"})),
        ),
        ("local/tpm.d/l.json", tpm(json!({"address": "[::1]:12041"}))),
    ]);
    let merged = Tpm::load(&machine.dirs).unwrap();
    assert_eq!(merged.measure, Some(Measuring::Tpmd));
    assert_eq!(merged.address.as_deref(), Some("[::1]:12041"));
    let printed = Config::load(&machine.dirs).unwrap().to_json();
    assert_eq!(printed["stage0"][0]["measure"], "tpmd");
    for wrong in [
        json!({"measure": "yes"}),
        json!({"address": "localhost"}),
        json!({"address": "a/b:80"}),
        json!({"address": "a:99999"}),
    ] {
        let machine = Machine::new(&[("local/tpm.d/l.json", tpm(wrong.clone()))]);
        assert!(Tpm::load(&machine.dirs).is_err(), "{wrong}");
    }
}

#[test]
fn stage1_names_and_locations_are_overridden_apart() {
    let name = "coreos.com/rkt/stage1-coreos";
    let all = json!({"name": name, "version": "0.15.0+git", "location": "/usr/libexec/rkt/s.aci"});
    let url = "https://example.com/coreos-stage1.aci";
    let machine = Machine::new(&[
        ("system/stage1.d/c.json", file("stage1", all)),
        (
            "local/stage1.d/l.json",
            file("stage1", json!({"location": url})),
        ),
    ]);
    let stage1 = Stage1::load(&machine.dirs).unwrap();
    assert_eq!(
        stage1.image.unwrap(),
        (name.to_owned(), "0.15.0+git".to_owned())
    );
    assert_eq!(stage1.location.as_deref(), Some(url));
}

#[test]
fn what_is_no_configuration_is_left_alone() {
    let nonsense = json!({"rktKind": "nonsense"});
    let machine = Machine::new(&[("local/paths.d/deeper/a.json", nonsense)]);
    machine.write("local/paths.d/README.md", "not JSON");
    machine.write("local/elsewhere.json", "not JSON");
    let link = machine.dirs.local.join("paths.d/l.json");
    std::os::unix::fs::symlink("../elsewhere.json", link).unwrap();
    assert_eq!(Config::load(&machine.dirs).unwrap(), Config::default());
}

#[test]
fn mistakes_name_the_file_and_the_field_but_no_secret() {
    let auth = |more| ("auth.d", file("auth", more));
    let cases = [
        (("paths.d", json!({"rktVersion": "v1"})), "\"rktKind\""),
        (("paths.d", json!({"rktKind": "paths"})), "\"rktVersion\""),
        (
            ("paths.d", json!({"rktKind": "paths", "rktVersion": "v9"})),
            "\"v9\"",
        ),
        (("paths.d", file("auth", json!({}))), "belongs into paths.d"),
        (
            ("paths.d", file("paths", json!({"data": "relative"}))),
            "absolute",
        ),
        (
            ("stage1.d", file("stage1", json!({"name": "x"}))),
            "\"version\"",
        ),
        (
            ("stage1.d", file("stage1", json!({"location": "ftp://x"}))),
            "\"location\"",
        ),
        (auth(json!({"domains": [], "type": "basic"})), "\"domains\""),
        (
            auth(json!({"domains": ["a/b"], "type": "basic"})),
            "\"domains\"",
        ),
        (
            auth(json!({"domains": ["a"], "type": "hunter2"})),
            "\"type\"",
        ),
        (
            auth(json!({"domains": ["a"], "type": "oauth", "credentials": {"token": ["hunter2"]}})),
            "\"credentials.token\"",
        ),
        (
            auth(json!({"domains": ["a"], "type": "basic", "credentials": "hunter2"})),
            "\"credentials\"",
        ),
        (
            auth(
                json!({"domains": ["a"], "type": "basic", "credentials": {"password": "hunter2"}}),
            ),
            "\"credentials.user\"",
        ),
    ];
    for ((dir, value), word) in cases {
        let message = Machine::new(&[(&format!("local/{dir}/bad.json"), value)]).message();
        assert!(
            message.contains("bad.json") && message.contains(word),
            "{message}"
        );
        assert!(!message.contains("hunter2"), "{message}");
    }
    let machine = Machine::new(&[]);
    machine.write("local/auth.d/bad.json", r#"{"token": "hunter2", hunter2}"#);
    let message = machine.message();
    assert!(
        message.contains("bad.json") && !message.contains("hunter2"),
        "{message}"
    );
}

#[test]
fn one_directory_says_a_thing_once() {
    let machine = Machine::new(&[
        ("local/auth.d/a.json", basic(&["coreos.com"], "foo")),
        ("local/auth.d/b.json", basic(&["coreos.com"], "baz")),
    ]);
    let message = machine.message();
    for word in ["coreos.com", "a.json", "b.json"] {
        assert!(message.contains(word), "{message}");
    }
}
