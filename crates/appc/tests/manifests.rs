//! Whole manifests: what is read, how it is written back, what is refused and how that is said.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

use appc::{AcIdentifier, AcName, App, Error, ImageManifest, IsolatorValue, PodManifest, Volume};
use serde_json::{Value, json};

const IMAGE: &[u8] = include_bytes!("../../../fuzz/seeds/image_manifest/reduce-worker.json");
const ISOLATORS: &[u8] = include_bytes!("../../../fuzz/seeds/image_manifest/isolators.json");
const STAGE1: &[u8] = include_bytes!("../../../fuzz/seeds/image_manifest/stage1.json");
const IMAGE_NULLS: &[u8] = include_bytes!("../../../fuzz/seeds/image_manifest/nulls.json");
const POD: &[u8] = include_bytes!("../../../fuzz/seeds/pod_manifest/reduce-worker.json");
const POD_NULLS: &[u8] = include_bytes!("../../../fuzz/seeds/pod_manifest/nulls.json");

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_specifications_image() {
    let image = ImageManifest::parse(IMAGE).unwrap();
    assert_eq!(image.name, "example.com/reduce-worker");
    assert_eq!(image.version(), Some("1.0.0"));
    assert_eq!(
        image.annotations.get("homepage"),
        Some("https://example.com")
    );
    assert_eq!(image.dependencies[0].size, Some(22_017_258));
    let app = image.app.as_ref().unwrap();
    assert_eq!(app.working_directory(), "/opt/work");
    assert_eq!(app.environment.get("REDUCE_WORKER_DEBUG"), Some("true"));
    assert_eq!((app.ports[0].count, app.ports[1].count), (1, 1000));
    assert_eq!(app.isolators.decode().unwrap().len(), 3);
}

#[test]
fn the_specifications_pod() {
    let pod = PodManifest::parse(POD).unwrap();
    let names: Vec<_> = pod.apps.iter().map(|app| app.name.as_str()).collect();
    assert_eq!(names, ["reduce-worker", "backup", "register"]);
    let backup = pod.app("backup").unwrap();
    assert_eq!(
        pod.volume_of(&backup.mounts[0]).unwrap().source.as_deref(),
        Some("/opt/tenant1/work")
    );
    assert_eq!(pod.volume_of(&backup.mounts[1]).unwrap().mode_bits(), 0o700);
    assert!(pod.app("register").unwrap().app.is_none());
}

#[test]
fn manifests_are_written_back_to_the_same_bytes() {
    for seed in [IMAGE, ISOLATORS, STAGE1, IMAGE_NULLS] {
        let first = ImageManifest::parse(seed).unwrap();
        let again = ImageManifest::parse(&first.to_json()).unwrap();
        assert_eq!(first, again);
        assert_eq!(text(first.to_json()), text(again.to_json()));
    }
    for seed in [POD, POD_NULLS] {
        let first = PodManifest::parse(seed).unwrap();
        let again = PodManifest::parse(&first.to_json()).unwrap();
        assert_eq!(first, again);
        assert_eq!(text(first.to_json()), text(again.to_json()));
    }
}

#[test]
fn nothing_of_a_seed_is_lost() {
    // Flags at their default and empty lists may come and go; every other member must stay.
    fn lost(before: &Value, after: &Value, path: &str) {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => {
                for (key, value) in before {
                    let path = format!("{path}.{key}");
                    match after.get(key) {
                        Some(after) => lost(value, after, &path),
                        None => assert!(
                            [json!(false), json!(null), json!({})].contains(value),
                            "{path}"
                        ),
                    }
                }
            }
            (Value::Array(before), Value::Array(after)) => {
                assert_eq!(before.len(), after.len(), "{path}");
                for (i, (before, after)) in before.iter().zip(after).enumerate() {
                    lost(before, after, &format!("{path}[{i}]"));
                }
            }
            (Value::Null, after) if *after == json!([]) => {}
            (before, after) => assert_eq!(before, after, "{path}"),
        }
    }
    let value = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    for seed in [IMAGE, ISOLATORS, STAGE1, IMAGE_NULLS] {
        lost(
            &value(seed),
            &value(&ImageManifest::parse(seed).unwrap().to_json()),
            "image",
        );
    }
    for seed in [POD, POD_NULLS] {
        lost(
            &value(seed),
            &value(&PodManifest::parse(seed).unwrap().to_json()),
            "pod",
        );
    }
}

