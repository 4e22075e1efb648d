//! Attaching to the streams and terminals of running apps.

use std::os::unix::net::UnixStream;
use std::process::Stdio;

use e2e::{Rkt, Running, fixtures, until};

const STREAMS: [&str; 3] = ["--stdin=stream", "--stdout=stream", "--stderr=stream"];
const TERMINAL: [&str; 3] = ["--stdin=tty", "--stdout=tty", "--stderr=tty"];

fn shell(rkt: &Rkt, modes: &[&str], script: &str) -> (Running, String) {
    let image = rkt.fetch(&fixtures::busybox());
    let head = ["--net=none", &image, "--name=app", "--exec=/bin/sh"];
    rkt.start_pod(&[&head[..], modes, &["--", "-c", script]].concat())
}

/// `rkt attach` with this text as its whole input.
fn attach(rkt: &Rkt, args: &[&str], input: &str) -> Running {
    let file = rkt.path(&format!("input-{}", input.len()));
    std::fs::write(&file, input).unwrap();
    let mut command = rkt.command(&[&["attach"], args].concat());
    command.stdin(std::fs::File::open(file).unwrap());
    Running::start_with_stdin(command)
}

#[test]
fn streams_are_listed_and_attached_to() {
    let rkt = Rkt::new();
    let (pod, uuid) = shell(&rkt, &STREAMS, "while read line; do eval \"$line\"; done");
    let list = rkt.ok(&["attach", "--mode=list", &uuid]);
    assert_eq!(list, "stdin\nstdout\nstderr");
    let mut first = attach(&rkt, &[&uuid], "echo to stdout\necho to stderr >&2\n");
    first.await_stdout("to stdout");
    until(std::time::Duration::from_secs(30), "stderr", || {
        first.stderr().contains("to stderr")
    });
    // The app goes on although its client has nothing more to say, and another one comes.
    let only_stderr = attach(
        &rkt,
        &["--mode=stdin,stderr", &uuid],
        "echo quiet; echo loud >&2\n",
    );
    until(std::time::Duration::from_secs(30), "stderr", || {
        only_stderr.stderr().contains("loud")
    });
    assert!(!only_stderr.stdout().contains("quiet"));
    // Both saw what was written while both were attached.
    first.await_stdout("quiet");
    attach(&rkt, &["--mode=stdin", &uuid], "exit 5\n")
        .finish()
        .expect(0);
    // At the app's end its clients end too.
    first.finish().expect(0);
    only_stderr.finish().expect(0);
    pod.finish().expect(5);
    rkt.assert_clean();
}

#[test]
fn what_was_written_before_can_be_replayed() {
    let rkt = Rkt::new();
    let (pod, uuid) = shell(&rkt, &STREAMS, "echo early; read line; echo got $line");
    let mut replayed = attach(&rkt, &["--mode=stdin,stdout", "--replay", &uuid], "late\n");
    replayed.await_stdout("early\n");
    replayed.await_stdout("got late\n");
    assert_eq!(replayed.finish().expect(0).stdout, "early\ngot late\n");
    pod.finish().expect(0);
}

