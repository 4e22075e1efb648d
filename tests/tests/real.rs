//! Real input: what people run.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use e2e::{Rkt, Running, fixtures, until, until_some};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn the_hello_server_of_the_getting_started_guide() {
    let rkt = Rkt::new();
    let image = rkt.image(&fixtures::hello());
    let (mut pod, uuid) = rkt.start_pod(&[&image]);
    let address = rkt.ip(&uuid);
    let mut stream = until_some(LIMIT, "port 5000", || {
        TcpStream::connect((address.as_str(), 5000)).ok()
    });
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nhello\n"), "{answer}");
    pod.await_stdout("request from");
    rkt.ok(&["stop", &uuid]);
    pod.finish();
    rkt.assert_clean();
}

#[test]
fn busybox_does_its_work() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script =
        "mkdir -p /a/b && echo text > /a/b/c && cat /a/b/c && ps && mount | grep -c proc && id -un";
    let output = rkt
        .run(&["run", &image, "--exec=/bin/sh", "--", "-c", script])
        .expect(0);
    let lines = output.app_lines();
    assert!(
        lines.contains(&"text") && lines.contains(&"root"),
        "{}",
        output.stdout
    );
    rkt.assert_clean();
}

#[test]
fn python_in_a_debian_root() {
    let rkt = Rkt::new();
    let image = rkt.fetch_file(&fixtures::debian().unwrap());
    let program = "import os, subprocess, sys, threading\n\
        done = []\n\
        threads = [threading.Thread(target=lambda: done.append(1)) for _ in range(8)]\n\
        [t.start() for t in threads]; [t.join() for t in threads]\n\
        release = dict(l.rstrip().split('=', 1) for l in open('/etc/os-release'))\n\
        shell = subprocess.run(['/bin/sh', '-c', 'ls / | wc -l'], capture_output=True, text=True)\n\
        print('{\"id\": \"%s\", \"threads\": %d, \"files\": %d}' % (release['ID'], len(done), int(shell.stdout)))";
    let output = rkt
        .run(&[
            "run",
            &image,
            "--exec=/usr/bin/python3",
            "--",
            "-c",
            program,
        ])
        .expect(0);
    let report = output.report();
    assert_eq!(report["id"], "debian", "{report}");
    assert_eq!(report["threads"], 8);
    assert!(report["files"].as_u64().unwrap() > 10);
    let user = rkt
        .run(&[
            "run",
            "--net=none",
            &image,
            "--user=nobody",
            "--group=nogroup",
            "--exec=/usr/bin/id",
        ])
        .expect(0);
    assert!(
        user.stdout.contains("uid=65534(nobody) gid=65534(nogroup)"),
        "{}",
        user.stdout
    );
    let tool = rkt
        .run(&[
            "run",
            "--net=none",
            &image,
            "--exec=/usr/bin/dpkg",
            "--",
            "--verify",
            "coreutils",
        ])
        .expect(0);
    let changed: Vec<_> = tool
        .app_lines()
        .into_iter()
        .filter(|line| !line.contains("/usr/share/"))
        .map(str::to_owned)
        .collect();
    assert!(changed.is_empty(), "extraction changed files: {changed:?}");
    rkt.assert_clean();
}

#[test]
fn redis_answers_its_client() {
    let rkt = Rkt::new();
    let image = rkt.fetch_file(&fixtures::redis().unwrap());
    let (pod, uuid) = rkt.start_pod(&[&image]);
    let address = rkt.ip(&uuid);
    let cli = |args: &[&str]| {
        let mut command = Command::new("redis-cli");
        command.args(["-h", &address]).args(args);
        Running::start(command).finish()
    };
    until(LIMIT, "redis to answer", || cli(&["ping"]).text() == "PONG");
    assert_eq!(cli(&["set", "key", "a value"]).text(), "OK");
    assert_eq!(cli(&["get", "key"]).text(), "a value");
    let many = cli(&[
        "eval",
        "for i=1,10000 do redis.call('incr','n') end return redis.call('get','n')",
        "0",
    ]);
    assert_eq!(many.text(), "10000");
    rkt.ok(&["stop", &uuid]);
    let output = pod.finish().expect(0);
    assert!(
        output.stdout.contains("ready to exit"),
        "redis was not stopped in order: {}",
        output.stdout
    );
    rkt.assert_clean();
}
