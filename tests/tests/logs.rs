//! The pod's log: `rkt logs`, and the real `journalctl` beside it.

use std::process::Command;

use e2e::{Rkt, Running, SmallDisk, fixtures};

fn shell<'a>(image: &'a str, name: &'a str, script: &'a str) -> Vec<&'a str> {
    vec![
        "--net=none",
        image,
        name,
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ]
}

fn uuid_of(rkt: &Rkt) -> String {
    let pods = rkt.pods();
    let [uuid] = pods.as_slice() else {
        panic!("{pods:?}")
    };
    uuid.clone()
}

/// What the real journalctl reads from the pod's directory.
pub(crate) fn journalctl(rkt: &Rkt, uuid: &str, args: &[&str]) -> String {
    let pod = rkt.data().join("pods/run").join(uuid);
    let find = Command::new("find")
        .arg(&pod)
        .args(["-path", "*/var/log/journal", "-type", "d"])
        .output()
        .unwrap();
    let dir = String::from_utf8(find.stdout).unwrap();
    let dir = dir.lines().next().unwrap();
    let output = Command::new("journalctl")
        .args(["--no-pager", "--directory", dir])
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_apps_write_is_read_back() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "echo out; echo err >&2; echo '<3>bad'; printf 'no end'";
    let mut args = vec!["run"];
    args.extend(shell(&image, "--name=one", script));
    args.extend([
        "---",
        &image,
        "--name=two",
        "--exec=/bin/echo",
        "--",
        "two's",
    ]);
    rkt.run(&args).expect(0);
    let uuid = uuid_of(&rkt);
    let mut all: Vec<String> = rkt
        .ok(&["logs", "--format=cat", &uuid])
        .lines()
        .map(str::to_owned)
        .collect();
    all.sort();
    assert_eq!(all, ["bad", "err", "no end", "out", "two's"]);
    let one = rkt.ok(&["logs", "--format=cat", "--app=one", &uuid]);
    assert!(!one.contains("two's") && one.contains("no end"));
    assert_eq!(
        rkt.ok(&["logs", "--format=cat", "--app=one", "-n", "1", &uuid])
            .lines()
            .count(),
        1
    );
    let short = rkt.ok(&["logs", "--app=two", &uuid]);
    assert!(
        short.contains(&format!("rkt-{uuid} two[")) && short.ends_with("]: two's"),
        "{short}"
    );
    let json = rkt.ok(&["logs", "--format=json", &uuid]);
    let entries: Vec<serde_json::Value> = json
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let of = |message: &str| entries.iter().find(|e| e["MESSAGE"] == message).unwrap();
    assert_eq!(
        (&of("err")["RKT_STREAM"], &of("out")["RKT_STREAM"]),
        (&"stderr".into(), &"stdout".into())
    );
    assert_eq!(
        (&of("bad")["PRIORITY"], &of("out")["PRIORITY"]),
        (&"3".into(), &"6".into())
    );
    assert_eq!(of("out")["_MACHINE_ID"], uuid.replace('-', ""));
    // The same in systemd's own tool.
    assert_eq!(
        journalctl(&rkt, &uuid, &["-o", "cat", "-u", "one", "-p", "err"]),
        "bad\n"
    );
    assert_eq!(
        journalctl(&rkt, &uuid, &["-o", "cat", "-t", "two"]),
        "two's\n"
    );
    journalctl(&rkt, &uuid, &["--verify"]);
    for (since, lines) in [
        ("--since=1h", 5),
        ("--until=1h", 0),
        ("--since=@9999999999", 0),
    ] {
        assert_eq!(
            rkt.ok(&["logs", since, &uuid]).lines().count(),
            lines,
            "{since}"
        );
    }
    rkt.run(&["logs", "--app=three", &uuid]).refused(&["three"]);
    rkt.run(&["logs", "--since=never", &uuid])
        .refused(&["--since"]);
    rkt.run(&["logs", "--format=xml", &uuid]).refused(&["xml"]);
    rkt.assert_clean();
}

#[test]
fn a_log_is_followed_to_the_pods_end() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "echo first; until [ -e /go ]; do sleep 0.05; done; echo last";
    let (pod, uuid) = rkt.start_pod(&shell(&image, "--name=app", script));
    let mut following = rkt.start(&["logs", "-f", "--format=cat", &uuid]);
    following.await_stdout("first\n");
    rkt.ok(&["enter", &uuid, "/bin/touch", "/go"]);
    pod.finish().expect(0);
    assert_eq!(following.finish().expect(0).stdout, "first\nlast\n");
}

