//! Pods of ordinary users, who have subordinate ids or only their own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;
use std::time::Duration;

use e2e::{Output, Rkt, Running, fixtures, through, until};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

const USER: u32 = 54_400;
const FIRST: u32 = 7_000_000;
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// An ordinary user with an engine of her own. She is known only in the mount namespaces that her
/// commands run in.
pub(crate) struct User {
    pub(crate) rkt: Rkt,
}

impl User {
    /// With this many ids beside her own.
    pub(crate) fn new(count: u32) -> Self {
        let rkt = Rkt::new();
        let etc = rkt.path("etc");
        fs::create_dir(&etc).unwrap();
        let passwd = format!("root:x:0:0::/:/bin/sh\nrkt-e2e:x:{USER}:{USER}::/:/bin/sh\n");
        let ids = match count {
            0 => String::new(),
            _ => format!("rkt-e2e:{FIRST}:{count}\n"),
        };
        // Open to everybody, as udev makes it where there is one.
        let tun = etc.join("tun");
        let (mode, number) = (Mode::empty(), makedev(10, 200));
        mknodat(CWD, &tun, FileType::CharacterDevice, mode, number).unwrap();
        fs::set_permissions(&tun, fs::Permissions::from_mode(0o666)).unwrap();
        for (name, text) in [("passwd", &passwd), ("subuid", &ids), ("subgid", &ids)] {
            fs::write(etc.join(name), text).unwrap();
        }
        for dir in [rkt.data(), rkt.data().parent().unwrap().to_owned()] {
            chown(dir, Some(USER), Some(USER)).unwrap();
        }
        Self { rkt }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let inner = self.rkt.command(args);
        let script = "for f in passwd subuid subgid; do mount --bind \"$0/$f\" /etc/$f || exit 99; done; \
                      mount --bind \"$0/tun\" /dev/net/tun || exit 99; \
                      exec setpriv --reuid=54400 --regid=54400 --clear-groups \"$@\"";
        let etc = self.rkt.path("etc");
        let own = ["--mount", "sh", "-c", script, etc.to_str().unwrap()];
        let mut command = through("unshare", &own, &inner);
        command.current_dir("/");
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        Running::start(self.command(args)).finish()
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        self.run(args).expect(0).text().to_owned()
    }

    #[track_caller]
    pub(crate) fn fetch(&self, image: &e2e::Aci) -> String {
        let file = self.rkt.image(image);
        self.ok(&["fetch", "--full", &file])
    }

    /// Starts a pod and waits until it runs.
    #[track_caller]
    fn start(&self, command: &[&str], args: &[&str]) -> (Running, String) {
        let start = |args: &[&str]| Running::start(self.command(args));
        let (running, uuid) = self.rkt.start_pod_by(command, args, start);
        self.run(&["status", "--wait-ready=60s", &uuid]).expect(0);
        (running, uuid)
    }

    #[track_caller]
    pub(crate) fn stop(&self, uuid: &str) {
        self.run(&["stop", uuid]).expect(0);
        until(LIMIT, "the pod's end", || {
            self.ok(&["status", uuid]).contains("state=exited")
        });
    }

    /// Collects as the user, and finds nothing left.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        for _ in 0..2 {
            let args = ["gc", "--grace-period=0s", "--expire-prepared=0s"];
            let output = self.run(&args).expect(0);
            assert!(!output.stderr.contains("cannot"), "{}", output.all());
        }
        // What is left to see is root's to see.
        chown(self.rkt.data(), Some(0), Some(0)).unwrap();
        self.rkt.assert_clean();
    }
}

pub(crate) fn shell<'a>(image: &'a str, script: &'a str) -> [&'a str; 5] {
    [image, "--exec=/bin/sh", "--", "-c", script]
}

