//! Pods in user namespaces (`--private-users`): ids of their own on the host, the image's inside.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use e2e::{Output, Rkt, Running, fixtures};

const ALL_CAPABILITIES: &str = "--insecure-options=image,capabilities,seccomp";

/// Runs a script in a pod with a user namespace.
fn shell(rkt: &Rkt, flags: &[&str], script: &str) -> Output {
    let image = rkt.fetch(&fixtures::busybox());
    let words = ["--exec=/bin/sh", "--", "-c", script];
    rkt.run(
        &[
            &["run", "--private-users", "--net=none", &image],
            flags,
            &words,
        ]
        .concat(),
    )
}

/// The first id of the pod's range, as its directory names it.
fn shift(rkt: &Rkt, phase: &str, uuid: &str) -> u32 {
    let dir = rkt.data().join("pods").join(phase).join(uuid);
    let text = fs::read_to_string(dir.join("private-users-prepared")).unwrap();
    let (shift, count) = text.split_once(':').unwrap();
    assert_eq!(count, "65536");
    shift.parse().unwrap()
}

fn status_of(pid: &str, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap().trim().to_owned()
}

fn sleeper(rkt: &Rkt, flags: &[&str]) -> (Running, String) {
    let image = rkt.fetch(&fixtures::busybox());
    let words = ["--exec=/bin/sleep", "--", "1000"];
    rkt.start_pod(&[&["--private-users", "--net=none"], flags, &[&image], &words].concat())
}

fn stop(rkt: &Rkt, uuid: &str) {
    rkt.run(&["stop", uuid]).expect(0);
    rkt.await_state(uuid, "exited");
}

#[test]
fn root_inside_is_nobody_outside() {
    let rkt = Rkt::new();
    let (_running, uuid) = sleeper(&rkt, &[]);
    let shift = shift(&rkt, "run", &uuid);
    assert!(shift >= 0x8_0000 && shift.is_multiple_of(4), "{shift}");
    let supervisor = rkt.status(&uuid, "pid").unwrap();
    let children = format!("/proc/{supervisor}/task/{supervisor}/children");
    let app = fs::read_to_string(children).unwrap();
    for pid in [supervisor.as_str(), app.trim()] {
        let ids = [shift; 4].map(|id| id.to_string()).join("\t");
        assert_eq!(status_of(pid, "Uid:"), ids, "{pid}");
        assert_eq!(status_of(pid, "Gid:"), ids, "{pid}");
        assert_eq!(status_of(pid, "Groups:"), "", "{pid}");
        let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
        let map: Vec<_> = map.split_whitespace().map(str::to_owned).collect();
        assert_eq!(map, ["0".into(), shift.to_string(), "65536".to_owned()]);
    }
    stop(&rkt, &uuid);
    rkt.assert_clean();
}

#[test]
fn the_app_sees_its_image_and_may_write_to_it() {
    let rkt = Rkt::new();
    let script = "id; stat -c '%u:%g %a' /bin/busybox /tmp /etc/passwd; cat /proc/self/uid_map
        echo x > /new; stat -c '%u:%g' /new; echo more >> /etc/passwd; rm /etc/group
        mkdir -p /a/b; echo y > /dev/null; head -c 4 /dev/urandom | wc -c; echo z > /dev/shm/f
        stat -c %u /dev/shm/f; ls -d /dev/pts/ptmx /proc/self /sys/class; cat /etc/hostname
        (echo x > /proc/sys/kernel/panic) 2>/dev/null || echo closed";
    let output = shell(&rkt, &[], script).expect(0);
    let lines = output.app_lines();
    assert!(lines[0].starts_with("uid=0(root) gid=0"), "{lines:?}");
    assert_eq!(lines[1..4], ["0:0 755", "0:0 1777", "0:0 644"], "{lines:?}");
    assert!(lines[4].ends_with("65536"), "{lines:?}");
    assert_eq!(lines[5..8], ["0:0", "4", "0"], "{lines:?}");
    assert_eq!(lines[8..11], ["/dev/pts/ptmx", "/proc/self", "/sys/class"]);
    assert!(lines[11].starts_with("rkt-"), "{lines:?}");
    assert_eq!(lines[12], "closed");
    // Nothing of that reached the store, whose files are still root's.
    for tree in fs::read_dir(rkt.data().join("cas/tree")).unwrap().flatten() {
        let root = tree.path().join("rootfs");
        assert!(!root.join("new").exists());
        for entry in fs::read_dir(&root).unwrap().flatten() {
            assert_eq!(entry.metadata().unwrap().uid(), 0, "{:?}", entry.path());
        }
    }
    rkt.assert_clean();
}

