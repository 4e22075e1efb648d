//! Logs for the kubelet: the annotations of a pod and its apps that lead lines to files of the
//! host.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{Rkt, Running, SmallDisk, fixtures};

const POD: &str = "--annotation=coreos.com/rkt/experiment/logmode=k8s-plain";

/// A pod whose logs go to a directory below the test's.
struct Pod<'r> {
    rkt: &'r Rkt,
    uuid: String,
    image: String,
    logs: PathBuf,
    _running: Running,
}

impl<'r> Pod<'r> {
    fn start(rkt: &'r Rkt, flags: &[&str]) -> Self {
        let logs = rkt.path("logs");
        fs::create_dir_all(&logs).unwrap();
        let image = rkt.fetch(&fixtures::busybox());
        let annotation = dir(&logs);
        let all = [&["--net=none", POD, &annotation], flags].concat();
        let (running, uuid) = rkt.start_sandbox(&all);
        Self {
            rkt,
            uuid,
            image,
            logs,
            _running: running,
        }
    }

    fn add(&self, name: &str, file: &str, flags: &[&str], script: &str) -> e2e::Output {
        let (name, file) = (format!("--name={name}"), path(file));
        let head = ["app", "add", &self.uuid, &self.image, &name, &file];
        let tail = ["--exec=/bin/sh", "--", "-c", script];
        self.rkt.run(&[&head, flags, &tail].concat())
    }

    fn start_app(&self, name: &str) -> e2e::Output {
        let name = format!("--app={name}");
        self.rkt.run(&["app", "start", &self.uuid, &name])
    }

    fn run(&self, name: &str, file: &str, flags: &[&str], script: &str) {
        self.add(name, file, flags, script).expect(0);
        self.run_again(name);
    }

    /// Starts an app and waits for its end.
    fn run_again(&self, name: &str) {
        self.start_app(name).expect(0);
        let app = format!("--app={name}");
        e2e::until(std::time::Duration::from_secs(30), "the app's end", || {
            let status = ["app", "status", &self.uuid, &app, "--format=json"];
            self.rkt.json(&status)["state"] == "exited"
        });
    }

    /// The lines of a file, without their times, which are checked.
    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.logs.join(file)).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{text}");
        let lines = text.lines().map(|line| {
            let (time, rest) = line.split_once(' ').unwrap();
            let digits = time.replace(|c: char| c.is_ascii_digit(), "0");
            let parts = digits.split_once('.');
            let (whole, fraction) = parts.unwrap_or_else(|| panic!("{line}"));
            assert_eq!(whole, "0000-00-00T00:00:00", "{line}");
            let fraction = fraction.strip_suffix('Z').unwrap();
            assert!((1..=9).contains(&fraction.len()), "{line}");
            rest.to_owned()
        });
        lines.collect()
    }

    fn stop(self) {
        self.rkt.ok(&["stop", "--force", &self.uuid]);
        self.rkt.await_state(&self.uuid, "exited");
        self.rkt.assert_clean();
    }
}

fn dir(logs: &Path) -> String {
    let name = "coreos.com/rkt/experiment/kubernetes-log-dir";
    format!("--annotation={name}={}", logs.display())
}

fn path(file: &str) -> String {
    format!("--annotation=coreos.com/rkt/experiment/kubernetes-log-path={file}")
}

#[test]
fn lines_go_to_the_apps_file_in_every_mode() {
    let rkt = Rkt::new();
    let pod = Pod::start(&rkt, &[]);
    let script = "echo one; echo two >&2; sleep 0.1; printf three";
    let expected = ["stderr two", "stdout one", "stdout three"];
    let sorted = |file: &str| {
        let mut lines = pod.lines(file);
        lines.sort();
        lines
    };
    fs::create_dir(pod.logs.join("web")).unwrap();
    pod.run("web", "web/0.log", &[], script);
    assert_eq!(sorted("web/0.log"), expected);
    // The pod's own log has them as well.
    let log = rkt.ok(&["logs", "--app=web", "--format=cat", &pod.uuid]);
    assert!(log.contains("one") && log.contains("two") && log.contains("three"));
    let stream = ["--stdout=stream", "--stderr=stream"];
    pod.run("streams", "streams.log", &stream, script);
    assert_eq!(sorted("streams.log"), expected);
    // What is not kept otherwise is not kept there.
    pod.run("quiet", "quiet.log", &["--stderr=null"], script);
    assert_eq!(pod.lines("quiet.log"), ["stdout one", "stdout three"]);
    // Another start goes on where the first one ended.
    pod.run_again("quiet");
    assert_eq!(pod.lines("quiet.log").len(), 4);
    let meta = fs::metadata(pod.logs.join("quiet.log")).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o640));
    // Nobody in the pod sees the files.
    pod.run("looks", "looks.log", &[], "ls /rkt /proc/1/root/rkt; true");
    assert!(
        pod.lines("looks.log")
            .iter()
            .all(|l| !l.contains("kubernetes"))
    );
    pod.stop();
}

