//! Devices as volumes: the app that mounts one may use it, the others may not.

use e2e::{Rkt, fixtures};

/// A device outside the standard ones that every kernel of ours has: the kernel's message buffer.
const DEVICE: &str = "/dev/kmsg";

fn app<'a>(image: &'a str, name: &'a str, mount: &'a [&'a str]) -> Vec<&'a str> {
    // Reading could block; opening is what the policy forbids.
    let script = "for f in /dev/given /tmp/own; do (: < $f) 2>&1 && echo $f opened; done; sleep 1";
    let mut words = vec![image, name];
    words.extend(mount);
    words.extend([
        "--caps-retain=CAP_MKNOD,CAP_SYSLOG",
        "--exec=/bin/sh",
        "--",
        "-c",
    ]);
    words.push(script);
    words
}

#[test]
fn only_the_app_that_was_given_a_device_can_open_it() {
    let rkt = Rkt::new();
    let image = fixtures::busybox().symlink("/bin/mknod", "busybox");
    let image = rkt.fetch(&image);
    let volume = format!("--volume=dev,kind=host,source={DEVICE}");
    let mount = ["--mount=volume=dev,target=/dev/given"];
    let (with, without) = (
        app(&image, "--name=with", &mount),
        app(&image, "--name=without", &[]),
    );
    let make = "mknod /dev/given c 1 11; mknod /tmp/own c 1 11; ";
    let script = |words: &[&str]| {
        let (last, first) = words.split_last().unwrap();
        let mut all: Vec<String> = first.iter().map(|w| (*w).to_owned()).collect();
        all.push(format!("{make}{last}"));
        all
    };
    let (with, without) = (script(&with), script(&without));
    let mut args = vec!["run".to_owned(), "--net=none".to_owned(), volume];
    args.extend(with);
    args.push("---".to_owned());
    args.extend(without);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = rkt.run(&args).expect(0);
    assert!(
        output.lines_of("with").contains(&"/dev/given opened"),
        "{}",
        output.all()
    );
    assert!(
        output
            .lines_of("without")
            .iter()
            .all(|line| !line.contains("opened")),
        "{}",
        output.all()
    );
    assert!(
        output
            .lines_of("without")
            .iter()
            .any(|line| line.contains("not permitted")),
        "{}",
        output.all()
    );
    rkt.assert_clean();
}

#[test]
fn an_app_added_later_gets_no_device() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let (pod, uuid) = rkt.start_sandbox(&["--net=none"]);
    let volume = format!("--mnt-volume=name=dev,kind=host,source={DEVICE},target=/dev/given");
    rkt.run(&["app", "add", &uuid, &image, &volume])
        .refused(&["device 1:11"]);
    assert_eq!(rkt.ok(&["app", "list", "--no-legend", &uuid]), "");
    rkt.ok(&["stop", "--force", &uuid]);
    pod.finish();
    rkt.assert_clean();
}
