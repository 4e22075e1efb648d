//! What users get wrong: values of flags, fields of pod manifests, and how much of something.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use e2e::{Rkt, fixtures};
use serde_json::{Value, json};

/// The kernel takes 64 bytes.
const LONG_HOSTNAME: &str =
    "--hostname=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Wrong values of flags before the image, with words that the error has.
const OF_THE_POD: &[(&str, &[&str])] = &[
    ("--dns=not-an-address", &["--dns", "not-an-address"]),
    ("--hosts-entry=no-equals", &["--hosts-entry", "no-equals"]),
    ("--hosts-entry=x=name", &["--hosts-entry", "x"]),
    (LONG_HOSTNAME, &["--hostname", "64"]),
    ("--ipc=shared", &["--ipc", "shared"]),
    ("--net=host", &["cannot be combined"]),
    ("--port=http", &["--port", "http"]),
    ("--port=http:99999", &["--port", "99999"]),
    ("--port=http:80", &["http"]),
    ("--pull-policy=sometimes", &["--pull-policy", "sometimes"]),
    ("--set-env=novalue", &["--set-env", "novalue"]),
    ("--set-env-file=/nowhere", &["/nowhere"]),
    ("--volume=data", &["--volume", "data"]),
    ("--volume=data,kind=tape", &["--volume", "tape"]),
    ("--volume=data,kind=host", &["--volume", "source"]),
    ("--volume=data,kind=host,source=rel", &["--volume", "rel"]),
    ("--volume=data,kind=empty,mode=9", &["--volume", "mode"]),
    ("--volume=data,kind=empty,color=red", &["--volume", "color"]),
    ("--mount=volume=data", &["--mount"]),
    ("--mount=volume=none,target=/x", &["none"]),
    ("--private-users=perhaps", &["--private-users", "perhaps"]),
    ("--no-overlay=perhaps", &["--no-overlay", "perhaps"]),
    ("--uuid-file-save=/nowhere/uuid", &["/nowhere/uuid"]),
    ("--pod-manifest=/nowhere", &["--pod-manifest"]),
    ("--stage1-path=/nowhere", &["/nowhere"]),
    ("--stage1-hash=sha512-zz", &["sha512-zz"]),
    ("--stage1-from-dir=../x", &["--stage1-from-dir", "a path"]),
    ("--insecure-options=everything", &["everything"]),
    ("--no-such-flag", &["no-such-flag"]),
];

/// Wrong values of flags after the image.
const OF_AN_APP: &[(&str, &[&str])] = &[
    ("--caps-retain=CAP_FLY", &["CAP_FLY"]),
    ("--caps-remove=mknod", &["mknod"]),
    ("--cpu=fast", &["--cpu", "fast"]),
    ("--cpu=-1", &["resource/cpu", "negative"]),
    ("--cpu-shares=many", &["--cpu-shares", "many"]),
    ("--memory=much", &["--memory", "much"]),
    ("--memory=-5M", &["memory", "-5M"]),
    ("--oom-score-adj=5000", &["oom-score-adj", "1000"]),
    ("--oom-score-adj=x", &["--oom-score-adj", "x"]),
    ("--seccomp=mode=perhaps,read", &["--seccomp", "perhaps"]),
    ("--seccomp=mode=retain,errno=EWHAT,read", &["EWHAT"]),
    ("--seccomp=mode=retain,no_such_call", &["no_such_call"]),
    ("--environment=novalue", &["--environment", "novalue"]),
    ("--name=Not_A_Name", &["--name", "Not_A_Name"]),
    ("--name=", &["--name"]),
    ("--name=a/../b", &["--name", "a/../b"]),
    ("--user=nobody-here", &["nobody-here"]),
    ("--group=nobody-here", &["nobody-here"]),
    ("--user=/no/such/file", &["/no/such/file"]),
    ("--supplementary-gids=1,x", &["--supplementary-gids", "x"]),
    (
        "--readonly-rootfs=perhaps",
        &["--readonly-rootfs", "perhaps"],
    ),
    ("--working-dir=relative", &["workingDirectory", "absolute"]),
    ("--mount=volume=none,target=/x", &["none"]),
    ("--stdin=log", &["--stdin", "log"]),
    ("--stdout=paper", &["--stdout", "paper"]),
    ("--stderr=paper", &["--stderr", "paper"]),
    ("--user-annotation=novalue", &["--user-annotation"]),
    ("--user-label=novalue", &["--user-label"]),
    ("--exec=/no/such/program", &["/no/such/program"]),
];