/// What holds an app's output open when the app is started again does not take its last words along.
#[test]
fn what_an_earlier_start_wrote_is_passed_on() {
    let rkt = Rkt::new();
    let pod = Pod::start(&rkt, &[]);
    let script = "rm -f /said; (printf partial; echo > /said; exec sleep 1000) &
        until [ -e /said ]; do sleep 0.01; done";
    pod.run("app", "app.log", &[], script);
    pod.run_again("app");
    assert_eq!(pod.lines("app.log"), ["stdout partial"]);
    pod.run_again("app");
    assert_eq!(pod.lines("app.log"), ["stdout partial", "stdout partial"]);
    let log = rkt.ok(&["logs", "--app=app", "--format=cat", &pod.uuid]);
    assert_eq!(log.lines().filter(|line| *line == "partial").count(), 2);
    pod.stop();
}

#[test]
fn the_files_are_the_hosts_whatever_the_pods_ids() {
    let rkt = Rkt::new();
    let pod = Pod::start(&rkt, &["--private-users"]);
    pod.run("app", "app.log", &[], "echo mapped");
    assert_eq!(pod.lines("app.log"), ["stdout mapped"]);
    assert_eq!(fs::metadata(pod.logs.join("app.log")).unwrap().uid(), 0);
    pod.stop();
}

#[test]
fn a_prepared_pod_has_them_too() {
    let rkt = Rkt::new();
    let logs = rkt.path("logs");
    fs::create_dir(&logs).unwrap();
    let id = rkt.fetch(&fixtures::busybox());
    let note = |name: &str, value: &str| {
        let name = format!("coreos.com/rkt/experiment/{name}");
        serde_json::json!({"name": name, "value": value})
    };
    let manifest = serde_json::json!({
        "acVersion": "0.8.11",
        "acKind": "PodManifest",
        "annotations": [
            note("logmode", "k8s-plain"),
            note("kubernetes-log-dir", logs.to_str().unwrap()),
        ],
        "apps": [{
            "name": "app",
            "image": {"id": id},
            "app": {"exec": ["/bin/echo", "hello"], "user": "0", "group": "0"},
            "annotations": [note("kubernetes-log-path", "app.log")],
        }],
    });
    let file = rkt.path("pod.json");
    fs::write(&file, manifest.to_string()).unwrap();
    let file = format!("--pod-manifest={}", file.display());
    rkt.run(&["run", "--net=none", &file]).expect(0);
    let text = fs::read_to_string(logs.join("app.log")).unwrap();
    assert!(text.ends_with(" stdout hello\n"), "{text}");
    rkt.assert_clean();
}

