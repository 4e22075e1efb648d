//! What a hostile app tries with bare system calls, and by using things up. All of it must fail.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use e2e::{Output, Rkt, fixtures, until};

const NO_FILTER: &str = "--seccomp=mode=retain,@appc.io/all";
const LIMIT: Duration = Duration::from_secs(60);

fn attack(flags: &[&str], name: &str, object: &str) -> Output {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe().dir("/etc", 0o755).dir("/tmp", 0o1777));
    let words = ["--exec=/probe", "--", "attack", name, object];
    let output = rkt.run(
        &[
            &["run", "--net=none"],
            &flags[..1],
            &[&image],
            &flags[1..],
            &words,
        ]
        .concat(),
    );
    rkt.assert_clean();
    output
}

/// Tries it with the default filter and with none, with the host's ids and with others.
#[track_caller]
fn withstood(name: &str, object: &str) {
    for users in ["--private-users=false", "--private-users"] {
        // The default filter may kill who tries.
        let filtered = attack(&[users], name, object);
        assert!(
            !filtered.app_lines().contains(&"broken"),
            "{}",
            filtered.all()
        );
        let free = attack(&[users, NO_FILTER], name, object).expect(0);
        let lines = free.app_lines();
        assert!(!lines.contains(&"broken"), "{}", free.all());
        assert_eq!(lines.last(), Some(&"end"), "{}", free.all());
    }
}

#[test]
fn a_second_root_leads_nowhere() {
    let marker = e2e::TempDir::new();
    withstood("chroot", marker.path().to_str().unwrap());
}

#[test]
fn files_cannot_be_opened_by_number() {
    withstood("handle", "-");
}

/// Under the default filter; without one, the kernel gives everybody a user namespace.
#[test]
fn no_namespace_can_be_made() {
    for users in ["--private-users=false", "--private-users"] {
        let output = attack(&[users], "namespaces", "-");
        let lines = output.app_lines();
        assert!(!lines.contains(&"broken"), "{}", output.all());
    }
}

#[test]
fn the_hosts_abstract_sockets_are_out_of_sight() {
    let name = format!("rkt-e2e-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    withstood("abstract", &name);
}

/// rkt is started with a key in its session keyring.
#[test]
fn the_session_keyring_stays_outside() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let run = |flags: &[&str]| {
        let words = [
            "--exec=/probe",
            "--",
            "attack",
            "session-key",
            "rkt-e2e-key",
        ];
        let inner = rkt.command(&[&["run", "--net=none", &image], flags, &words].concat());
        let script = "keyctl add user rkt-e2e-key secret @s > /dev/null && \
                      keyctl search @s user rkt-e2e-key > /dev/null && exec \"$@\"";
        let own = ["session", "-", "sh", "-c", script, "sh"];
        e2e::Running::start(e2e::through("keyctl", &own, &inner)).finish()
    };
    let output = run(&[NO_FILTER]).expect(0);
    assert_eq!(output.app_lines().last(), Some(&"end"), "{}", output.all());
    assert!(!output.stdout.contains("broken"), "{}", output.all());
    assert!(!run(&[]).stdout.contains("broken"));
    rkt.assert_clean();
}

/// The terminal of an interactive pod is the pod's: what is typed into it does not reach the shell
/// that rkt was started from.
#[test]
fn nothing_is_typed_into_the_hosts_terminal() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let words = [
        "--exec=/probe",
        "--",
        "attack",
        "terminal",
        "typed-by-the-app",
    ];
    let inner = rkt.command(
        &[
            &["run", "--net=none", "--interactive", &image, NO_FILTER],
            &words[..],
        ]
        .concat(),
    );
    let quoted: Vec<_> = std::iter::once(inner.get_program())
        .chain(inner.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let got = rkt.path("got");
    let line = format!(
        "{}; timeout 1 head -n1 > {}",
        quoted.join(" "),
        got.display()
    );
    let mut command = std::process::Command::new("script");
    command.args(["-qec", &line, "/dev/null"]);
    let output = e2e::Running::start(command).finish();
    assert!(output.stdout.contains("end"), "{}", output.all());
    assert_eq!(fs::read_to_string(&got).unwrap(), "");
    rkt.assert_clean();
}