#[test]
fn an_ordinary_user_fetches_and_runs() {
    let user = User::new(65_536);
    let image = user.fetch(&fixtures::busybox().symlink("/bin/chown", "busybox"));
    let script = "id -u; cat /proc/self/uid_map | tr -s ' '; stat -c %u /bin/busybox; echo x > /new; \
        chown 1000:50 /new && stat -c %u:%g /new; head -c 4 /dev/urandom | wc -c; echo y > /dev/shm/y; \
        hostname | cut -c 1-4; ls /sys/class/net; rm /etc/group && ls /etc/group; echo x > /proc/sys/kernel/core_pattern; exit 7";
    let output = user.run(&[&["run", "--net=none"], &shell(&image, script)[..]].concat());
    let output = output.expect(7);
    let lines = output.app_lines();
    let map = [format!(" 0 {USER} 1"), format!(" 1 {FIRST} 65536")];
    assert_eq!(lines[0], "0", "{}", output.all());
    assert_eq!(lines[1..3], map, "{}", output.all());
    assert!(
        lines[3..].starts_with(&["0", "1000:50", "4", "rkt-", "lo"]),
        "{}",
        output.all()
    );
    assert!(output.all().contains("No such file"), "{}", output.all());
    // What other users wrote belongs to their ids on the host.
    let mut owners = Vec::new();
    let overlays = Command::new("find")
        .arg(user.rkt.data())
        .args(["-name", "new"])
        .output();
    for path in String::from_utf8(overlays.unwrap().stdout).unwrap().lines() {
        let meta = fs::metadata(path).unwrap();
        owners.push((meta.uid(), meta.gid()));
    }
    assert_eq!(owners, [(FIRST + 999, FIRST + 49)]);
    // Nothing in her directory is root's.
    let foreign = Command::new("find")
        .arg(user.rkt.data())
        .args(["-uid", "0"])
        .output();
    assert_eq!(String::from_utf8(foreign.unwrap().stdout).unwrap(), "");
    user.assert_clean();
}

#[test]
fn other_users_of_the_image_run_and_are_held() {
    let user = User::new(65_536);
    let image = user.fetch(&fixtures::busybox());
    let flags = [
        "run",
        "--net=none",
        &image,
        "--user=alice",
        "--group=staff",
        "--exec=/bin/sh",
    ];
    let script = "id -u; id -g; (echo x > /f) 2>&1 | grep -c denied; grep -e CapBnd -e Seccomp: -e NoNewPrivs /proc/self/status";
    let output = user
        .run(&[&flags[..], &["--", "-c", script]].concat())
        .expect(0);
    let lines = output.app_lines();
    assert_eq!(lines[..3], ["1000", "50", "1"], "{}", output.all());
    assert!(
        lines.contains(&"Seccomp:\t2") && lines.contains(&"NoNewPrivs:\t1"),
        "{lines:?}"
    );
    let output = user.run(&[
        "run",
        "--net=none",
        &image,
        "--user=70000",
        "--exec=/bin/id",
    ]);
    assert!(output.stderr.contains("user 70000"), "{}", output.all());
    user.assert_clean();
}

#[test]
fn without_subordinate_ids_there_is_one() {
    let user = User::new(0);
    let image = user.fetch(&fixtures::busybox());
    let script = "id -u; tr -s ' ' < /proc/self/uid_map; stat -c %u:%g /bin/busybox; echo x > /new && cat /new";
    let output = user.run(&[&["run", "--net=none"], &shell(&image, script)[..]].concat());
    let output = output.expect(0);
    let map = format!(" 0 {USER} 1");
    assert_eq!(
        output.app_lines(),
        ["0", &map, "0:0", "x"],
        "{}",
        output.all()
    );
    assert!(output.stderr.contains("/etc/subuid"), "{}", output.stderr);
    let output = user.run(&["run", "--net=none", &image, "--user=1000", "--exec=/bin/id"]);
    assert!(output.stderr.contains("user 1000"), "{}", output.all());
    user.assert_clean();
}

