//! Where the apps' output goes, and the terminal.

use std::process::Stdio;
use std::time::Duration;

use e2e::{Rkt, fixtures};

#[test]
fn every_line_is_marked_with_its_app() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let output = rkt.run(&[
        "run",
        "--net=none",
        &image,
        "--name=one",
        "--exec=/bin/echo",
        "--",
        "from one",
        "---",
        &image,
        "--name=two",
        "--exec=/bin/echo",
        "--",
        "from two",
    ]);
    let output = output.expect(0);
    for name in ["one", "two"] {
        let line = output
            .stdout
            .lines()
            .find(|line| line.contains(&format!("from {name}")))
            .unwrap();
        assert!(line.contains(&format!("{name}[")), "{line}");
        assert!(line.starts_with('['), "no time: {line}");
    }
}

#[test]
fn stdout_and_stderr_come_out_whole_and_in_order() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let output = rkt
        .run(&[
            "run",
            "--net=none",
            &image,
            "--exec=/probe",
            "--",
            "lines",
            "2000",
        ])
        .expect(0);
    let all = output.all();
    for stream in ["out", "err"] {
        let lines = all
            .lines()
            .filter_map(|line| line.split_once("]: "))
            .map(|(_, text)| text);
        let numbers: Vec<usize> = lines
            .filter_map(|line| line.strip_prefix(stream)?.trim().parse().ok())
            .collect();
        assert_eq!(numbers.len(), 1000, "{stream}");
        assert!(numbers.is_sorted(), "{stream}");
    }
}

#[test]
fn the_last_line_needs_no_newline() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let output = rkt
        .run(&[
            "run",
            "--net=none",
            &image,
            "--exec=/bin/echo",
            "--",
            "-n",
            "unfinished",
        ])
        .expect(0);
    assert!(output.stdout.contains("unfinished"), "{}", output.all());
}

/// A pipe that nobody reads quickly: the app waits, nothing is lost, memory stays bounded.
#[test]
fn a_gigabyte_to_a_slow_reader() {
    use std::io::Read;
    const BYTES: u64 = 1 << 30;
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let mut command = rkt.command(&[
        "run",
        "--net=none",
        &image,
        "--exec=/probe",
        "--",
        "spew",
        &BYTES.to_string(),
    ]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = child.stdout.take().unwrap();
    let mut buffer = vec![0u8; 1 << 20];
    let (mut lines, mut peak, mut turns) = (0u64, 0u64, 0u32);
    loop {
        let size = pipe.read(&mut buffer).unwrap();
        if size == 0 {
            break;
        }
        lines += buffer[..size].iter().filter(|byte| **byte == b'\n').count() as u64;
        turns += 1;
        if turns % 500 == 1 {
            // A reader that is slow is what is tested; nothing waits for this to pass.
            std::thread::sleep(Duration::from_millis(5));
            peak = peak.max(memory_kib(&rkt));
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(lines, BYTES / 64);
    assert!(peak < 20_000, "rkt's own processes took {peak} KiB");
    rkt.assert_clean();
}

/// Resident anonymous memory of the pod's processes but the app.
fn memory_kib(rkt: &Rkt) -> u64 {
    let own = rkt
        .processes()
        .into_iter()
        .filter(|(_, name)| name != "probe");
    let sizes = own.map(|(pid, _)| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .unwrap_or("0")
            .to_owned();
        line.split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
            .unwrap_or(0)
    });
    sizes.sum()
}

/// A reader that goes away does not take the pod along, as with a closed terminal's log.
#[test]
fn a_reader_that_goes_away() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "for i in $(seq 2000); do echo line $i; done; exit 6";
    let mut command = rkt.command(&[
        "run",
        "--net=none",
        &image,
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(6), "{status}");
    rkt.assert_clean();
}

fn on_terminal(rkt: &Rkt, image: &str, script: &str, typed: &str) -> e2e::Output {
    let shell = ["--exec=/bin/sh", "--", "-c", script];
    let run = ["run", "--net=none", "--interactive", image];
    rkt.on_terminal(&[&run[..], &shell].concat(), &[("ready", typed)])
}

#[test]
fn interactive_hands_over_the_terminal() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "tty; stty size; echo term=$TERM.; echo ready; read word; echo got $word; exit 11";
    let output = on_terminal(&rkt, &image, script, "typed\n");
    assert_eq!(output.code, 11, "{}", output.all());
    assert!(output.stdout.contains("got typed"), "{}", output.stdout);
    assert!(output.stdout.contains("33 77"), "{}", output.stdout);
    let term = std::env::var("TERM").unwrap_or_else(|_| "vt100".into());
    assert!(
        output.stdout.contains(&format!("term={term}.")),
        "{}",
        output.stdout
    );
    assert!(output.stdout.contains("/dev/"), "{}", output.stdout);
    rkt.assert_clean();
}

#[test]
fn the_interrupt_key_reaches_the_app() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "trap 'echo interrupted; exit 12' INT; echo ready; while :; do sleep 0.05; done";
    let output = on_terminal(&rkt, &image, script, "\x03");
    assert_eq!(output.code, 12, "{}", output.all());
    assert!(output.stdout.contains("interrupted"), "{}", output.stdout);
}

#[test]
fn three_escape_characters_end_the_pod() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "echo ready; while :; do sleep 0.05; done";
    on_terminal(&rkt, &image, script, "\x1d\x1d\x1d");
    rkt.assert_clean();
}

#[test]
fn interactive_takes_one_image() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    rkt.run(&[
        "run",
        "--interactive",
        &image,
        "--name=a",
        &image,
        "--name=b",
    ])
    .refused(&["interactive"]);
}
