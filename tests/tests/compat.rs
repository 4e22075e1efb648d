//! What scripts of the original rely on and no other file has: single sentences of its documents
//! and of its CHANGELOG.

use std::fs;

use e2e::{Lab, Rkt, fixtures};

fn shell(rkt: &Rkt, before: &[&str], aci: &e2e::Aci, after: &[&str], script: &str) -> String {
    let image = rkt.fetch(aci);
    let words = ["--exec=/bin/sh", "--", "-c", script];
    let run = [&["run", "--net=none"], before, &[&image], after, &words].concat();
    rkt.run(&run).expect(0).app_lines().join("\n")
}

fn in_lab(rkt: &Rkt, lab: &Lab, args: &[&str]) -> e2e::Output {
    lab.finish(lab.wrap(&rkt.command(args)))
}

/// CHANGELOG, v1.5.0.
#[test]
fn root_needs_no_files_of_the_image() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let flags = ["--user=root", "--group=root"];
    let report = rkt.run(&[&["run", "--net=none", &image], &flags[..]].concat());
    let report = report.expect(0).report();
    for ids in ["Uid", "Gid"] {
        assert_eq!(report["status"][ids], "0\t0\t0\t0");
    }
}

/// CHANGELOG, v0.5.1.
#[test]
fn a_volume_that_may_be_written_overrides_the_images_mount_point() {
    let rkt = Rkt::new();
    let aci = fixtures::busybox().read_only_mount_point("data", "/data");
    let host = rkt.path("shared");
    fs::create_dir(&host).unwrap();
    let volume = format!("--volume=data,kind=host,source={}", host.display());
    let write = "touch /data/x 2>/dev/null && echo written || echo refused";
    for (option, outcome) in [
        ("", "refused"),
        (",readOnly=true", "refused"),
        (",readOnly=false", "written"),
    ] {
        let volume = format!("{volume}{option}");
        assert_eq!(
            shell(&rkt, &[&volume], &aci, &[], write),
            outcome,
            "{option}"
        );
    }
    rkt.assert_clean();
}

#[test]
fn a_mount_elsewhere_leaves_the_images_mount_point_its_volume() {
    let rkt = Rkt::new();
    let aci = fixtures::busybox().mount_point("data", "/data");
    let host = rkt.path("shared");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("x"), "").unwrap();
    let volume = format!("--volume=data,kind=host,source={}", host.display());
    let mount = ["--mount=volume=data,target=/else"];
    let seen = shell(&rkt, &[&volume], &aci, &mount, "ls /data /else");
    assert_eq!(seen, "/data:\nx\n\n/else:\nx");
}

/// networking-dns, "Precedence".
#[test]
fn hosts_entries_go_before_a_volume_and_name_the_pod_too() {
    let rkt = Rkt::new();
    let file = rkt.path("hosts");
    fs::write(&file, "192.0.2.1 volume\n").unwrap();
    let volume = format!("--volume=h,kind=host,source={}", file.display());
    let mount = ["--mount=volume=h,target=/etc/hosts"];
    let aci = fixtures::busybox();
    let look = "cat /etc/hosts; echo $(hostname)";
    let seen = |flags: &[&str]| shell(&rkt, flags, &aci, &mount, look);
    assert!(seen(&[&volume]).starts_with("192.0.2.1 volume\n"));
    for hostname in [&[][..], &["--hostname=wasp"]] {
        let flags = [&["--hosts-entry=192.0.2.9=db", &volume], hostname].concat();
        let seen = seen(&flags);
        let name = seen.lines().last().unwrap();
        let own = format!("127.0.0.1\tlocalhost {name}\n");
        assert!(
            seen.contains(&own) && seen.contains("192.0.2.9 db"),
            "{seen}"
        );
        assert!(!seen.contains("volume"), "{seen}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "192.0.2.1 volume\n");
}

/// CHANGELOG, 1.17.0.
#[test]
fn mtab_is_there_for_old_programs() {
    let rkt = Rkt::new();
    let aci = fixtures::busybox();
    let look = "grep -c ' / ' /etc/mtab; readlink /etc/mtab";
    let seen = shell(&rkt, &[], &aci, &[], look);
    assert_eq!(seen, "1\n../proc/self/mounts");
    // What an image has there is its own.
    let own = aci.file("/etc/mtab", 0o644, "mine");
    assert_eq!(shell(&rkt, &[], &own, &[], "cat /etc/mtab"), "mine");
}

#[test]
fn an_app_has_its_own_name_whatever_is_set() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let run = ["run", "--net=none", "--set-env=AC_APP_NAME=evil", &image];
    let report = rkt.run(&run).expect(0).report();
    assert_eq!(report["env"]["AC_APP_NAME"], "probe");
}

/// seccomp-guide: all names of errno(3).
#[test]
fn errors_of_filters_have_their_second_names() {
    let rkt = Rkt::new();
    let aci = fixtures::busybox();
    let flags = ["--seccomp=mode=remove,errno=ENOTSUP,mkdir,mkdirat"];
    let seen = shell(&rkt, &[], &aci, &flags, "mkdir /x 2>&1 || true");
    assert!(
        seen.ends_with("Not supported") || seen.ends_with("not supported"),
        "{seen}"
    );
}

#[test]
fn an_image_without_arguments_may_be_ended_too() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let run = [
        "run",
        "--net=none",
        &image,
        "--name=a",
        "---",
        &image,
        "--name=b",
        "--",
        "exit",
        "0",
        "---",
    ];
    let output = rkt.run(&run).expect(0);
    assert!(output.all().contains(" a["), "{}", output.all());
}

