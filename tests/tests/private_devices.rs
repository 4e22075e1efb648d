//! `/dev` of apps whose pod has ids of its own (`--private-users`): made where the host's privileges
//! are, since no user namespace may make device nodes.

use std::os::unix::fs::MetadataExt;

use e2e::{Rkt, Running, fixtures, through};

const NODES: [&str; 8] = [
    "null 1:3",
    "zero 1:5",
    "full 1:7",
    "random 1:8",
    "urandom 1:9",
    "tty 5:0",
    "console 1:3",
    "net/tun a:c8",
];

#[test]
fn each_app_has_nodes_of_its_own() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let one = "cd /dev; for n in null zero full random urandom tty console net/tun; do \
            stat -c '%n %t:%T %u:%g %a %F' $n; done; \
        echo x > null && head -c 3 zero | wc -c; (echo x > full) 2>&1 | grep -o 'No space.*'; \
        busybox mknod mine c 1 3 2>&1 | grep -o 'Operation.*'; busybox mknod /mine c 1 3 || echo none; \
        chmod 600 null; rm zero; echo x > left; ls -d left; sleep 3";
    let two = "sleep 1; ls /dev | tr '\\n' ' '; echo; stat -c '%a' /dev/null; head -c 3 /dev/zero | wc -c; \
        touch /dev/x && rm /dev/x; grep ' /dev ' /proc/self/mountinfo | grep -o 'nosuid,noexec'";
    let app = |name, script| {
        [
            image.as_str(),
            name,
            "--exec=/bin/sh",
            "--",
            "-c",
            script,
            "---",
        ]
    };
    let (one, two) = (app("--name=one", one), app("--name=two", two));
    let plain = rkt.command(&[&["run", "--private-users", "--net=none"], &one[..], &two].concat());
    // The caller's umask is not the nodes'.
    let run = through("sh", &["-c", "umask 077; exec \"$@\"", "sh"], &plain);
    let before = std::fs::metadata("/dev/null").unwrap();
    let output = Running::start(run).finish().expect(0);
    let (one, two) = (output.lines_of("one"), output.lines_of("two"));
    let nodes = NODES.map(|node| format!("{node} 0:0 666 character special file"));
    assert_eq!(one[..8], nodes, "{}", output.all());
    let rest = [
        "3",
        "No space left on device",
        "Operation not permitted",
        "none",
        "left",
    ];
    assert_eq!(one[8..], rest, "{}", output.all());
    let listed =
        "console fd full log net null ptmx pts random shm stderr stdin stdout tty urandom zero ";
    let wanted = [listed, "666", "3", "nosuid,noexec"];
    assert_eq!(two, wanted, "{}", output.all());
    let after = std::fs::metadata("/dev/null").unwrap();
    assert_eq!((after.mode(), after.uid()), (before.mode(), before.uid()));
    rkt.assert_clean();
}

/// Where not even rkt may make device nodes, in a container for instance, the host's are shown.
#[test]
fn without_the_privilege_the_hosts_nodes_are_shown() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "busybox mknod /x c 1 3 2>/dev/null || echo none; head -c 3 /dev/zero | wc -c; ls /dev/net; \
        stat -c %t:%T /dev/console";
    let words = ["--exec=/bin/sh", "--", "-c", script];
    let plain = rkt.command(
        &[
            &["run", "--private-users", "--net=none", &image],
            &words[..],
        ]
        .concat(),
    );
    let without = ["--bounding-set=-mknod", "--inh-caps=-mknod"];
    let output = Running::start(through("setpriv", &without, &plain))
        .finish()
        .expect(0);
    assert_eq!(
        output.app_lines(),
        ["none", "3", "tun", "1:3"],
        "{}",
        output.all()
    );
    rkt.assert_clean();
}
