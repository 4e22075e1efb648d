//! What a hostile app, as root in its pod, tries against the host, its supervisor and its
//! neighbours. All of it must fail.

use std::path::Path;

use e2e::{Output, Rkt, fixtures};

/// No filter: what holds now holds without luck with the list of system calls.
const NO_FILTER: &str = "--seccomp=mode=retain,@appc.io/all";

fn shell(flags: &[&str], script: &str) -> Output {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let words = ["--exec=/bin/sh", "--", "-c", script];
    let output = rkt.run(&[&["run", "--net=none", &image], flags, &words].concat());
    rkt.assert_clean();
    output
}

/// Runs the script and expects that it reached its end without having printed `broken`.
#[track_caller]
fn withstood(flags: &[&str], script: &str) {
    let output = shell(flags, &format!("{script}\necho end")).expect(0);
    let lines = output.app_lines();
    assert!(!lines.contains(&"broken"), "{}", output.all());
    assert_eq!(lines.last(), Some(&"end"), "{}", output.all());
}

#[test]
fn the_supervisors_files_and_memory() {
    withstood(
        &[NO_FILTER],
        "ls /proc/1/root/ && echo broken
         ls /proc/1/cwd/ && echo broken
         readlink /proc/1/fd/0 && echo broken
         for fd in /proc/1/fd/*; do (: < $fd) && echo broken; done
         cat /proc/1/environ && echo broken
         head -c 1 /proc/1/mem && echo broken
         (: > /proc/1/mem) && echo broken
         (: >> /proc/1/exe) && echo broken
         true",
    );
}

#[test]
fn the_supervisor_survives_its_apps_signals() {
    let output = shell(
        &[],
        "kill -KILL 1; kill -STOP 1; kill -SEGV 1; kill -USR1 1; kill -ABRT 1; echo end; exit 3",
    );
    // The supervisor is there to pass the word and the status on.
    assert_eq!(output.expect(3).app_lines(), ["end"]);
}

#[test]
fn an_apps_neighbour() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    // The neighbour keeps more capabilities, so it is not the other's to look into.
    let output = rkt.run(&[
        "run",
        "--net=none",
        &image,
        "--name=victim",
        "--caps-retain=CAP_SYS_PTRACE,CAP_NET_ADMIN",
        "--exec=/bin/sh",
        "--",
        "-c",
        "touch /secret; sleep 2",
        "---",
        &image,
        "--name=attacker",
        NO_FILTER,
        "--exec=/bin/sh",
        "--",
        "-c",
        "sleep 0.5; for p in /proc/[0-9]*; do [ -e $p/root/secret ] && echo broken; \
         [ ${p#/proc/} != $$ ] && [ \"$(cat $p/comm)\" = sleep ] && head -c 1 $p/mem && echo broken; \
         done; [ -e /secret ] && echo broken; echo end",
    ]);
    let output = output.expect(0);
    assert_eq!(output.app_lines(), ["end"], "{}", output.all());
}

#[test]
fn no_descriptor_leaks_in() {
    // The shell's own glob opens one.
    let output = shell(
        &[],
        "for fd in /proc/self/fd/*; do readlink $fd; done; true",
    )
    .expect(0);
    for line in output.app_lines() {
        let known = line == "/dev/null" || line.starts_with("pipe:");
        assert!(known, "{line} in {}", output.all());
    }
}

#[test]
fn mounts_and_namespaces_without_a_filter() {
    withstood(
        &[NO_FILTER],
        "mount -t tmpfs none /tmp && echo broken
         mount -t cgroup none /tmp && echo broken
         mount -t proc none /tmp && echo broken
         mount -o remount,rw /proc/sys && echo broken
         umount /proc/kcore && echo broken
         umount /sys && echo broken
         unshare -m true && echo broken
         unshare -n true && echo broken
         nsenter -t 1 -m true && echo broken
         true",
    );
}

#[test]
fn the_hosts_knobs() {
    withstood(
        &[NO_FILTER],
        "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/drop_caches \
                  /proc/sysrq-trigger /proc/sys/kernel/hostname /proc/sys/fs/binfmt_misc/register \
                  /sys/kernel/uevent_helper /sys/fs/cgroup/release_agent; do
             (echo x > $f) 2>/dev/null && echo broken
         done
         for f in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug; do
             [ \"$(head -c 1 $f 2>/dev/null | wc -c)\" = 0 ] || echo broken
         done
         for d in /proc/acpi /proc/scsi /sys/firmware /sys/devices/virtual/powercap /sys/fs; do
             [ -z \"$(ls -A $d 2>/dev/null)\" ] || echo broken
         done
         true",
    );
}

#[test]
fn shared_memory_is_bounded_in_bytes_and_in_files() {
    withstood(
        &[],
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=100 2>/dev/null && echo broken
         rm /dev/shm/x
         mkdir /dev/shm/d && cd /dev/shm/d && seq 70000 | xargs touch 2>/dev/null && echo broken
         true",
    );
}

#[test]
fn a_set_id_program_gains_nothing() {
    let rkt = Rkt::new();
    let image = fixtures::probe().copy(&fixtures::program("probe"), "/set-id", 0o6755);
    let image = rkt.fetch(&image);
    let ids = |flags: &[&str]| {
        let words = [
            "--user=1000",
            "--group=1000",
            "--exec=/set-id",
            "--",
            "report",
        ];
        let output = rkt.run(&[&["run", "--net=none", &image], flags, &words].concat());
        let report = output.expect(0).report();
        report["status"]["Uid"].as_str().unwrap().to_owned()
    };
    // Under a filter an ordinary user has no-new-privileges.
    let held = ids(&[]);
    assert!(held.split_whitespace().all(|id| id == "1000"), "{held}");
    // That is what holds it: without, the bit works.
    assert!(ids(&[NO_FILTER]).contains('0'));
}

#[test]
fn an_images_links_lead_nowhere_outside() {
    let rkt = Rkt::new();
    let host = rkt.path("host");
    std::fs::create_dir_all(host.join("dir")).unwrap();
    std::fs::write(host.join("file"), "secret").unwrap();
    let (file, dir) = (host.join("file"), host.join("dir"));
    let up = |path: &Path| format!("../../../../../../../../../..{}", path.display());
    let mut image = fixtures::busybox()
        .symlink("/way", &up(&dir))
        .mount_point("v", "/way/volume");
    for (number, name) in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"]
        .into_iter()
        .enumerate()
    {
        let absolute = file.display().to_string();
        image = image.symlink(name, &if number == 1 { up(&file) } else { absolute });
    }
    let image = rkt.fetch(&image);
    let script = "cat /etc/hosts /etc/hostname /etc/resolv.conf 2>/dev/null | grep secret; \
                  for f in /etc/hosts /etc/resolv.conf /way/x /way/volume/x; do echo changed > $f; done; \
                  echo end";
    let args = [
        "run",
        "--net=none",
        "--dns=8.8.8.8",
        "--volume=v,kind=empty",
        &image,
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ];
    let output = rkt.run(&args);
    // A pod that refuses such an image is as good.
    assert!(!output.stdout.contains("secret"), "{}", output.all());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "secret");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    rkt.assert_clean();
}

#[test]
fn device_nodes_open_nothing() {
    let disk = std::fs::read_dir("/sys/block").unwrap().map(|d| d.unwrap());
    let numbers = disk.map(|d| std::fs::read_to_string(d.path().join("dev")).unwrap());
    for number in numbers.take(2) {
        let (major, minor) = number.trim().split_once(':').unwrap();
        withstood(
            &[NO_FILTER],
            &format!(
                "mknod /tmp/disk b {major} {minor} && head -c 1 /tmp/disk && echo broken
                 mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem && echo broken
                 mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg && echo broken
                 mknod /tmp/console c 5 1 && echo x > /tmp/console && echo broken
                 [ $(stat -c %t:%T /dev/console) = 5:1 ] && echo broken
                 mknod /dev/shm/null c 1 3 && echo x > /dev/shm/null && echo broken
                 true"
            ),
        );
    }
}