#[test]
fn wrong_values_of_flags_are_named() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let mut wrong = Vec::new();
    let mut check = |args: &[&str], words: &[&str]| {
        let output = rkt.run(args);
        let missing = words.iter().find(|word| !output.stderr.contains(**word));
        // An app that cannot start ends with the status of its own.
        let refused = output.code == 254 || output.code == 203;
        if missing.is_some() || !refused || output.stderr.contains("panicked") {
            wrong.push(format!("{args:?}: {} {:?}", output.code, output.stderr));
        }
    };
    for (flag, words) in OF_THE_POD {
        check(
            &["run", "--net=none", flag, &image, "--exec=/bin/true"],
            words,
        );
    }
    for (flag, words) in OF_AN_APP {
        check(&["run", "--net=none", &image, flag], words);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    rkt.assert_clean();
}

/// A pod manifest that is right.
fn manifest(image: &str) -> Value {
    json!({
        "acKind": "PodManifest", "acVersion": "0.8.11",
        "apps": [{
            "name": "app", "image": {"id": image},
            "app": {"exec": ["/bin/true"], "user": "0", "group": "0"},
        }],
        "volumes": [{"name": "data", "kind": "empty"}],
    })
}

/// A field, by its JSON pointer, a value that it cannot have, and words of the error.
fn wrong_fields() -> Vec<(&'static str, Value, &'static [&'static str])> {
    vec![
        ("/acKind", json!("ImageManifest"), &["acKind"]),
        ("/acKind", json!(1), &["acKind"]),
        ("/acVersion", json!("one"), &["acVersion"]),
        ("/apps", json!([]), &["no apps"]),
        ("/apps", json!({}), &["apps"]),
        ("/apps/0/name", json!("Not_A_Name"), &["name", "Not_A_Name"]),
        ("/apps/0/name", json!("../up"), &["name"]),
        ("/apps/0/image/id", json!("sha512-00"), &["sha512-00"]),
        ("/apps/0/image", json!({}), &["image"]),
        ("/apps/0/app/exec", json!("/bin/true"), &["exec"]),
        ("/apps/0/app/user", json!(""), &["user"]),
        ("/apps/0/app/group", json!(0), &["group"]),
        (
            "/apps/0/app/workingDirectory",
            json!("rel"),
            &["workingDirectory"],
        ),
        (
            "/apps/0/app/supplementaryGIDs",
            json!(["x"]),
            &["supplementaryGIDs"],
        ),
        (
            "/apps/0/app/environment",
            json!([{"name": "A=B", "value": ""}]),
            &["environment[0].name"],
        ),
        (
            "/apps/0/app/environment",
            json!({"A": "B"}),
            &["environment"],
        ),
        (
            "/apps/0/app/eventHandlers",
            json!([{"name": "never", "exec": ["/x"]}]),
            &["never"],
        ),
        (
            "/apps/0/app/mountPoints",
            json!([{"name": "x", "path": "rel"}]),
            &["mountPoints[0].path"],
        ),
        (
            "/apps/0/app/ports",
            json!([{"name": "p", "protocol": "tcp", "port": 70000}]),
            &["port"],
        ),
        (
            "/apps/0/app/isolators",
            json!([{"name": "resource/memory", "value": {"limit": "much"}}]),
            &["much"],
        ),
        (
            "/apps/0/mounts",
            json!([{"volume": "none", "path": "/x"}]),
            &["none"],
        ),
        (
            "/apps/0/annotations",
            json!([{"name": "BAD NAME", "value": "x"}]),
            &["BAD NAME"],
        ),
        (
            "/volumes",
            json!([{"name": "data", "kind": "tape"}]),
            &["tape"],
        ),
        (
            "/volumes",
            json!([{"name": "data", "kind": "host"}]),
            &["source"],
        ),
        (
            "/volumes",
            json!([{"name": "data", "kind": "empty"}, {"name": "data", "kind": "empty"}]),
            &["data"],
        ),
        (
            "/isolators",
            json!([{"name": "resource/cpu", "value": 5}]),
            &["isolators[0].value"],
        ),
        (
            "/ports",
            json!([{"name": "none", "hostPort": 80}]),
            &["none"],
        ),
    ]
}

#[test]
fn wrong_fields_of_a_pod_manifest_are_named() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let file = rkt.path("pod.json");
    let flag = format!("--pod-manifest={}", file.display());
    fs::write(&file, manifest(&image).to_string()).unwrap();
    rkt.run(&["run", "--net=none", &flag]).expect(0);
    let mut wrong = Vec::new();
    for (pointer, value, words) in wrong_fields() {
        let mut bad = manifest(&image);
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[field] = value.clone();
        fs::write(&file, bad.to_string()).unwrap();
        let output = rkt.run(&["run", "--net=none", &flag]);
        if output.code != 254 || words.iter().any(|word| !output.stderr.contains(word)) {
            wrong.push(format!(
                "{pointer} {value}: {} {:?}",
                output.code, output.stderr
            ));
        }
    }
    for text in [
        "",
        "{",
        "[]",
        "null",
        "\u{0}",
        "{\"acKind\":\"PodManifest\"}",
    ] {
        fs::write(&file, text).unwrap();
        let output = rkt.run(&["run", "--net=none", &flag]);
        if output.code != 254 || !output.stderr.contains("pod.json") {
            wrong.push(format!("{text:?}: {} {:?}", output.code, output.stderr));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    rkt.assert_clean();
}

#[test]
fn words_that_are_not_utf_8() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let bad = OsStr::from_bytes(b"--set-env=A=\xff\xfe");
    let mut command = rkt.command(&["run", "--net=none"]);
    let output = command.arg(bad).arg(&image).output().unwrap();
    assert_eq!(output.status.code(), Some(254));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("UTF-8"), "{stderr}");
    let mut command = rkt.command(&["run", "--net=none", &image, "--exec=/bin/echo", "--"]);
    let output = command.arg(OsStr::from_bytes(b"\xff")).output().unwrap();
    assert_eq!(output.status.code(), Some(254));
    // The caller's own environment may hold anything.
    let mut command = rkt.command(&[
        "run",
        "--net=none",
        "--inherit-env",
        &image,
        "--exec=/bin/env",
    ]);
    let odd = OsStr::from_bytes(b"\xff\"'\\\nB=c");
    let output = command
        .env("ODD", odd)
        .env("LINES", "1\n2=3")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("LINES=1\n"), "{stdout}");
    rkt.assert_clean();
}

#[test]
fn ten_thousand_mounts() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let mounts: Vec<_> = (0..10_000)
        .map(|n| json!({"volume": "data", "path": format!("/mounts/{}/{n}", n % 100)}))
        .collect();
    let mut many = manifest(&image);
    many["apps"][0]["mounts"] = json!(mounts);
    let script =
        "grep -c ' /mounts/' /proc/self/mountinfo; echo x > /mounts/0/0/f; cat /mounts/99/9999/f";
    many["apps"][0]["app"]["exec"] = json!(["/bin/sh", "-c", script]);
    let file = rkt.path("pod.json");
    fs::write(&file, many.to_string()).unwrap();
    let flag = format!("--pod-manifest={}", file.display());
    let output = rkt.run(&["run", "--net=none", &flag]).expect(0);
    assert_eq!(output.app_lines(), ["10000", "x"]);
    rkt.assert_clean();
}
