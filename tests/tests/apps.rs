//! `rkt run` of one app and of several: arguments, names, exit statuses.

use e2e::{Rkt, fixtures};
use serde_json::json;

#[test]
fn an_image_file_runs_and_its_output_and_status_come_out() {
    let rkt = Rkt::new();
    let image = rkt.image(&fixtures::busybox());
    let output = rkt.run(&["run", "--net=none", &image]).expect(0);
    assert!(
        output.stdout.contains("hello from busybox"),
        "{}",
        output.all()
    );
    rkt.assert_clean();
}

#[test]
fn the_exit_status_of_a_failing_app_is_that_of_rkt_run() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    for code in [1, 7, 255] {
        rkt.run(&[
            "run",
            "--net=none",
            &image,
            "--exec=/probe",
            "--",
            "exit",
            &code.to_string(),
        ])
        .expect(code);
    }
    rkt.assert_clean();
}

#[test]
fn an_app_killed_by_a_signal_fails_the_pod() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let output = rkt.run(&[
        "run",
        "--net=none",
        &image,
        "--exec=/probe",
        "--",
        "signal",
        "9",
    ]);
    assert_eq!(output.code, 128 + 9, "{}", output.all());
    rkt.assert_clean();
}

#[test]
fn arguments_follow_the_executable_of_their_own_image() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let output = rkt.run(&[
        "run",
        "--net=none",
        &image,
        "--name=one",
        "--exec=/bin/echo",
        "--",
        "first",
        "--flag",
        "---",
        &image,
        "--name=two",
        "--exec=/bin/echo",
        "--",
        "second",
        "a b",
    ]);
    let output = output.expect(0);
    let lines = output.app_lines();
    assert!(lines.contains(&"first --flag"), "{}", output.stdout);
    assert!(lines.contains(&"second a b"), "{}", output.stdout);
    rkt.assert_clean();
}

#[test]
fn arguments_are_appended_to_the_images_own() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox().exec(&["/bin/echo", "own"]));
    let output = rkt
        .run(&["run", "--net=none", &image, "--", "more"])
        .expect(0);
    assert_eq!(output.app_lines(), ["own more"]);
}

#[test]
fn every_app_of_a_pod_has_its_own_root_and_shares_the_network() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let serve = "touch /only-here; echo shared | nc -l -p 7000";
    let ask = "until nc 127.0.0.1 7000 </dev/null; do :; done; ls /only-here 2>&1";
    let output = rkt.run(&[
        "run",
        "--net=none",
        &image,
        "--name=serve",
        "--exec=/bin/sh",
        "--",
        "-c",
        serve,
        "---",
        &image,
        "--name=ask",
        "--exec=/bin/sh",
        "--",
        "-c",
        &format!("{ask}; true"),
    ]);
    let output = output.expect(0);
    assert!(output.stdout.contains("shared"), "{}", output.all());
    assert!(output.stdout.contains("No such file"), "{}", output.all());
    rkt.assert_clean();
}

#[test]
fn the_first_failing_app_ends_the_pod() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let output = rkt.run(&[
        "run",
        "--net=none",
        &image,
        "--name=waits",
        "--exec=/probe",
        "--",
        "sleep",
        "---",
        &image,
        "--name=fails",
        "--exec=/probe",
        "--",
        "exit",
        "3",
    ]);
    output.expect(3);
    rkt.assert_clean();
}

#[test]
fn two_apps_of_one_name_are_refused() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let output = rkt.run(&["run", "--net=none", &image, &image]);
    output.refused(&["probe"]);
    assert_eq!(rkt.pods(), Vec::<String>::new());
}

#[test]
fn a_pod_manifest_is_run_as_it_stands() {
    let rkt = Rkt::new();
    let id = rkt.fetch(&fixtures::busybox());
    let manifest = json!({
        "acVersion": "0.8.11", "acKind": "PodManifest",
        "apps": [{
            "name": "from-manifest",
            "image": {"id": id},
            "app": {
                "exec": ["/bin/sh", "-c", "echo $WORD; exit 4"], "user": "0", "group": "0",
                "environment": [{"name": "WORD", "value": "written down"}],
            },
        }],
        "annotations": [{"name": "example.com/unknown", "value": "kept"}],
    });
    let file = rkt.path("pod.json");
    std::fs::write(&file, manifest.to_string()).unwrap();
    let save = rkt.path("uuid");
    let (file, save) = (file.display().to_string(), save.display().to_string());
    let output = rkt.run(&[
        "run",
        "--net=none",
        &format!("--uuid-file-save={save}"),
        "--pod-manifest",
        &file,
    ]);
    let output = output.expect(4);
    assert!(
        output.app_lines().contains(&"written down"),
        "{}",
        output.stdout
    );
    let shown = rkt.json(&["cat-manifest", "--uuid-file", &save]);
    assert_eq!(shown["apps"][0]["name"], "from-manifest");
    assert_eq!(shown["annotations"][0]["value"], "kept");
}

#[test]
fn a_pod_manifest_goes_with_no_image() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let file = rkt.path("pod.json");
    std::fs::write(&file, "{}").unwrap();
    rkt.run(&["run", &format!("--pod-manifest={}", file.display()), &image])
        .refused(&["pod-manifest"]);
    rkt.run(&["run", &format!("--pod-manifest={}", file.display())])
        .refused(&[]);
    assert_eq!(rkt.pods(), Vec::<String>::new());
}

#[test]
fn running_again_from_the_store_needs_no_file() {
    let rkt = Rkt::new();
    let path = rkt.image(&fixtures::busybox());
    let id = rkt.ok(&["fetch", &path]);
    std::fs::remove_file(&path).unwrap();
    for name in [
        id.as_str(),
        "example.com/busybox",
        "example.com/busybox:1.35.0",
    ] {
        let output = rkt.run(&["run", "--net=none", name]).expect(0);
        assert!(
            output.stdout.contains("hello from busybox"),
            "{name}: {}",
            output.all()
        );
    }
    rkt.assert_clean();
}
