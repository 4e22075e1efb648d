//! Pods whose apps come and go: `rkt app`.

use std::time::Duration;

use e2e::{Rkt, Running, fixtures, until};

const LIMIT: Duration = Duration::from_secs(60);

fn sandbox(rkt: &Rkt) -> (Running, String, String) {
    let image = rkt.fetch(&fixtures::busybox());
    let (pod, uuid) = rkt.start_sandbox(&["--net=none"]);
    (pod, uuid, image)
}

fn add(rkt: &Rkt, uuid: &str, image: &str, name: &str, script: &str) {
    let name = format!("--name={name}");
    let shell = ["--exec=/bin/sh", "--", "-c", script];
    rkt.ok(&[&["app", "add", uuid, image, &name][..], &shell].concat());
}

fn on(rkt: &Rkt, verb: &str, uuid: &str, app: &str) -> e2e::Output {
    rkt.run(&["app", verb, uuid, &format!("--app={app}")])
}

fn state(rkt: &Rkt, uuid: &str, app: &str) -> String {
    let status = rkt.json(&[
        "app",
        "status",
        uuid,
        &format!("--app={app}"),
        "--format=json",
    ]);
    status["state"].as_str().unwrap().to_owned()
}

pub(crate) fn await_state(rkt: &Rkt, uuid: &str, app: &str, wanted: &str) {
    until(LIMIT, &format!("app {app} to be {wanted}"), || {
        state(rkt, uuid, app) == wanted
    });
}

#[test]
fn apps_are_added_started_stopped_and_removed() {
    let rkt = Rkt::new();
    let (mut pod, uuid, image) = sandbox(&rkt);
    assert_eq!(rkt.ok(&["app", "list", "--no-legend", &uuid]), "");
    add(
        &rkt,
        &uuid,
        &image,
        "web",
        "echo started; touch /mark; exec sleep 1000",
    );
    assert_eq!(state(&rkt, &uuid, "web"), "created");
    on(&rkt, "start", &uuid, "web").expect(0);
    pod.await_stdout("started");
    assert_eq!(state(&rkt, &uuid, "web"), "running");
    // Again has no effect.
    on(&rkt, "start", &uuid, "web").expect(0);
    assert_eq!(
        rkt.ok(&[
            "app",
            "exec",
            "--app=web",
            &uuid,
            "/bin/sh",
            "-c",
            "ls /mark; hostname"
        ]),
        format!("/mark\nrkt-{uuid}")
    );
    assert_eq!(rkt.ok(&["app", "list", &uuid]), "NAME\tSTATE\nweb\trunning");
    on(&rkt, "stop", &uuid, "web").expect(0);
    let status = rkt.ok(&["app", "status", &uuid, "--app=web"]);
    for line in ["name=web", "state=exited", "exit_code=143"] {
        assert!(status.lines().any(|l| l == line), "{line}: {status}");
    }
    on(&rkt, "stop", &uuid, "web").refused(&["web", "not running"]);
    // Its files are there when it starts again, and gone with it.
    on(&rkt, "start", &uuid, "web").expect(0);
    assert_eq!(state(&rkt, &uuid, "web"), "running");
    on(&rkt, "rm", &uuid, "web").expect(0);
    assert_eq!(rkt.ok(&["app", "list", "--no-legend", &uuid]), "");
    assert_eq!(rkt.status(&uuid, "state").as_deref(), Some("running"));
    add(&rkt, &uuid, &image, "web", "ls /mark");
    on(&rkt, "start", &uuid, "web").expect(0);
    await_state(&rkt, &uuid, "web", "exited");
    rkt.ok(&["stop", &uuid]);
    let output = pod.finish().expect(0);
    assert!(
        output.stderr.contains("/mark: No such file"),
        "{}",
        output.all()
    );
    assert_ne!(rkt.status(&uuid, "app-web").as_deref(), Some("0"));
    rkt.assert_clean();
}

