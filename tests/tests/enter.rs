//! `rkt enter` and `rkt app exec`: a command beside an app, as the app.

use e2e::{Rkt, Running, fixtures};
use serde_json::Value;

/// A pod whose app, an ordinary user with an environment and a directory of its own, reported what
/// it is.
fn pod(rkt: &Rkt) -> (Running, String, Value) {
    let image = fixtures::busybox()
        .copy(&fixtures::program("probe"), "/probe", 0o755)
        .dir("/srv", 0o755)
        .isolator("os/linux/no-new-privileges", true.into())
        .isolator(
            "os/linux/capabilities-retain-set",
            serde_json::json!({"set": ["CAP_NET_BIND_SERVICE"]}),
        );
    let image = rkt.fetch(&image);
    let script = "/probe report; exec sleep 1000";
    let (mut running, uuid) = rkt.start_pod(&[
        "--net=none",
        &image,
        "--name=app",
        "--user=1000",
        "--group=50",
        "--supplementary-gids=7,8",
        "--environment=GREETING=hello",
        "--working-dir=/srv",
        "--memory=100M",
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ]);
    running.await_stdout("oom_score_adj");
    let line = running.stdout();
    let report = line.split_once('{').map(|(_, rest)| format!("{{{rest}"));
    let report = serde_json::from_str(report.unwrap().lines().next().unwrap()).unwrap();
    (running, uuid, report)
}

fn end(rkt: &Rkt, running: Running, uuid: &str) {
    rkt.ok(&["stop", "--force", uuid]);
    running.finish();
    rkt.assert_clean();
}

#[test]
fn the_command_is_what_the_app_is() {
    let rkt = Rkt::new();
    let (running, uuid, app) = pod(&rkt);
    for command in [&["enter"][..], &["app", "exec"]] {
        let entered = rkt.run(&[command, &[&uuid, "/probe", "report"]].concat());
        let entered = entered.expect(0).report();
        for key in ["cwd", "cgroups", "namespaces", "hostname", "oom_score_adj"] {
            assert_eq!(entered[key], app[key], "{key}");
        }
        for key in [
            "Uid",
            "Gid",
            "Groups",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "Seccomp",
            "NoNewPrivs",
        ] {
            assert_eq!(entered["status"][key], app["status"][key], "{key}");
        }
        assert_eq!(entered["env"]["GREETING"], "hello");
        for (name, value) in app["env"].as_object().unwrap() {
            // Set by the shell in between.
            if !["SHLVL", "PWD", "OLDPWD"].contains(&name.as_str()) {
                assert_eq!(&entered["env"][name], value, "{name}");
            }
        }
    }
    assert_eq!(app["status"]["Seccomp"], "2");
    assert_eq!(app["status"]["NoNewPrivs"], "1");
    end(&rkt, running, &uuid);
}

#[test]
fn privileged_is_roots_old_way() {
    let rkt = Rkt::new();
    let (running, uuid, app) = pod(&rkt);
    let args = ["enter", "--privileged", &uuid, "/probe", "report"];
    let entered = rkt.run(&args).expect(0).report();
    assert_eq!(entered["status"]["Uid"], "0\t0\t0\t0");
    assert_eq!(entered["status"]["Seccomp"], "0");
    assert_eq!(entered["status"]["NoNewPrivs"], "0");
    assert_eq!(entered["cwd"], "/");
    assert_eq!(entered["env"].get("GREETING"), None);
    assert_eq!(entered["namespaces"], app["namespaces"]);
    let bounds = |report: &Value| {
        u64::from_str_radix(report["status"]["CapEff"].as_str().unwrap(), 16).unwrap()
    };
    assert!(bounds(&entered).count_ones() > 30, "{entered}");
    assert_eq!(bounds(&app).count_ones(), 1);
    end(&rkt, running, &uuid);
}

#[test]
fn a_terminal_has_the_callers_size_and_passes_the_status_on() {
    let rkt = Rkt::new();
    let (running, uuid, _) = pod(&rkt);
    let script = "tty; stty size; exit 43";
    let args = ["enter", &uuid, "/bin/sh", "-c", script];
    let output = rkt.on_terminal(&args, &[]);
    assert!(output.stdout.contains("/dev/pts/"), "{}", output.stdout);
    assert!(output.stdout.contains("33 77"), "{}", output.stdout);
    assert_eq!(output.code, 43);
    // ^C reaches the command, not rkt.
    let waits = "trap 'echo caught; exit 44' INT; echo ready; while :; do sleep 0.1; done";
    let args = ["enter", &uuid, "/bin/sh", "-c", waits];
    let output = rkt.on_terminal(&args, &[("ready", "\u{3}")]);
    assert!(output.stdout.contains("caught"), "{}", output.stdout);
    assert_eq!(output.code, 44);
    end(&rkt, running, &uuid);
}