#[test]
fn nothing_leads_out_of_the_directory() {
    let rkt = Rkt::new();
    let pod = Pod::start(&rkt, &[]);
    let elsewhere = rkt.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(elsewhere.join("file"), pod.logs.join("link")).unwrap();
    symlink(&elsewhere, pod.logs.join("dir")).unwrap();
    let victim = rkt.path("victim");
    fs::write(&victim, "mine\n").unwrap();
    fs::hard_link(&victim, pod.logs.join("hard")).unwrap();
    let pipe = pod.logs.join("pipe");
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    for (n, file) in ["../x", "/x", "a/../../x", ".", "a/"]
        .into_iter()
        .enumerate()
    {
        let name = format!("bad{n}");
        let added = pod.add(&name, file, &[], "echo no");
        match file {
            // A directory that is not there is found out when the file is opened.
            "a/" => {
                added.expect(0);
                pod.start_app(&name).refused(&["open log", "a/"]);
            }
            _ => drop(added.refused(&["kubernetes-log-path", file])),
        }
    }
    for (name, file) in [
        ("link", "link"),
        ("dir", "dir/x"),
        ("pipe", "pipe"),
        ("hard", "hard"),
        ("missing", "missing/x"),
    ] {
        pod.add(name, file, &[], "echo yes").expect(0);
        pod.start_app(name).refused(&["open log", file]);
        let app = format!("--app={name}");
        let status = rkt.json(&["app", "status", &pod.uuid, &app, "--format=json"]);
        assert_eq!(
            (&status["state"], &status["exit_code"]),
            (&"exited".into(), &203.into())
        );
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine\n");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    // It can be started once what was wrong is mended.
    fs::create_dir(pod.logs.join("missing")).unwrap();
    pod.run_again("missing");
    assert_eq!(pod.lines("missing/x"), ["stdout yes"]);
    pod.stop();
}

#[test]
fn annotations_that_say_nothing_useful_are_refused() {
    let rkt = Rkt::new();
    let logs = rkt.path("logs");
    let other = POD.replace("k8s-plain", "other");
    for (flags, words) in [
        (vec![POD.to_owned()], ["kubernetes-log-dir", "absolute"]),
        (vec![other, dir(&rkt.path("x"))], ["logmode", "other"]),
        (
            vec![POD.to_owned(), dir(Path::new("rel"))],
            ["kubernetes-log-dir", "absolute"],
        ),
        (vec![POD.to_owned(), dir(&logs)], ["volume source", "logs"]),
    ] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        rkt.run(&[&["app", "sandbox", "--net=none"], &flags[..]].concat())
            .refused(&words);
    }
    rkt.assert_clean();
}

/// A full disk stops no app; what is lost is told once there is room again.
#[test]
fn a_full_disk_loses_lines_and_says_so() {
    let rkt = Rkt::new();
    let logs = rkt.path("logs");
    fs::create_dir(&logs).unwrap();
    let disk = SmallDisk::mount(&logs, "64k");
    let pod = Pod::start(&rkt, &[]);
    let script = "i=0; while [ $i -lt 2000 ]; do echo line number $i; i=$((i+1)); done; read wait; echo after";
    pod.add("app", "app.log", &["--stdin=stream"], script)
        .expect(0);
    pod.start_app("app").expect(0);
    e2e::until(std::time::Duration::from_secs(30), "all lines", || {
        let log = rkt.ok(&["logs", "--app=app", "--format=cat", &pod.uuid]);
        log.contains("line number 1999")
    });
    let file = fs::OpenOptions::new()
        .write(true)
        .open(logs.join("app.log"))
        .unwrap();
    let full = fs::read_to_string(logs.join("app.log")).unwrap();
    assert!(full.len() > 60 << 10 && full.ends_with('\n'), "{full}");
    let kept = full.bytes().filter(|byte| *byte == b'\n').count();
    // There is room once the beginning is gone, as after a rotation by copying.
    file.set_len(1000).unwrap();
    let input = rkt.path("input");
    fs::write(&input, "\n").unwrap();
    let mut command = rkt.command(&["attach", "--mode=stdin", &pod.uuid]);
    command.stdin(fs::File::open(input).unwrap());
    Running::start_with_stdin(command).finish().expect(0);
    e2e::until(std::time::Duration::from_secs(30), "the last line", || {
        fs::read_to_string(logs.join("app.log"))
            .unwrap()
            .ends_with("stdout after\n")
    });
    let text = fs::read_to_string(logs.join("app.log")).unwrap();
    let told = text.lines().rev().nth(1).unwrap();
    assert!(
        told.ends_with(&format!(
            " stdout rkt: {} lines were lost: No space left on device (os error 28)",
            2000 - kept
        )),
        "{told}, {kept} kept"
    );
    // No line is begun that does not end, by either stream.
    let script = "cat /dev/zero | tr '\\0' x | head -c 70000 | fold -w 100; echo wrong >&2";
    pod.run("torn", "torn.log", &["--stderr=stream"], script);
    disk.resize("1m");
    pod.run_again("torn");
    let lines = pod.lines("torn.log");
    assert_eq!(lines.last().unwrap().len(), "stdout ".len() + 100);
    assert!(lines.contains(&"stderr wrong".to_owned()));
    pod.stop();
}