#[test]
fn apps_survive_each_others_failure() {
    let rkt = Rkt::new();
    let (pod, uuid, image) = sandbox(&rkt);
    add(&rkt, &uuid, &image, "good", "exec sleep 1000");
    add(&rkt, &uuid, &image, "bad", "exit 7");
    rkt.ok(&[
        "app",
        "add",
        &uuid,
        &image,
        "--name=missing",
        "--exec=/nowhere",
    ]);
    for app in ["good", "bad"] {
        on(&rkt, "start", &uuid, app).expect(0);
    }
    on(&rkt, "start", &uuid, "missing").refused(&["/nowhere"]);
    await_state(&rkt, &uuid, "bad", "exited");
    let status = rkt.json(&["status", "--format=json", &uuid]);
    assert_eq!(status["state"], "running");
    let codes: Vec<_> = status["apps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|app| {
            (
                app["name"].as_str().unwrap(),
                app["state"].as_str().unwrap(),
                app["exit_code"].as_i64(),
            )
        })
        .collect();
    assert_eq!(
        codes,
        [
            ("good", "running", None),
            ("bad", "exited", Some(7)),
            ("missing", "exited", Some(203))
        ]
    );
    rkt.ok(&["stop", &uuid]);
    pod.finish().expect(0);
    rkt.assert_clean();
}

#[test]
fn an_apps_processes_end_with_it() {
    let rkt = Rkt::new();
    let (_pod, uuid, image) = sandbox(&rkt);
    add(
        &rkt,
        &uuid,
        &image,
        "web",
        "(trap '' TERM; exec sleep 4321) & exec sleep 1000",
    );
    on(&rkt, "start", &uuid, "web").expect(0);
    let sleepers = || {
        let all = rkt.processes();
        all.iter()
            .filter(|(_, name)| name == "sleep" || name == "busybox")
            .count()
    };
    until(LIMIT, "both processes", || sleepers() == 2);
    on(&rkt, "stop", &uuid, "web").expect(0);
    until(LIMIT, "the orphan's end", || sleepers() == 0);
    rkt.ok(&["stop", &uuid]);
}

#[test]
fn volumes_and_streams_come_with_the_app() {
    let rkt = Rkt::new();
    let (_pod, uuid, image) = sandbox(&rkt);
    let host = rkt.path("shared");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("from-host"), "hello").unwrap();
    let volume = |name: &str, rest: &str| format!("--mnt-volume=name={name},{rest}");
    let shared = volume(
        "shared",
        &format!(
            "kind=host,source={},target=/shared,readOnly=true",
            host.display()
        ),
    );
    let own = volume("own", "kind=empty,mode=0700,target=/own");
    rkt.ok(&[
        "app",
        "add",
        &uuid,
        &image,
        "--name=web",
        &shared,
        &own,
        "--stdout=stream",
        "--stdin=stream",
        "--exec=/bin/sh",
    ]);
    on(&rkt, "start", &uuid, "web").expect(0);
    let file = rkt.path("script");
    let script = "cat /shared/from-host; echo; touch /shared/x 2>/dev/null || echo read-only; stat -c %a /own; echo mine > /own/file; exit\n";
    std::fs::write(&file, script).unwrap();
    let mut command = rkt.command(&["attach", "--app=web", &uuid]);
    command.stdin(std::fs::File::open(file).unwrap());
    let output = Running::start_with_stdin(command).finish().expect(0);
    assert_eq!(output.stdout, "hello\nread-only\n700\n");
    let mounts = rkt.json(&["app", "status", "--app=web", "--format=json", &uuid]);
    let path = mounts["mounts"][1]["host_path"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        std::fs::read_to_string(format!("{path}/file")).unwrap(),
        "mine\n"
    );
    on(&rkt, "rm", &uuid, "web").expect(0);
    assert!(!std::path::Path::new(&path).exists());
    assert_eq!(
        std::fs::read_to_string(host.join("from-host")).unwrap(),
        "hello"
    );
    rkt.ok(&["stop", &uuid]);
    rkt.await_state(&uuid, "exited");
    rkt.assert_clean();
}

#[test]
fn twenty_apps_come_and_go_at_once() {
    let rkt = Rkt::new();
    let (pod, uuid, image) = sandbox(&rkt);
    let call = |args: &[&str]| Running::start(rkt.command(args));
    let names: Vec<String> = (0..20).map(|n| format!("app{n}")).collect();
    let flags = |name: &String| (format!("--name={name}"), format!("--app={name}"));
    let adding: Vec<Running> = names
        .iter()
        .map(|name| {
            let (name, _) = flags(name);
            call(&[
                "app",
                "add",
                &uuid,
                &image,
                &name,
                "--exec=/bin/sleep",
                "--",
                "1000",
            ])
        })
        .collect();
    // Whoever looks meanwhile sees whole manifests.
    let mut seen = 0;
    until(LIMIT, "twenty apps", || {
        let status = rkt.json(&["status", "--format=json", &uuid]);
        let now = status["apps"].as_array().map_or(0, Vec::len);
        assert!(now >= seen, "{now} after {seen}");
        seen = now;
        now == 20
    });
    for running in adding {
        running.finish().expect(0);
    }
    let each = |verb: &str| {
        let started: Vec<Running> = names
            .iter()
            .map(|name| call(&["app", verb, &uuid, &flags(name).1]))
            .collect();
        for running in started {
            running.finish().expect(0);
        }
    };
    each("start");
    assert!(
        names
            .iter()
            .all(|name| state(&rkt, &uuid, name) == "running")
    );
    each("rm");
    assert_eq!(rkt.ok(&["app", "list", "--no-legend", &uuid]), "");
    rkt.ok(&["stop", &uuid]);
    pod.finish().expect(0);
    rkt.assert_clean();
}

