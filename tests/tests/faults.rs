//! A machine that does not play along: full disks, unreadable directories.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use e2e::{Rkt, SmallDisk, fixtures};

fn large() -> e2e::Aci {
    fixtures::busybox().file("/large", 0o644, vec![b'x'; 30 << 20])
}

#[test]
fn fetching_onto_a_full_disk() {
    let rkt = Rkt::new();
    let _disk = SmallDisk::mount(&rkt.data(), "20M");
    let path = rkt.image(&large());
    let output = rkt.run(&["fetch", &path]);
    output.refused(&["o space left"]);
    let used = Command::new("du")
        .args(["-sk"])
        .arg(rkt.data())
        .output()
        .unwrap();
    let used: u64 = String::from_utf8_lossy(&used.stdout)
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(used < 2000, "{used} KiB stay behind");
    // A smaller image still goes in.
    rkt.fetch(&fixtures::probe());
}

#[test]
fn running_on_a_full_disk() {
    let rkt = Rkt::new();
    let _disk = SmallDisk::mount(&rkt.data(), "40M");
    let image = rkt.fetch(&fixtures::probe());
    rkt.run(&["run", "--net=none", &image, "--exec=/probe", "--", "true"])
        .expect(0);
    // Fill what is left.
    let filler = rkt.data().join("filler");
    let _ = fs::write(&filler, vec![0u8; 64 << 20]);
    let output = rkt.run(&["run", "--net=none", &image, "--exec=/probe", "--", "true"]);
    assert_ne!(output.code, 0);
    assert!(output.all().contains("o space left"), "{}", output.all());
    fs::remove_file(&filler).unwrap();
    rkt.run(&["list"]).expect(0);
    rkt.run(&["run", "--net=none", &image, "--exec=/probe", "--", "true"])
        .expect(0);
    rkt.assert_clean();
}

#[test]
fn a_data_directory_that_is_a_file() {
    let rkt = Rkt::new();
    fs::remove_dir(rkt.data()).unwrap();
    fs::write(rkt.data(), "a file").unwrap();
    let name = rkt.data().display().to_string();
    for args in [
        ["list"].as_slice(),
        &["image", "list"],
        &["fetch", "/etc/hostname"],
        &["gc"],
    ] {
        let output = rkt.run(args);
        assert_eq!(output.code, 254, "{args:?}: {}", output.all());
        assert!(output.stderr.contains(&name), "{args:?}: {}", output.stderr);
    }
    fs::remove_file(rkt.data()).unwrap();
}

/// As a user who may not look into it: `list` says so instead of showing nothing.
#[test]
fn a_data_directory_that_cannot_be_read() {
    let rkt = Rkt::new();
    rkt.fetch(&fixtures::probe());
    fs::set_permissions(rkt.data(), fs::Permissions::from_mode(0o700)).unwrap();
    let program = rkt.path("rkt");
    fs::copy(fixtures::program("rkt"), &program).unwrap();
    let data = format!("--dir={}", rkt.data().display());
    let run = |args: &[&str]| {
        let mut plain = Command::new(&program);
        plain.arg(&data).args(args);
        e2e::Running::start(e2e::as_user("65534", "65534", &plain)).finish()
    };
    run(&["list"]).refused(&["ermission denied"]);
    run(&["image", "list"]).refused(&["ermission denied"]);
    run(&["run", "example.com/probe"]).refused(&["cannot run as unprivileged user"]);
    run(&["gc"]).refused(&["cannot run as unprivileged user"]);
    run(&["version"]).expect(0);
}

#[test]
fn an_odd_umask_changes_nothing() {
    let rkt = Rkt::new();
    let image = rkt.image(&fixtures::busybox());
    let inner = rkt.command(&["run", "--net=none", &image, "--user=1000", "--group=1000"]);
    let own = ["-c", "umask 0777; exec \"$@\"", "sh"];
    let command = e2e::through("/bin/sh", &own, &inner);
    let output = e2e::Running::start(command).finish().expect(0);
    assert!(
        output.stdout.contains("hello from busybox"),
        "{}",
        output.all()
    );
    rkt.assert_clean();
}

/// Closed standard streams, as a careless daemon leaves them.
#[test]
fn closed_standard_streams() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let inner = rkt.command(&[
        "run",
        "--net=none",
        &image,
        "--exec=/probe",
        "--",
        "exit",
        "4",
    ]);
    let own = ["-c", "exec \"$@\" <&- >&- 2>&-", "sh"];
    let command = e2e::through("/bin/sh", &own, &inner);
    e2e::Running::start(command).finish().expect(4);
    rkt.assert_clean();
}