#[test]
fn commands_on_a_users_pods() {
    let user = User::new(65_536);
    let image = user.fetch(&fixtures::busybox());
    let script = "echo said; echo x > /mine; sleep 1000";
    let args = [&["--net=none"], &shell(&image, script)[..]].concat();
    let (_one, uuid) = user.start(&["run"], &args);
    // Another one has a user namespace of its own: each is entered by itself.
    let (_two, other) = user.start(&["run"], &args);
    for uuid in [&uuid, &other] {
        let output = user.run(&["enter", uuid, "/bin/sh", "-c", "id -u; cat /mine; hostname"]);
        let output = output.expect(0);
        let name = format!("rkt-{uuid}");
        assert_eq!(output.stdout.lines().collect::<Vec<_>>(), ["0", "x", &name]);
        until(LIMIT, "the log", || {
            user.ok(&["logs", uuid]).contains("said")
        });
        // There is nothing that would count.
        user.run(&["stats", uuid]).refused(&["no cgroups"]);
    }
    let list = user.ok(&["list", "--full"]);
    assert_eq!(list.matches("running").count(), 2, "{list}");
    user.run(&["rm", &uuid]).refused(&["running"]);
    user.stop(&uuid);
    user.ok(&["stop", "--force", &other]);
    let out = user.rkt.data().join("out.aci");
    user.ok(&["export", &uuid, out.to_str().unwrap()]);
    let list = Command::new("tar").arg("-tf").arg(&out).output().unwrap();
    assert!(
        String::from_utf8(list.stdout)
            .unwrap()
            .contains("rootfs/mine")
    );
    user.run(&["rm", &uuid]).expect(0);
    user.assert_clean();
}

#[test]
fn prepared_pods_and_changing_apps() {
    let user = User::new(65_536);
    let image = user.fetch(&fixtures::busybox());
    let uuid = user.ok(&[&["prepare", "--quiet"], &shell(&image, "echo prepared")[..]].concat());
    let output = user.run(&["run-prepared", "--net=none", &uuid]).expect(0);
    assert_eq!(output.app_lines(), ["prepared"]);
    let (_pod, uuid) = user.start(&["app", "sandbox"], &["--net=none"]);
    let words = ["--exec=/bin/sh", "--", "-c", "echo > /there; sleep 1000"];
    user.ok(&[&["app", "add", &uuid, &image, "--name=one"], &words[..]].concat());
    user.ok(&["app", "start", &uuid, "--app=one"]);
    until(LIMIT, "the app", || {
        user.run(&["enter", "--app=one", &uuid, "/bin/ls", "/there"])
            .code
            == 0
    });
    user.ok(&["app", "stop", &uuid, "--app=one"]);
    user.ok(&["app", "rm", &uuid, "--app=one"]);
    user.stop(&uuid);
    user.assert_clean();
}

#[test]
fn what_an_ordinary_user_cannot_have_is_said() {
    let user = User::new(65_536);
    let image = user.fetch(&fixtures::busybox());
    let run = |flags: &[&str]| user.run(&[&["run"], flags, &[&image, "--exec=/bin/true"]].concat());
    run(&["--net=default-restricted"]).refused(&["--net=none", "--net=host"]);
    run(&["--net=none", "--private-users"]).refused(&["--private-users", "root"]);
    user.run(&[
        "run",
        "--net=none",
        "--strict-isolators",
        &image,
        "--memory=64M",
        "--exec=/bin/true",
    ])
    .refused(&["resource/memory", "control groups"]);
    let output = user.run(&[
        "run",
        "--net=none",
        &image,
        "--memory=64M",
        "--exec=/bin/true",
    ]);
    assert!(
        output
            .expect(0)
            .stderr
            .contains("resource/memory is not applied")
    );
    user.assert_clean();
}

/// A pod's directory may hold programs for the commands to run: its owner's, not root's.
#[test]
fn root_runs_nothing_of_a_users() {
    let user = User::new(65_536);
    let image = user.fetch(&fixtures::busybox());
    let prepared = user.ok(&["prepare", &image, "--exec=/bin/true"]);
    let uuid = prepared.trim();
    for command in [
        &["gc"][..],
        &["rm", uuid],
        &["enter", uuid],
        &["run-prepared", "--net=none", uuid],
        &["run", "--net=none", &image],
    ] {
        let output = user.rkt.run(command);
        output.refused(&["belongs to user 54400", "--dir"]);
    }
    assert!(user.ok(&["status", uuid]).contains("state=prepared"));
    user.run(&["rm", uuid]).expect(0);
    let (running, uuid) = user.start(
        &["run"],
        &["--net=none", &image, "--exec=/bin/sleep", "--", "inf"],
    );
    let output = user.rkt.run(&["stop", &uuid]);
    output.refused(&["belongs to user 54400"]);
    user.stop(&uuid);
    running.finish();
    user.assert_clean();
}

