//! Event handlers: pre-start and post-stop.

use e2e::{Rkt, fixtures};
use serde_json::json;

fn with_handlers(before: &str, after: &str) -> e2e::Aci {
    let handler =
        |name: &str, script: &str| json!({"name": name, "exec": ["/bin/sh", "-c", script]});
    fixtures::busybox().mount_point("notes", "/notes").app(
        "eventHandlers",
        json!([handler("pre-start", before), handler("post-stop", after)]),
    )
}

fn run(rkt: &Rkt, aci: &e2e::Aci, script: &str) -> (e2e::Output, String) {
    let image = rkt.fetch(aci);
    let notes = rkt.path("notes");
    std::fs::create_dir(&notes).unwrap();
    let volume = format!("--volume=notes,kind=host,source={}", notes.display());
    let output = rkt.run(&[
        "run",
        "--net=none",
        &volume,
        &image,
        "--user=1000",
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ]);
    let text = std::fs::read_to_string(notes.join("log")).unwrap_or_default();
    (output, text)
}

#[test]
fn they_run_as_root_around_the_app() {
    let rkt = Rkt::new();
    let aci = with_handlers(
        "echo before $(id -u) > /notes/log; chmod 666 /notes/log 2>/dev/null || dd if=/dev/null of=/dev/null",
        "echo after $(id -u) >> /notes/log",
    );
    let (output, log) = run(&rkt, &aci, "id -u");
    let output = output.expect(0);
    assert!(output.app_lines().contains(&"1000"), "{}", output.stdout);
    assert_eq!(log, "before 0\nafter 0\n");
    rkt.assert_clean();
}

/// What they write goes where the app's output goes.
#[test]
fn their_output_is_the_apps() {
    let rkt = Rkt::new();
    let aci = with_handlers("echo before", "echo after; echo wrong >&2");
    let (output, _) = run(&rkt, &aci, "echo between");
    let output = output.expect(0);
    assert_eq!(output.app_lines(), ["before", "between", "after"]);
    let image = rkt.fetch(&aci);
    let empty = "--volume=notes,kind=empty";
    let quiet = ["--stdout=null", "--exec=/bin/true"];
    let output = rkt.run(&[&["run", "--net=none", empty, &image], &quiet[..]].concat());
    let output = output.expect(0);
    assert!(!output.all().contains("after"), "{}", output.all());
    assert!(output.all().contains("wrong"), "{}", output.all());
    rkt.assert_clean();
}

#[test]
fn post_stop_runs_after_a_failure_too() {
    let rkt = Rkt::new();
    let (output, log) = run(
        &rkt,
        &with_handlers("true", "echo after >> /notes/log"),
        "exit 9",
    );
    output.expect(9);
    assert_eq!(log, "after\n");
}

#[test]
fn a_failing_pre_start_keeps_the_app_from_starting() {
    let rkt = Rkt::new();
    let (output, _) = run(&rkt, &with_handlers("exit 5", "true"), "echo started");
    assert_ne!(output.code, 0);
    assert!(!output.app_lines().contains(&"started"), "{}", output.all());
    rkt.assert_clean();
}