/// `date` understands the same.
#[test]
fn times_are_in_the_zone_that_is_named() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let uuid = rkt.ok(&["prepare", &image]).trim().to_owned();
    let mut list = rkt.command(&["list", "--full"]);
    list.env("TZ", "Asia/Kolkata");
    let output = e2e::Running::start(list).finish().expect(0);
    assert!(output.text().contains("+0530 IST"), "{}", output.all());
    rkt.ok(&["rm", &uuid]);
}

#[test]
fn of_two_networks_with_one_name_the_first_counts() {
    let (rkt, lab) = (Rkt::new(), Lab::new());
    let image = rkt.fetch(&fixtures::probe());
    let dir = rkt.local_config().join("net.d");
    fs::create_dir_all(&dir).unwrap();
    let conf = |kind: &str| format!(r#"{{"name":"twice","type":"{kind}"}}"#);
    fs::write(dir.join("10-a.conf"), conf("ptp")).unwrap();
    fs::write(dir.join("20-b.conf"), conf("no-such-plugin")).unwrap();
    let output = in_lab(
        &rkt,
        &lab,
        &["run", "--net=none", &image, "--exec=/probe", "--", "true"],
    );
    output.expect(0);
    let output = in_lab(
        &rkt,
        &lab,
        &["run", "--net=host", &image, "--exec=/probe", "--", "true"],
    );
    output.expect(0);
    let output = in_lab(&rkt, &lab, &["run", &image, "--exec=/probe", "--", "true"]);
    let said = output.expect(0).all();
    let warning = "network \"twice\" is already defined in";
    assert!(
        said.contains(warning) && said.contains("20-b.conf"),
        "{said}"
    );
}

/// CHANGELOG, 1.5.0: "tuning" in a configuration of its own.
#[test]
fn parameters_of_the_network_alone() {
    let (rkt, lab) = (Rkt::new(), Lab::new());
    let image = rkt.fetch(&fixtures::busybox());
    let dir = rkt.local_config().join("net.d");
    fs::create_dir_all(&dir).unwrap();
    let conf = r#"{"name":"tun","type":"tuning","sysctl":{"net.core.somaxconn":"500"}}"#;
    fs::write(dir.join("30-tun.conf"), conf).unwrap();
    let words = ["--exec=/bin/cat", "--", "/proc/sys/net/core/somaxconn"];
    for nets in ["--net=tun", "--net=default,tun"] {
        let run = [&["run", nets, &image], &words[..]].concat();
        assert_eq!(
            in_lab(&rkt, &lab, &run).expect(0).app_lines(),
            ["500"],
            "{nets}"
        );
    }
    let mtu = r#"{"name":"tun","type":"tuning","mtu":1400}"#;
    fs::write(dir.join("30-tun.conf"), mtu).unwrap();
    let run = [&["run", "--net=tun", &image], &words[..]].concat();
    in_lab(&rkt, &lab, &run).refused(&["must come after another plugin"]);
}

/// sub-trust and commands ("http", "tls").
#[test]
fn keys_may_come_as_images_may() {
    let rkt = Rkt::new();
    let server = e2e::server::Server::start(|_| e2e::server::Reply::ok("no key"));
    let url = server.url("/key");
    let trust = [
        "trust",
        "--prefix=example.com",
        "--skip-fingerprint-review",
        &url,
    ];
    rkt.strict(&trust).refused(&["--insecure-options=http"]);
    // What comes is read: it is no key.
    let allowed = [&["--insecure-options=http"], &trust[..]].concat();
    let said = rkt
        .strict(&allowed)
        .refused(&["error accessing the key"])
        .all();
    assert!(!said.contains("plain HTTP"), "{said}");
    rkt.strict(&["trust", "--prefix=https://example.com/x", &url])
        .refused(&["without a scheme"]);
}