#[test]
fn the_hosts_network_and_files_stay_the_hosts() {
    let user = User::new(65_536);
    let image = user.fetch(&fixtures::busybox());
    let secret = user.rkt.path("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let volume = format!("--volume=v,kind=host,source={}", secret.display());
    // Every capability of the pod's is none of the host's.
    let flags = [
        "--insecure-options=image,all-run",
        "run",
        "--net=host",
        &volume,
        "--mount=volume=v,target=/v",
    ];
    let script = "cat /v && echo broken; (echo x > /v) && echo broken; ip link set lo mtu 1400 && echo broken; \
        (echo 1 > /proc/sys/kernel/panic) && echo broken; mount -o remount,rw /sys && (echo x > /sys/kernel/uevent_helper) && echo broken; \
        ls -d /sys/class/net/lo; echo end";
    let output = user
        .run(&[&flags[..], &shell(&image, script)].concat())
        .expect(0);
    let lines = output.app_lines();
    assert!(!lines.contains(&"broken"), "{}", output.all());
    assert_eq!(lines.last(), Some(&"end"));
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    user.assert_clean();
}

#[test]
fn without_overlay_trees_are_copied() {
    let user = User::new(65_536);
    let image = user.fetch(&fixtures::busybox());
    let args = [
        &["run", "--net=none", "--no-overlay"],
        &shell(&image, "id -u; echo x > /y && cat /y")[..],
    ]
    .concat();
    let output = user.run(&args).expect(0);
    assert_eq!(output.app_lines(), ["0", "x"], "{}", output.all());
    user.assert_clean();
}

#[test]
fn a_pod_that_is_killed_leaves_nothing() {
    let user = User::new(65_536);
    let image = user.fetch(&fixtures::busybox());
    let (running, uuid) = user.start(
        &["run"],
        &[&["--net=none"], &shell(&image, "sleep 1000")[..]].concat(),
    );
    let pid = user.ok(&["status", &uuid]);
    let pid = pid
        .lines()
        .find_map(|l| l.strip_prefix("pid="))
        .unwrap()
        .to_owned();
    let parent = rustix::process::Pid::from_raw(e2e::parent_of(&pid).parse().unwrap()).unwrap();
    rustix::process::kill_process(parent, rustix::process::Signal::KILL).unwrap();
    running.finish();
    user.assert_clean();
}

/// The user attaches to her pod's streams as root does to his.
#[test]
fn an_ordinary_user_attaches() {
    for count in [0, 65_536] {
        let user = User::new(count);
        let image = user.fetch(&fixtures::busybox());
        let script = "while read line; do eval \"$line\"; done";
        let (pod, uuid) = user.start(
            &["run"],
            &[
                "--net=none",
                &image,
                "--name=app",
                "--stdin=stream",
                "--stdout=stream",
                "--stderr=stream",
                "--exec=/bin/sh",
                "--",
                "-c",
                script,
            ],
        );
        let list = user.ok(&["attach", "--mode=list", &uuid]);
        assert_eq!(list, "stdin\nstdout\nstderr");
        let input = user.rkt.path("input");
        fs::write(&input, "echo from the app\nexit 5\n").unwrap();
        let mut command = user.command(&["attach", &uuid]);
        command.stdin(fs::File::open(&input).unwrap());
        let attached = Running::start_with_stdin(command).finish().expect(0);
        assert!(
            attached.stdout.contains("from the app"),
            "{}",
            attached.all()
        );
        pod.finish().expect(5);
        user.assert_clean();
    }
}