#[test]
fn other_users_of_the_image_have_their_ids() {
    let rkt = Rkt::new();
    let output = shell(
        &rkt,
        &["--user=alice", "--group=staff"],
        "id -u; id -g; echo x > /tmp/f && stat -c '%u:%g' /tmp/f; (echo x > /f) 2>&1 | grep -c denied",
    );
    let output = output.expect(0);
    assert_eq!(output.app_lines(), ["1000", "50", "1000:50", "1"]);
    let output = shell(&rkt, &["--user=70000"], "id");
    let said = output.expect(203).stderr;
    assert!(
        said.contains("user 70000") && said.contains("--private-users"),
        "{said}"
    );
    rkt.assert_clean();
}

#[test]
fn every_pod_has_a_range_of_its_own_until_it_is_removed() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let prepare = ["prepare", "--quiet", "--private-users", &image];
    let running: Vec<_> = (0..6).map(|_| rkt.start(&prepare)).collect();
    let uuids: Vec<_> = running
        .into_iter()
        .map(|r| r.finish().expect(0).text().to_owned())
        .collect();
    let mut shifts: Vec<_> = uuids.iter().map(|u| shift(&rkt, "prepared", u)).collect();
    shifts.sort_unstable();
    for pair in shifts.windows(2) {
        assert!(pair[1] - pair[0] >= 65_536, "{shifts:?}");
    }
    // What was chosen is what it runs with.
    let uuid = &uuids[0];
    let mine = shift(&rkt, "prepared", uuid);
    rkt.run(&["run-prepared", "--net=none", uuid]).expect(0);
    assert_eq!(shift(&rkt, "run", uuid), mine);
    // A pod's directory is all that holds a range.
    rkt.assert_clean();
}

#[test]
fn volumes_show_the_hosts_owners_or_the_pods() {
    let rkt = Rkt::new();
    let host = rkt.path("volume");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), "secret\n").unwrap();
    fs::set_permissions(host.join("file"), fs::Permissions::from_mode(0o600)).unwrap();
    let volume = format!("--volume=v,kind=host,source={}", host.display());
    let script = "stat -c %u /v/file; cat /v/file 2>/dev/null; (echo x > /v/new) 2>/dev/null; stat -c %u /v/new 2>/dev/null; true";
    let mount = "--mount=volume=v,target=/v";
    let plain = shell(&rkt, &[&volume, mount], script).expect(0);
    assert_eq!(plain.app_lines(), ["65534"], "{}", plain.all());
    assert!(!host.join("new").exists());
    let mapped = shell(&rkt, &[&format!("{volume},idmap=true"), mount], script).expect(0);
    assert_eq!(mapped.app_lines(), ["0", "secret", "0"], "{}", mapped.all());
    assert_eq!(fs::metadata(host.join("new")).unwrap().uid(), 0);
    // Without a user namespace there is nothing to map.
    let image = rkt.fetch(&fixtures::busybox());
    let args = [
        "run",
        "--net=none",
        &format!("{volume},idmap=true"),
        mount,
        &image,
    ];
    rkt.run(&[&args[..], &["--exec=/bin/cat", "--", "/v/file"]].concat())
        .expect(0);
    // File systems that cannot be mapped are named.
    let proc = "--volume=v,kind=host,source=/proc,idmap=true";
    shell(&rkt, &[proc, mount], "true").refused(&["/proc", "idmap=true"]);
    rkt.assert_clean();
}

#[test]
fn empty_volumes_belong_to_the_pods_users() {
    let rkt = Rkt::new();
    let output = shell(
        &rkt,
        &[
            "--volume=v,kind=empty,uid=1000,gid=50,mode=0770",
            "--mount=volume=v,target=/v",
        ],
        "stat -c '%u:%g %a' /v; echo x > /v/f && stat -c %u /v/f",
    );
    assert_eq!(output.expect(0).app_lines(), ["1000:50 770", "0"]);
    rkt.assert_clean();
}

#[test]
fn the_network_belongs_to_the_pod() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let (_running, uuid) = rkt.start_pod(&[
        "--private-users",
        "--dns=8.8.8.8",
        &image,
        "--caps-retain=CAP_NET_BIND_SERVICE,CAP_NET_ADMIN",
        "--exec=/probe",
        "--",
        "serve",
        "80",
    ]);
    let address = format!("{}:80", rkt.ip(&uuid));
    let mut answer = String::new();
    e2e::until(std::time::Duration::from_secs(30), "an answer", || {
        let stream = std::net::TcpStream::connect(&address);
        stream.is_ok_and(|mut s| std::io::Read::read_to_string(&mut s, &mut answer).is_ok())
    });
    assert_eq!(answer, "pong\n");
    stop(&rkt, &uuid);
    // Its own settings are its own to change; a link of its own can be made.
    let output = shell(
        &rkt,
        &["--caps-retain=CAP_NET_ADMIN"],
        "echo 1 > /proc/sys/net/ipv4/ip_forward && cat /proc/sys/net/ipv4/ip_forward",
    );
    assert_eq!(output.expect(0).app_lines(), ["1"]);
    rkt.assert_clean();
}