#[test]
fn apps_find_the_journals_sockets() {
    let rkt = Rkt::new();
    let image = rkt.fetch_file(&fixtures::debian().unwrap());
    let script = r#"
import socket, struct, os, syslog
d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
d.sendto(b"MESSAGE=native\nPRIORITY=4\nCODE\n" + struct.pack("<Q", 3) + b"a\nb\n_PID=1\n", "/run/systemd/journal/socket")
import fcntl
F_ADD_SEALS = 1033
d.connect("/run/systemd/journal/socket")
for text, sealed in ((b"MESSAGE=may change\n", False), (b"MESSAGE=from a file\n", True)):
    fd = os.memfd_create("m", os.MFD_ALLOW_SEALING)
    os.write(fd, text)
    if sealed:
        fcntl.fcntl(fd, F_ADD_SEALS, 15)
    socket.send_fds(d, [b""], [fd])
syslog.openlog("prog", syslog.LOG_PID, syslog.LOG_DAEMON)
syslog.syslog(syslog.LOG_ERR, "by syslog")
os.setuid(1000)
syslog.syslog("as a user")
# The last act of the pod is not lost.
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.connect("/run/systemd/journal/stdout")
s.sendall(b"tag\n\n6\n1\n0\n0\n0\n<4>by stream\nand more\n")
os._exit(0)
"#;
    let args = [
        "run",
        "--net=none",
        &image,
        "--name=py",
        "--exec=/usr/bin/python3",
        "--",
        "-c",
        script,
    ];
    rkt.run(&args).expect(0);
    let uuid = uuid_of(&rkt);
    let json = rkt.ok(&["logs", "--format=json", "--app=py", &uuid]);
    let entries: Vec<serde_json::Value> = json
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let of = |message: &str| {
        let found = entries.iter().find(|e| e["MESSAGE"] == message);
        found.unwrap_or_else(|| panic!("{message}: {json}"))
    };
    let native = of("native");
    assert_eq!(
        (&native["PRIORITY"], &native["CODE"]),
        (&"4".into(), &"a\nb".into())
    );
    assert_ne!(native["_PID"], "1");
    of("from a file");
    assert!(!json.contains("may change"), "{json}");
    assert_eq!(
        (
            &of("by stream")["PRIORITY"],
            &of("and more")["SYSLOG_IDENTIFIER"]
        ),
        (&"4".into(), &"tag".into())
    );
    let syslog = of("by syslog");
    assert_eq!(
        (&syslog["PRIORITY"], &syslog["SYSLOG_IDENTIFIER"]),
        (&"3".into(), &"prog".into())
    );
    assert_eq!(of("as a user")["_TRANSPORT"], "syslog");
}

/// Kills a pod's supervisor, which is the pod's end.
pub(crate) fn kill_supervisor(rkt: &Rkt, uuid: &str, pod: Running) {
    let supervisor = rkt.status(uuid, "pid").unwrap().parse().unwrap();
    let supervisor = rustix::process::Pid::from_raw(supervisor).unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    pod.finish().expect(128 + 9);
}

#[test]
fn a_killed_pods_log_is_whole() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "for i in $(seq 20000); do echo line $i; done; echo done; sleep 1000";
    let (mut pod, uuid) = rkt.start_pod(&shell(&image, "--name=app", script));
    pod.await_stdout("]: done\n");
    kill_supervisor(&rkt, &uuid, pod);
    let log = rkt.ok(&["logs", "--format=cat", &uuid]);
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 20_001);
    assert!(
        lines[..20_000]
            .iter()
            .enumerate()
            .all(|(n, l)| *l == format!("line {}", n + 1))
    );
    assert_eq!(journalctl(&rkt, &uuid, &["-o", "cat"]), format!("{log}\n"));
    rkt.assert_clean();
}

#[test]
fn a_full_disk_stops_no_app_and_the_loss_is_told() {
    let rkt = Rkt::new();
    // A data directory with room for the images and little more.
    let disk = rkt.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let _disk = SmallDisk::mount(&disk, "64m");
    let dir = format!("--dir={}", disk.display());
    let image = rkt.image(&fixtures::busybox());
    rkt.ok(&[&dir, "fetch", &image]);
    // One run unpacks the stage1 image.
    rkt.ok(&[&dir, "run", "--net=none", "example.com/busybox"]);
    for _ in 0..2 {
        rkt.ok(&[&dir, "gc", "--grace-period=0s"]);
    }
    let used = rustix::fs::statvfs(&disk).unwrap();
    let free = used.f_bavail * used.f_frsize;
    let filler = std::fs::File::create(disk.join("filler")).unwrap();
    rustix::fs::fallocate(
        &filler,
        rustix::fs::FallocateFlags::empty(),
        0,
        free - (3 << 20),
    )
    .unwrap();
    let script = "i=0; while [ $i -lt 40000 ]; do echo some longer line number $i; i=$((i+1)); done; echo over";
    let mut args = vec![dir.as_str(), "run"];
    args.extend(shell("example.com/busybox", "--name=app", script));
    let output = rkt.run(&args).expect(0);
    assert!(output.stdout.contains("number 39999\n") && output.stdout.contains("over"));
    assert!(
        output.stderr.contains("entries of the log were lost"),
        "{}",
        output.stderr
    );
    let pods = std::fs::read_dir(disk.join("pods/run")).unwrap();
    let uuid = pods
        .flatten()
        .next()
        .unwrap()
        .file_name()
        .into_string()
        .unwrap();
    // What fitted is there, without a hole.
    let log = rkt.ok(&[&dir, "logs", "--format=cat", &uuid]);
    let lines: Vec<&str> = log.lines().take_while(|l| l.starts_with("some")).collect();
    assert!(lines.len() > 1000, "{}", lines.len());
    assert!(
        lines
            .iter()
            .enumerate()
            .all(|(n, l)| *l == format!("some longer line number {n}"))
    );
    for _ in 0..2 {
        rkt.ok(&[&dir, "gc", "--grace-period=0s"]);
    }
}
