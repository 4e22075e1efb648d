//! The file systems that every app gets: what their mounts allow, and what flags change of them.

use e2e::{Rkt, fixtures};

fn shell(rkt: &Rkt, flags: &[&str], script: &str) -> String {
    let image = rkt.fetch(&fixtures::busybox());
    let words = ["--exec=/bin/sh", "--", "-c", script];
    let run = [&["run", "--net=none", &image], flags, &words].concat();
    rkt.run(&run).expect(0).app_lines().join("\n")
}

/// Nothing that an app can write beside its own root file system and volumes holds programs,
/// devices or set-user-ID files that count.
#[test]
fn mounts_allow_no_more_than_they_need() {
    for users in ["--private-users=false", "--private-users"] {
        let rkt = Rkt::new();
        let seen = shell(&rkt, &[users], "cat /proc/self/mountinfo");
        let options = |point: &str| -> Vec<String> {
            let mounts = seen.lines().map(|line| line.split(' '));
            let mut there = mounts.filter(|fields| fields.clone().nth(4) == Some(point));
            let mount = there.next().unwrap_or_else(|| panic!("{point}: {seen}"));
            let options = mount.clone().nth(5).unwrap();
            options.split(',').map(str::to_owned).collect()
        };
        for (point, wanted) in [
            ("/proc", &["nosuid", "nodev", "noexec"][..]),
            ("/sys", &["ro", "nosuid", "nodev", "noexec"]),
            ("/dev", &["nosuid", "noexec"]),
            ("/dev/pts", &["nosuid", "noexec"]),
            ("/dev/shm", &["nosuid", "nodev", "noexec"]),
            ("/proc/sys", &["ro", "nosuid", "nodev", "noexec"]),
        ] {
            let found = options(point);
            let missing = wanted.iter().find(|w| !found.iter().any(|f| f == *w));
            assert_eq!(missing, None, "{point}: {found:?}");
        }
        rkt.assert_clean();
    }
}

#[test]
fn a_volume_stays_writable_below_a_root_that_is_not() {
    let rkt = Rkt::new();
    let host = rkt.path("volume");
    std::fs::create_dir(&host).unwrap();
    let volume = format!("--volume=v,kind=host,source={}", host.display());
    let said = shell(
        &rkt,
        &[
            "--readonly-rootfs=true",
            &volume,
            "--mount=volume=v,target=/v",
        ],
        "echo x > /v/new && echo written; (echo x > /new) 2>/dev/null || echo refused",
    );
    assert_eq!(said, "written\nrefused");
    assert_eq!(std::fs::read_to_string(host.join("new")).unwrap(), "x\n");
    rkt.assert_clean();
}

#[test]
fn shared_memory_has_the_size_that_was_asked_for() {
    let rkt = Rkt::new();
    let size = "df -k /dev/shm | tail -n1 | awk '{print $2}'";
    assert_eq!(shell(&rkt, &[], size), "65536");
    assert_eq!(shell(&rkt, &["--shm-size=1Mi"], size), "1024");
    assert_eq!(
        shell(&rkt, &["--shm-size=96Mi", "--private-users"], size),
        "98304"
    );
    let image = rkt.fetch(&fixtures::busybox());
    for wrong in ["0", "-1", "much"] {
        let flag = format!("--shm-size={wrong}");
        rkt.run(&["run", "--net=none", &flag, &image])
            .refused(&["--shm-size", wrong]);
    }
    rkt.assert_clean();
}

/// A prepared pod keeps them, and one whose manifest says so has them without flags.
#[test]
fn other_users_processes_can_be_hidden() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "[ -e /proc/1 ] || echo hidden; [ -e /proc/1/status ] && echo seen || echo closed";
    let app = [
        &image,
        "--user=1000",
        "--group=1000",
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ];
    let mode = |flags: &[&str]| {
        let prepare = [&["prepare", "--quiet"], flags, &app].concat();
        let uuid = rkt.ok(&prepare);
        let run = rkt.run(&["run-prepared", "--net=none", uuid.trim()]);
        run.expect(0).app_lines().join("\n")
    };
    for users in ["--private-users=false", "--private-users"] {
        assert_eq!(mode(&[users]), "seen");
        assert_eq!(mode(&[users, "--hidepid=off"]), "seen");
        assert_eq!(mode(&[users, "--hidepid=noaccess"]), "closed");
        assert_eq!(mode(&[users, "--hidepid=invisible"]), "hidden\nclosed");
        assert_eq!(mode(&[users, "--hidepid=ptraceable"]), "hidden\nclosed");
    }
    rkt.run(&["run", "--hidepid=some", &image])
        .refused(&["--hidepid", "some", "invisible"]);
    let (sandbox, uuid) = rkt.start_sandbox(&["--net=none", "--hidepid=invisible"]);
    let add = [
        &["app", "add", &uuid][..],
        &app[..1],
        &["--name=app"],
        &app[1..],
    ]
    .concat();
    rkt.ok(&add);
    rkt.ok(&["app", "start", "--app=app", &uuid]);
    e2e::until(
        std::time::Duration::from_secs(60),
        "the app to speak",
        || rkt.ok(&["logs", "--format=cat", &uuid]).contains("hidden"),
    );
    rkt.run(&["stop", "--force", &uuid]).expect(0);
    rkt.await_state(&uuid, "exited");
    drop(sandbox);
    rkt.assert_clean();
}