#[test]
fn clients_that_do_not_read_flood_or_vanish_hold_nobody_up() {
    let rkt = Rkt::new();
    // Five megabytes, far more than any buffer on the way.
    let script = "echo ready; read go; yes 0123456789abcde | head -n 327680; echo; echo the end";
    let (mut pod, uuid) = shell(&rkt, &STREAMS, script);
    let pid = rkt.status(&uuid, "pid").unwrap();
    let socket = |name: &str| format!("/proc/{pid}/root/rkt/iottymux/app/sock-{name}");
    // One never reads, one is gone at once, one sends far more than the app will ever read.
    let silent = UnixStream::connect(socket("stdout")).unwrap();
    drop(UnixStream::connect(socket("stdout")).unwrap());
    let flood = UnixStream::connect(socket("stdin")).unwrap();
    flood.set_nonblocking(true).unwrap();
    let mut reader = attach(&rkt, &["--mode=stdout", "--replay", &uuid], "");
    reader.await_stdout("ready\n");
    use std::io::Write;
    let sent = [b"go\n".to_vec(), vec![b'x'; 1 << 20]].concat();
    let mut written = 0;
    while let Ok(n) = (&flood).write(&sent[written..]) {
        written += n;
        if written == sent.len() {
            break;
        }
    }
    assert!(written >= 3);
    reader.await_stdout("the end\n");
    let output = reader.finish().expect(0);
    let lines = output.stdout.lines().filter(|l| *l == "0123456789abcde");
    // Who reads as fast as it comes misses nothing; the kept part is smaller than the whole.
    assert!(lines.count() > 60_000, "{}", output.stdout.len());
    until(std::time::Duration::from_secs(30), "the pod's end", || {
        pod.try_status().is_some()
    });
    pod.finish().expect(0);
    drop((silent, flood));
    rkt.assert_clean();
}

#[test]
fn a_terminal_follows_its_client_and_is_left_running() {
    let rkt = Rkt::new();
    let script = "echo ready; while read line; do eval \"$line\"; done";
    let (pod, uuid) = shell(&rkt, &TERMINAL, script);
    assert_eq!(rkt.ok(&["attach", "--mode=list", &uuid]), "tty");
    let typed = "stty size; tty; echo don''e\n";
    let steps = [("ready", typed), ("done", "\x1d\x1d\x1d")];
    let output = rkt.on_terminal(&["attach", "--replay", &uuid], &steps);
    assert_eq!(output.code, 0, "{}", output.all());
    assert!(output.stdout.contains("33 77"), "{}", output.stdout);
    assert!(output.stdout.contains("/dev/"), "{}", output.stdout);
    // Detached: the app is there for the next one.
    assert_eq!(rkt.status(&uuid, "state").as_deref(), Some("running"));
    let mut output_only = attach(&rkt, &["--mode=tty-out", "--replay", &uuid], "");
    attach(&rkt, &["--mode=tty-in", &uuid], "echo secon''d\nexit 3\n");
    output_only.await_stdout("second");
    output_only.finish().expect(0);
    pod.finish().expect(3);
    rkt.assert_clean();
}

#[test]
fn wrong_modes_and_apps_are_refused() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let (_pod, uuid) = rkt.start_pod(&[
        "--net=none",
        &image,
        "--name=logs",
        "--exec=/bin/sleep",
        "--",
        "100",
        "---",
        &image,
        "--name=half",
        "--stdout=stream",
        "--exec=/bin/sleep",
        "--",
        "100",
    ]);
    for (args, words) in [
        (&["--app=logs"][..], &["no streams"][..]),
        (&["--app=half", "--mode=stdin"], &["no stdin", "stdout"]),
        (&["--app=half", "--mode=tty"], &["no tty"]),
        (&["--app=half", "--mode=nope"], &["--mode", "nope"]),
        (&["--app=half", "--mode=tty,stdin"], &["--mode"]),
        (&["--app=other"], &["other", "logs, half"]),
        (&[], &["--app"]),
    ] {
        let output = rkt.run(&[&["attach"], args, &[&uuid]].concat());
        output.refused(words);
    }
    for flag in ["--stdin=log", "--stdout=what", "--stderr="] {
        let output = rkt.run(&["run", "--net=none", &image, flag]);
        output.refused(&[flag.split('=').next().unwrap()]);
    }
}

#[test]
fn null_is_nowhere_and_apps_without_stdin_read_the_end() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let mut command = rkt.command(&[
        "run",
        "--net=none",
        &image,
        "--stdout=null",
        "--exec=/bin/sh",
        "--",
        "-c",
        "cat; echo unseen; echo seen >&2",
    ]);
    command.stdin(Stdio::null());
    let output = Running::start_with_stdin(command).finish().expect(0);
    assert!(!output.all().contains("unseen"), "{}", output.all());
    assert!(output.stderr.contains("seen"));
}