#[test]
fn an_add_that_was_killed_can_be_repeated() {
    let rkt = Rkt::new();
    let (_pod, uuid, image) = sandbox(&rkt);
    for round in 0..15u64 {
        let args = [
            "app",
            "add",
            &uuid,
            &image,
            "--name=x",
            "--exec=/bin/sleep",
            "--",
            "1000",
        ];
        let running = Running::start(rkt.command(&args));
        std::thread::sleep(Duration::from_micros(700 * round));
        running.signal(rustix::process::Signal::KILL);
        let killed = running.finish().code != 0;
        if killed {
            // Its entrypoint may be at work for another moment.
            until(LIMIT, "the add to be repeated", || {
                let code = rkt.run(&args).code;
                code == 0 || on(&rkt, "start", &uuid, "x").code == 0
            });
        }
        on(&rkt, "start", &uuid, "x").expect(0);
        on(&rkt, "rm", &uuid, "x").expect(0);
    }
    rkt.ok(&["stop", &uuid]);
    rkt.await_state(&uuid, "exited");
    rkt.assert_clean();
}

#[test]
fn mistakes_are_refused() {
    let rkt = Rkt::new();
    let (_pod, uuid, image) = sandbox(&rkt);
    add(&rkt, &uuid, &image, "web", "exec sleep 1000");
    let again = rkt.run(&["app", "add", &uuid, &image, "--name=web"]);
    again.refused(&["web", "already", "--name"]);
    rkt.run(&["app", "add", &uuid, "example.com/none"])
        .refused(&["example.com/none"]);
    rkt.run(&["app", "add", &uuid]).refused(&["image"]);
    rkt.run(&["app", "add", &uuid, &image, "--name=Not A Name"])
        .refused(&["--name"]);
    on(&rkt, "start", &uuid, "other").refused(&["other", "web"]);
    on(&rkt, "stop", &uuid, "web").refused(&["not running"]);
    rkt.run(&["app", "rm", &uuid]).refused(&["app to remove"]);
    rkt.run(&["app", "stop", &uuid]).refused(&["app to stop"]);
    let status = rkt.run(&["app", "status", &uuid, "--app=other"]);
    assert!(status.expect(1).stderr.contains("other"));
    rkt.run(&["app", "list", "ffffffff"]).expect(1);
    let (_fixed, fixed) = rkt.start_pod(&["--net=none", &image, "--exec=/bin/sleep", "--", "1000"]);
    rkt.run(&["app", "add", &fixed, &image, "--name=b"])
        .refused(&["immutable", "sandbox"]);
    on(&rkt, "stop", &fixed, "busybox").refused(&["immutable"]);
}

#[test]
fn flags_of_an_app_follow_its_image() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let (running, uuid) = rkt.start_sandbox(&["--net=none"]);
    rkt.run(&["app", "add", &uuid, "--name=early", &image])
        .refused(&["--name must follow an image"]);
    rkt.run(&["app", "add", &uuid, "--", "x", "---", &image])
        .refused(&["-- must follow an image"]);
    rkt.run(&["app", "add", &uuid]).refused(&["one image"]);
    rkt.run(&["app", "add", &uuid, &image, &image])
        .refused(&["one image"]);
    for bad in [
        "--name=Not_A_Name",
        "--mnt-volume=name=x",
        "--memory=much",
        "--environment=novalue",
    ] {
        let flag = bad.split('=').next().unwrap();
        rkt.run(&["app", "add", &uuid, &image, bad])
            .refused(&[flag]);
    }
    assert_eq!(rkt.ok(&["app", "list", "--no-legend", &uuid]), "");
    rkt.ok(&["stop", "--force", &uuid]);
    running.finish();
    rkt.assert_clean();
}
