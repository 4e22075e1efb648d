//! Commands that end or change one pod, all at once, again and again.

use std::process::Output;

use e2e::{Rkt, Running, fixtures};

/// How often; every time a new pod.
const ROUNDS: usize = 100;

fn sandbox_with_apps(rkt: &Rkt, image: &str) -> (Running, String) {
    let (running, uuid) = rkt.start_sandbox(&["--net=none"]);
    for name in ["one", "two"] {
        let name = format!("--name={name}");
        let sleep = ["--exec=/bin/sleep", "--", "1000"];
        rkt.ok(&[&["app", "add", &uuid, image, &name], &sleep[..]].concat());
    }
    rkt.ok(&["app", "start", "--app=one", &uuid]);
    (running, uuid)
}

/// A clear refusal or success; never a crash, a hang, or a word about something broken.
fn assert_sane(command: &[&str], output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(
        matches!(code, Some(0 | 254)),
        "{command:?}: {:?}: {stderr}",
        output.status
    );
    assert!(!stderr.contains("panicked"), "{command:?}: {stderr}");
    assert!(
        code == Some(0) || !stderr.is_empty(),
        "{command:?} failed without a word"
    );
}

#[test]
fn ending_commands_race_on_one_pod() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    for round in 0..ROUNDS {
        let (running, uuid) = sandbox_with_apps(&rkt, &image);
        let commands: [&[&str]; 7] = [
            &["stop", &uuid],
            &["stop", "--force", &uuid],
            &["app", "rm", "--app=one", &uuid],
            &["app", "rm", "--app=two", &uuid],
            &["rm", &uuid],
            &["gc", "--grace-period=0s"],
            &["status", &uuid],
        ];
        // Another one is first every time.
        let order = (0..commands.len()).map(|n| commands[(n * 3 + round) % commands.len()]);
        let children: Vec<_> = order
            .map(|args| {
                let mut command = rkt.command(args);
                let piped = std::process::Stdio::piped;
                let child = command.stdout(piped()).stderr(piped()).spawn().unwrap();
                (args, child)
            })
            .collect();
        for (args, child) in children {
            assert_sane(args, &child.wait_with_output().unwrap());
        }
        let code = running.finish().code;
        assert!(code < 200 || code == 254, "rkt app sandbox: {code}");
        if round % 20 == 19 {
            rkt.assert_clean();
        }
    }
    rkt.assert_clean();
}

#[test]
fn the_same_app_is_added_started_and_removed_by_many() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let (running, uuid) = rkt.start_sandbox(&["--net=none"]);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..8 {
                    let sleep = ["--exec=/bin/sleep", "--", "1000"];
                    let add = ["app", "add", &uuid, &image, "--name=same"];
                    for args in [
                        &[&add, &sleep[..]].concat()[..],
                        &["app", "start", "--app=same", &uuid],
                        &["app", "stop", "--app=same", &uuid],
                        &["app", "rm", "--app=same", &uuid],
                    ] {
                        let output = rkt.command(args).output().unwrap();
                        assert_sane(args, &output);
                    }
                }
            });
        }
    });
    // Whatever the last of them left, the pod still takes orders.
    let _ = rkt.run(&["app", "rm", "--app=same", &uuid]);
    assert_eq!(rkt.ok(&["app", "list", "--no-legend", &uuid]), "");
    rkt.ok(&["stop", "--force", &uuid]);
    running.finish();
    rkt.assert_clean();
}