#[test]
fn the_hosts_network_can_be_shared() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "ls -d /sys/class/net/lo; (echo 1 > /proc/sys/net/ipv4/ip_forward) 2>/dev/null || echo closed; \
                  (echo x > /sys/class/net/lo/mtu) 2>/dev/null || echo closed; ip link set lo mtu 1500 2>/dev/null || echo closed";
    let args = [
        "run",
        "--private-users",
        "--net=host",
        &image,
        "--exec=/bin/sh",
    ];
    let output = rkt
        .run(&[&args[..], &["--", "-c", script]].concat())
        .expect(0);
    let lines = output.app_lines();
    assert_eq!(lines, ["/sys/class/net/lo", "closed", "closed", "closed"]);
    rkt.assert_clean();
}

#[test]
fn enter_logs_and_export_know_the_ids() {
    let rkt = Rkt::new();
    let script = "echo said; echo x > /mine; chown 1000 /mine; echo y > /roots; sleep 1000";
    let image = rkt.fetch(&fixtures::busybox().symlink("/bin/chown", "busybox"));
    let (_running, uuid) = rkt.start_pod(&[
        "--private-users",
        "--net=none",
        &image,
        "--name=app",
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ]);
    e2e::until(std::time::Duration::from_secs(30), "the files", || {
        let output = rkt.run(&["enter", &uuid, "/bin/stat", "-c", "%u", "/roots"]);
        output.stdout.trim() == "0"
    });
    let output = rkt.run(&["enter", &uuid, "/bin/id"]).expect(0);
    assert!(output.stdout.starts_with("uid=0(root)"), "{}", output.all());
    let output = rkt.run(&["enter", &uuid, "/bin/cat", "/proc/self/uid_map"]);
    let map = output.expect(0).stdout;
    let shift = shift(&rkt, "run", &uuid).to_string();
    assert_eq!(map.split_whitespace().nth(1), Some(shift.as_str()), "{map}");
    assert!(rkt.ok(&["logs", &uuid]).contains("said"));
    assert!(rkt.ok(&["stats", &uuid]).contains("app"));
    stop(&rkt, &uuid);
    let out = rkt.path("export.aci");
    rkt.ok(&["export", "--app=app", &uuid, out.to_str().unwrap()]);
    let list = std::process::Command::new("tar")
        .args(["--numeric-owner", "-tvf", out.to_str().unwrap()])
        .output()
        .unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    for (file, owner) in [
        ("rootfs/mine", "1000/0"),
        ("rootfs/roots", "0/0"),
        ("rootfs/bin/busybox", "0/0"),
    ] {
        let line = list
            .lines()
            .find(|line| line.ends_with(file))
            .unwrap_or_else(|| panic!("{file} in {list}"));
        assert!(line.contains(owner), "{line}");
    }
    rkt.assert_clean();
}

#[test]
fn apps_come_and_go() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let (_running, uuid) = rkt.start_sandbox(&["--private-users", "--net=none"]);
    let host = rkt.path("shared");
    fs::create_dir(&host).unwrap();
    let volume = format!(
        "--mnt-volume=name=v,kind=host,source={},idmap=true,target=/v",
        host.display()
    );
    for round in ["one", "two"] {
        let name = format!("--name={round}");
        let script = "id -u > /v/id; cat /proc/self/uid_map > /v/map; sleep 1000";
        let words = ["--exec=/bin/sh", "--", "-c", script];
        rkt.run(&[&["app", "add", &uuid, &image, &name, &volume][..], &words].concat())
            .expect(0);
        let app = format!("--app={round}");
        rkt.run(&["app", "start", &uuid, &app]).expect(0);
        let map = host.join("map");
        e2e::until(std::time::Duration::from_secs(30), "the app", || {
            fs::read_to_string(&map).is_ok_and(|text| text.contains("65536"))
        });
        assert_eq!(fs::read_to_string(host.join("id")).unwrap(), "0\n");
        assert_eq!(fs::metadata(&map).unwrap().uid(), 0);
        let map = fs::read_to_string(&map).unwrap();
        let shift = shift(&rkt, "run", &uuid).to_string();
        assert_eq!(map.split_whitespace().nth(1), Some(shift.as_str()));
        let output = rkt.run(&["enter", &app, &uuid, "/bin/id", "-u"]).expect(0);
        assert_eq!(output.stdout.trim(), "0");
        rkt.run(&["app", "stop", &uuid, &app]).expect(0);
        rkt.run(&["app", "rm", &uuid, &app]).expect(0);
        for file in ["id", "map"] {
            fs::remove_file(host.join(file)).unwrap();
        }
    }
    stop(&rkt, &uuid);
    rkt.assert_clean();
}