#[test]
fn members_stand_in_the_order_of_the_specification() {
    let mut image = ImageManifest::new(AcIdentifier::parse("example.com/a").unwrap());
    image.app = Some(App::new(vec!["/a".to_owned()]));
    assert_eq!(
        text(image.to_json()),
        r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/a","app":{"exec":["/a"],"user":"0","group":"0"}}"#
    );
    let mut pod = PodManifest::new();
    pod.volumes.push(Volume::empty(AcName::parse("v").unwrap()));
    assert_eq!(
        text(pod.to_json()),
        r#"{"acVersion":"0.8.11","acKind":"PodManifest","apps":[],"volumes":[{"name":"v","kind":"empty","mode":"0755","uid":0,"gid":0}],"isolators":[],"annotations":[],"ports":[]}"#
    );
    image.validate().unwrap();
    pod.validate().unwrap();
}

#[test]
fn unknown_isolators_survive() {
    let image = ImageManifest::parse(ISOLATORS).unwrap();
    let isolators = &image.app.as_ref().unwrap().isolators;
    assert_eq!(
        isolators.decode().unwrap().last(),
        Some(&IsolatorValue::Unknown)
    );
    let written = text(image.to_json());
    assert!(
        written.contains(r#"{"name":"example.com/future","value":{"a":[1,2.5,null,{"b":"c"}]}}"#),
        "{written}"
    );
    assert!(
        written.ends_with(r#","futureMember":{"z":1,"a":[true]}}"#),
        "{written}"
    );
}

/// Sets the member at a JSON pointer (its parent must exist) and gives the error's text.
fn broken<T>(
    seed: &[u8],
    parse: fn(&[u8]) -> Result<T, Error>,
    pointer: &str,
    value: Value,
) -> String {
    let mut manifest: Value = serde_json::from_slice(seed).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match manifest.pointer_mut(parent).unwrap() {
        Value::Object(members) => drop(members.insert(key.to_owned(), value)),
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        other => panic!("{pointer} is in {other}"),
    }
    match parse(manifest.to_string().as_bytes()) {
        Ok(_) => panic!("{pointer} was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn errors_of_an_image_name_the_field() {
    for (pointer, value, message) in [
        (
            "/acKind",
            json!("PodManifest"),
            "acKind: must be ImageManifest, not \"PodManifest\"",
        ),
        (
            "/acVersion",
            json!("1"),
            "acVersion: invalid semantic version \"1\": must be MAJOR.MINOR.PATCH",
        ),
        (
            "/name",
            json!("Bad Name"),
            "name: invalid AC identifier \"Bad Name\": may only contain a-z, 0-9 and - . _ ~ /",
        ),
        (
            "/labels/-",
            json!({"name": "os", "value": "x"}),
            "labels[3]: os appears more than once",
        ),
        (
            "/labels/2/value",
            json!("plan9"),
            "labels: unknown os \"plan9\", must be one of darwin, freebsd, linux",
        ),
        ("/app/exec", json!([""]), "app.exec[0]: must not be empty"),
        (
            "/app/exec",
            json!("/bin/sh"),
            "app.exec: invalid type: string \"/bin/sh\", expected a sequence",
        ),
        (
            "/app/exec/1",
            json!("a\u{0}b"),
            "app.exec[1]: must not contain a NUL byte",
        ),
        ("/app/user", json!(""), "app.user: must not be empty"),
        (
            "/app/user",
            json!(0),
            "app.user: invalid type: integer `0`, expected a string",
        ),
        (
            "/app/workingDirectory",
            json!("work"),
            "app.workingDirectory: must be an absolute path",
        ),
        (
            "/app/supplementaryGIDs/0",
            json!(-1),
            "app.supplementaryGIDs[0]: invalid value: integer `-1`, expected u32",
        ),
        (
            "/app/eventHandlers/0/name",
            json!("post-stop"),
            "app.eventHandlers[1]: post-stop appears more than once",
        ),
        (
            "/app/eventHandlers/0/name",
            json!("on-fire"),
            "app.eventHandlers[0].name: unknown variant `on-fire`, expected `pre-start` or `post-stop`",
        ),
        (
            "/app/eventHandlers/0/exec",
            json!([]),
            "app.eventHandlers[0].exec: must not be empty",
        ),
        (
            "/app/environment/0/name",
            json!("A=B"),
            "app.environment[0].name: must not be empty nor contain =",
        ),
        (
            "/app/environment/-",
            json!({"name": "REDUCE_WORKER_DEBUG"}),
            "app.environment[1]: REDUCE_WORKER_DEBUG appears more than once",
        ),
        (
            "/app/mountPoints/0/path",
            json!("var"),
            "app.mountPoints[0].path: must be an absolute path",
        ),
        (
            "/app/mountPoints/0/name",
            json!("Work"),
            "app.mountPoints[0].name: invalid AC name \"Work\": may only contain a-z, 0-9 and -",
        ),
        (
            "/app/mountPoints/-",
            json!({"name": "work", "path": "/x"}),
            "app.mountPoints[1]: work appears more than once",
        ),
        (
            "/app/mountPoints/-",
            json!({"path": "/x"}),
            "app.mountPoints[1]: missing field `name`",
        ),
        (
            "/app/ports/0/port",
            json!(0),
            "app.ports[0].port: must be from 1 to 65535",
        ),
        (
            "/app/ports/1/port",
            json!(65000),
            "app.ports[1].count: the range must end at 65535 or before",
        ),
        (
            "/app/ports/1/name",
            json!("health"),
            "app.ports[1]: health appears more than once",
        ),
        (
            "/dependencies/0/imageID",
            json!("sha256-aa"),
            "dependencies[0].imageID: invalid image ID \"sha256-aa\": must begin with sha512-, the only hash algorithm allowed",
        ),
        (
            "/dependencies/0/labels/0/name",
            json!("env"),
            "dependencies[0].labels[1]: env appears more than once",
        ),
        (
            "/pathWhitelist/1",
            json!("usr"),
            "pathWhitelist[1]: must be an absolute path",
        ),
        (
            "/annotations/1/value",
            json!("yesterday"),
            "annotations[1].value: must be an RFC 3339 timestamp such as 2015-05-18T13:49:28-04:00",
        ),
        (
            "/annotations/3/value",
            json!("ftp://x"),
            "annotations[3].value: must be a URL with scheme http or https",
        ),
    ] {
        assert_eq!(broken(IMAGE, ImageManifest::parse, pointer, value), message);
    }
}

#[test]
fn errors_of_isolators_name_the_parameter() {
    for (index, value, message) in [
        (
            0,
            json!({"limit": "2M"}),
            "default: must be true for this resource",
        ),
        (
            1,
            json!({"default": true, "request": "1"}),
            "request: is not supported by this resource",
        ),
        (
            2,
            json!({"default": true, "limit": "fast"}),
            "limit: invalid quantity \"fast\": must be a number such as 500m, 1.5Gi, 2G or 1e9",
        ),
        (
            3,
            json!({"default": true}),
            "default: must be false for this resource",
        ),
        (4, json!({"limit": "-1"}), "limit: must not be negative"),
        (5, json!({"set": []}), "set: must not be empty"),
        (
            5,
            json!({"set": ["CAP_KILL", 1]}),
            "set[1]: invalid type: integer `1`, expected a string",
        ),
        (
            6,
            json!("yes"),
            ": invalid type: string \"yes\", expected a boolean",
        ),
        (
            7,
            json!({"set": ["a"], "errno": "eperm"}),
            "errno: must be the upper-case name of an error, such as EPERM",
        ),
        (8, json!(1001), ": must be from -1000 to 1000"),
        (9, json!(1), ": must be from 2 to 262144"),
        (
            10,
            json!({"user": "a:b", "role": "r", "type": "t", "level": "s0"}),
            "user: must not contain :",
        ),
        (11, json!({"profile": ""}), "profile: must not be empty"),
        (
            12,
            json!({"net..x": "1"}),
            ": \"net..x\" is not the name of a kernel parameter",
        ),
    ] {
        let pointer = format!("/app/isolators/{index}/value");
        let dot = if message.starts_with(':') { "" } else { "." };
        let expected = format!("app.isolators[{index}].value{dot}{message}");
        assert_eq!(
            broken(ISOLATORS, ImageManifest::parse, &pointer, value),
            expected
        );
    }
    let add = |value| broken(ISOLATORS, ImageManifest::parse, "/app/isolators/-", value);
    assert_eq!(
        add(json!({"name": "os/linux/capabilities-retain-set", "value": {"set": ["CAP_KILL"]}})),
        "app.isolators[14]: os/linux/capabilities-retain-set cannot be used with os/linux/capabilities-remove-set"
    );
    assert_eq!(
        add(json!({"name": "os/linux/seccomp-remove-set", "value": {"set": ["read"]}})),
        "app.isolators[14]: os/linux/seccomp-remove-set appears more than once"
    );
}

#[test]
fn errors_of_a_pod_name_the_field() {
    for (pointer, value, message) in [
        (
            "/acKind",
            json!("ImageManifest"),
            "acKind: must be PodManifest, not \"ImageManifest\"",
        ),
        (
            "/apps/1/name",
            json!("register"),
            "apps[2]: register appears more than once",
        ),
        (
            "/apps/0/image",
            json!({}),
            "apps[0].image: missing field `id`",
        ),
        (
            "/apps/0/image/id",
            json!("sha512-../../x"),
            "apps[0].image.id: invalid image ID \"sha512-../../x\": must be hexadecimal after sha512-",
        ),
        (
            "/apps/0/app/user",
            json!(""),
            "apps[0].app.user: must not be empty",
        ),
        (
            "/apps/0/mounts/0/path",
            json!("x"),
            "apps[0].mounts[0].path: must be an absolute path",
        ),
        (
            "/apps/1/mounts/1/appVolume/source",
            json!("/x"),
            "apps[1].mounts[1].appVolume.source: is not allowed for an empty volume",
        ),
        (
            "/volumes/0/kind",
            json!("disk"),
            "volumes[0].kind: unknown variant `disk`, expected `empty` or `host`",
        ),
        (
            "/volumes/0/source",
            json!(null),
            "volumes[0].source: is required for a host volume",
        ),
        (
            "/volumes/0/source",
            json!("x"),
            "volumes[0].source: must be an absolute path",
        ),
        (
            "/volumes/-",
            json!({"name": "work", "kind": "empty"}),
            "volumes[1]: work appears more than once",
        ),
        (
            "/ports/0/hostPort",
            json!(0),
            "ports[0].hostPort: must be from 1 to 65535",
        ),
        (
            "/ports/1/podPort/port",
            json!(0),
            "ports[1].podPort.port: must be from 1 to 65535",
        ),
        (
            "/ports/1/name",
            json!("ftp"),
            "ports[1]: ftp appears more than once",
        ),
        (
            "/isolators/0/value/limit",
            json!({}),
            "isolators[0].value.limit: expected a quantity: a string or a number",
        ),
    ] {
        assert_eq!(broken(POD, PodManifest::parse, pointer, value), message);
    }
}

#[test]
fn what_is_not_a_manifest_at_all() {
    let message = |bytes: &[u8]| ImageManifest::parse(bytes).unwrap_err().to_string();
    assert_eq!(
        message(b""),
        "not valid JSON at line 1, column 0: EOF while parsing a value"
    );
    assert_eq!(
        message(b"{\n\"acKind\": }"),
        "not valid JSON at line 2, column 11: expected value"
    );
    assert_eq!(
        message(b"\x7fELF"),
        "not valid JSON at line 1, column 1: expected value"
    );
    assert_eq!(message(b"{}"), "manifest: missing field `acKind`");
    assert_eq!(
        message(b"[]"),
        "manifest: invalid type: sequence, expected struct ImageManifest"
    );
    let with_tail = [IMAGE, b"{}"].concat();
    assert!(message(&with_tail).ends_with("trailing characters"));
    let large = vec![b' '; appc::MAX_MANIFEST + 1];
    assert!(matches!(
        ImageManifest::parse(&large),
        Err(Error::TooLarge { .. })
    ));
    let deep = format!("{}{}", r#"{"x":"#.repeat(100_000), "}".repeat(100_000));
    assert!(message(deep.as_bytes()).contains("recursion limit exceeded"));
}

#[test]
fn messages_stay_short_and_printable() {
    for name in ["x".repeat(1 << 20), "\u{1b}[2J".repeat(9)] {
        for pointer in [
            "/name",
            "/app/eventHandlers/0/name",
            "/app/environment/0/name",
            "/labels/2/value",
        ] {
            let twice = json!([{"name": name}, {"name": name}]);
            let (pointer, value) = match pointer.strip_suffix("/0/name") {
                Some(list) if list.ends_with("environment") => (list, twice),
                _ => (pointer, json!(name)),
            };
            let message = broken(IMAGE, ImageManifest::parse, pointer, value);
            assert!(message.len() < 2048, "{pointer}: {} bytes", message.len());
            assert!(
                !message.contains(char::is_control),
                "{pointer}: {message:?}"
            );
        }
    }
}