#[test]
fn mounts_never_reach_the_host() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let host = rkt.path("volume");
    fs::create_dir(&host).unwrap();
    let volume = format!("--volume=v,kind=host,source={}", host.display());
    for users in ["--private-users=false", "--private-users"] {
        // With every capability an app may mount, in its own mount namespace.
        let script = "mount -t tmpfs none /v && mount -t tmpfs none /tmp && echo mounted; \
                      mount --make-rshared / ; mkdir -p /v/sub; mount -t tmpfs none /v/sub; sleep 1000";
        let (_running, uuid) = rkt.start_pod(&[
            "--insecure-options=capabilities,seccomp,paths",
            users,
            "--net=none",
            &volume,
            "--mount=volume=v,target=/v",
            &image,
            "--name=app",
            "--exec=/bin/sh",
            "--",
            "-c",
            script,
        ]);
        until(LIMIT, "the app to have mounted", || {
            rkt.ok(&["logs", &uuid]).contains("mounted")
        });
        let seen = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!seen.contains(host.to_str().unwrap()), "{seen}");
        // Nor the pod's own process on the host, which keeps its mounts.
        let pid = rkt.status(&uuid, "pid").unwrap();
        for process in [&e2e::parent_of(&pid), &pid] {
            let seen = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap();
            let points = seen.lines().filter_map(|line| line.split(' ').nth(4));
            let made = points.filter(|point| {
                ["rootfs/v", "v/sub", "rootfs/tmp"]
                    .iter()
                    .any(|end| point.ends_with(end))
            });
            assert_eq!(made.count(), 0, "{process}: {seen}");
        }
        rkt.run(&["stop", &uuid]).expect(0);
        rkt.await_state(&uuid, "exited");
        assert_eq!(fs::read_dir(&host).unwrap().count(), 0);
    }
    rkt.assert_clean();
}

/// One app opens all it can, one eats its memory again and again, one fills the pod's shared
/// memory: the neighbour and the host go on.
#[test]
fn what_an_app_uses_up_is_its_own() {
    let rkt = Rkt::new();
    let probe = rkt.fetch(&fixtures::probe());
    let busybox = rkt.fetch(&fixtures::busybox());
    let (_running, uuid) = rkt.start_pod(&[
        "--net=none",
        &probe,
        "--name=descriptors",
        "--exec=/probe",
        "--",
        "attack",
        "descriptors",
        "-",
        "---",
        &busybox,
        "--name=memory",
        "--memory=16M",
        "--exec=/bin/sh",
        "--",
        "-c",
        "while true; do dd if=/dev/zero of=/dev/null bs=100M count=1; sleep 0.1; done",
        "---",
        &busybox,
        "--name=shared",
        "--exec=/bin/sh",
        "--",
        "-c",
        "while true; do dd if=/dev/zero of=/dev/shm/full bs=1M count=100; sleep 0.1; done",
        "---",
        &busybox,
        "--name=neighbour",
        "--exec=/bin/sh",
        "--",
        "-c",
        "n=0; while true; do n=$((n + 1)); echo turn $n; sleep 0.1; done",
    ]);
    until(LIMIT, "all descriptors to be in use", || {
        rkt.ok(&["logs", &uuid]).contains("opened ")
    });
    let said = rkt.ok(&["logs", &uuid]);
    let opened = said.lines().find_map(|line| line.split("opened ").nth(1));
    let opened: u64 = opened.unwrap().trim().parse().unwrap();
    assert!(opened < 1_100_000, "{opened}");
    let turns = || rkt.ok(&["logs", &uuid]).matches("neighbour").count();
    let before = turns();
    until(LIMIT, "the neighbour to go on", || turns() > before + 5);
    // The host opens files, and enters the pod.
    assert!(fs::File::open("/dev/null").is_ok());
    let output = rkt.run(&["enter", "--app=neighbour", &uuid, "/bin/echo", "here"]);
    assert!(output.expect(0).stdout.contains("here"));
    rkt.run(&["stop", &uuid]).expect(0);
    rkt.await_state(&uuid, "exited");
    rkt.assert_clean();
}