#[test]
fn without_overlay_the_copy_is_chowned() {
    let rkt = Rkt::new();
    let image = fixtures::busybox().copy(Path::new("/bin/busybox"), "/bin/set-id", 0o4755);
    let image = rkt.fetch(&image);
    let script =
        "stat -c '%u:%g %a' /bin/busybox /bin/set-id; echo x > /new && stat -c %u /new; sleep 1000";
    let (_running, uuid) = rkt.start_pod(&[
        "--private-users",
        "--no-overlay",
        "--net=none",
        &image,
        "--name=app",
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ]);
    let shift = shift(&rkt, "run", &uuid);
    let root = rkt
        .data()
        .join("pods/run")
        .join(&uuid)
        .join("stage1/rootfs/opt/stage2/app/rootfs");
    assert_eq!(fs::metadata(root.join("bin/busybox")).unwrap().uid(), shift);
    e2e::until(std::time::Duration::from_secs(30), "the app", || {
        fs::metadata(root.join("new")).is_ok_and(|meta| meta.uid() == shift)
    });
    e2e::until(std::time::Duration::from_secs(30), "the log", || {
        rkt.ok(&["logs", &uuid]).contains("0:0 4755")
    });
    stop(&rkt, &uuid);
    rkt.assert_clean();
}

#[test]
fn limits_terminals_and_handlers_work() {
    let rkt = Rkt::new();
    let probe = rkt.fetch(&fixtures::probe());
    let args = [
        "run",
        "--private-users",
        "--net=none",
        &probe,
        "--memory=16M",
    ];
    rkt.run(&[&args[..], &["--exec=/probe", "--", "alloc", "200000000"]].concat())
        .expect(137);
    let busybox = rkt.fetch(&fixtures::busybox());
    let args = [
        "run",
        "--private-users",
        "--net=none",
        "--interactive",
        &busybox,
        "--exec=/bin/sh",
    ];
    let output = rkt.on_terminal(&args, &[("/ #", "tty; stty size; id -u; exit 5\n")]);
    let output = output.expect(5);
    assert!(output.stdout.contains("/dev/pts/0"), "{}", output.stdout);
    assert!(output.stdout.contains("33 77"), "{}", output.stdout);
    rkt.assert_clean();
}

/// Every capability and no filter, and still no power over the host.
#[test]
fn all_capabilities_are_only_the_pods() {
    let rkt = Rkt::new();
    let image = rkt.fetch(
        &fixtures::busybox()
            .symlink("/bin/mknod", "busybox")
            .symlink("/bin/umount", "busybox"),
    );
    let host = rkt.path("host");
    fs::write(&host, "secret").unwrap();
    fs::set_permissions(&host, fs::Permissions::from_mode(0o600)).unwrap();
    let volume = format!("--volume=v,kind=host,source={}", host.display());
    let script = "cat /v && echo broken
        (echo x > /v) && echo broken
        mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk && echo broken
        mount -t tmpfs none /tmp && echo mounted
        for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sysrq-trigger; do
            (echo x > $f) && echo broken; done
        mount -o remount,rw /proc/sys; (echo x > /proc/sys/kernel/core_pattern) && echo broken
        umount /proc/sys; (echo x > /proc/sys/kernel/core_pattern) && echo broken
        mount -t sysfs none /tmp && (echo x > /tmp/kernel/uevent_helper) && echo broken
        echo end";
    let args = [
        ALL_CAPABILITIES,
        "run",
        "--private-users",
        "--net=none",
        &volume,
        "--mount=volume=v,target=/v",
        &image,
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ];
    let output = rkt.run(&args).expect(0);
    let lines = output.app_lines();
    assert!(lines.contains(&"mounted"), "{}", output.all());
    assert!(!lines.contains(&"broken"), "{}", output.all());
    assert_eq!(lines.last(), Some(&"end"));
    assert_eq!(fs::read_to_string(&host).unwrap(), "secret");
    rkt.assert_clean();
}
