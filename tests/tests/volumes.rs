//! Volumes of both kinds and the ways to mount them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use e2e::{Output, Rkt, fixtures};

fn shell(rkt: &Rkt, before: &[&str], aci: &e2e::Aci, after: &[&str], script: &str) -> Output {
    let image = rkt.fetch(aci);
    let words = ["--exec=/bin/sh", "--", "-c", script];
    rkt.run(&[&["run", "--net=none"], before, &[&image], after, &words].concat())
}

fn host_volume(rkt: &Rkt, options: &str) -> String {
    let dir = rkt.path("shared");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("from-host"), "from the host\n").unwrap();
    format!("--volume=data,kind=host,source={}{options}", dir.display())
}

#[test]
fn a_host_directory_at_the_images_mount_point() {
    let rkt = Rkt::new();
    let volume = host_volume(&rkt, "");
    let aci = fixtures::busybox().mount_point("data", "/var/data");
    let output = shell(
        &rkt,
        &[&volume],
        &aci,
        &[],
        "cat /var/data/from-host; echo from the pod > /var/data/back",
    );
    assert_eq!(output.expect(0).app_lines(), ["from the host"]);
    assert_eq!(
        fs::read_to_string(rkt.path("shared").join("back")).unwrap(),
        "from the pod\n"
    );
    rkt.assert_clean();
}

#[test]
fn read_only_is_read_only() {
    let rkt = Rkt::new();
    let volume = host_volume(&rkt, ",readOnly=true");
    let aci = fixtures::busybox().mount_point("data", "/var/data");
    let output = shell(
        &rkt,
        &[&volume],
        &aci,
        &[],
        "touch /var/data/x || echo refused",
    );
    assert!(output.expect(0).app_lines().contains(&"refused"));
    assert!(!rkt.path("shared").join("x").exists());
}

#[test]
fn a_mount_flag_needs_no_mount_point() {
    let rkt = Rkt::new();
    let volume = host_volume(&rkt, "");
    let aci = fixtures::busybox();
    let all = shell(
        &rkt,
        &[&volume, "--mount=volume=data,target=/opt/a"],
        &aci,
        &[],
        "cat /opt/a/from-host",
    );
    assert_eq!(all.expect(0).app_lines(), ["from the host"]);
    let one = shell(
        &rkt,
        &[&volume],
        &aci,
        &["--mount=volume=data,target=/opt/b/c"],
        "cat /opt/b/c/from-host",
    );
    assert_eq!(one.expect(0).app_lines(), ["from the host"]);
}

#[test]
fn a_single_file_is_a_volume_too() {
    let rkt = Rkt::new();
    let file = rkt.path("file");
    fs::write(&file, "one file\n").unwrap();
    let volume = format!("--volume=data,kind=host,source={}", file.display());
    let output = shell(
        &rkt,
        &[&volume, "--mount=volume=data,target=/etc/one"],
        &fixtures::busybox(),
        &[],
        "cat /etc/one",
    );
    assert_eq!(output.expect(0).app_lines(), ["one file"]);
}

#[test]
fn an_empty_volume_is_shared_by_the_pods_apps() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox().mount_point("work", "/work"));
    let write = "echo passed on > /work/tmp; ls -ldn /work; mv /work/tmp /work/note 2>/dev/null || cat /work/tmp > /work/note";
    let read = "until [ -s /work/note ]; do :; done; cat /work/note";
    let output = rkt.run(&[
        "run",
        "--net=none",
        "--volume=work,kind=empty,mode=0770,uid=0,gid=50",
        &image,
        "--name=writes",
        "--exec=/bin/sh",
        "--",
        "-c",
        write,
        "---",
        &image,
        "--name=reads",
        "--exec=/bin/sh",
        "--",
        "-c",
        read,
    ]);
    let output = output.expect(0);
    let lines = output.app_lines();
    assert!(lines.contains(&"passed on"), "{}", output.all());
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("drwxrwx---") && line.contains("50")),
        "{}",
        output.stdout
    );
    rkt.assert_clean();
}

#[test]
fn a_mount_point_without_a_volume_gets_an_empty_one() {
    let rkt = Rkt::new();
    let aci = fixtures::busybox().mount_point("scratch", "/scratch");
    let output = shell(
        &rkt,
        &[],
        &aci,
        &[],
        "grep ' /scratch ' /proc/self/mountinfo > /dev/null && echo mounted",
    );
    assert!(output.expect(0).app_lines().contains(&"mounted"));
}

#[test]
fn a_missing_source_is_named() {
    let rkt = Rkt::new();
    let aci = fixtures::busybox().mount_point("data", "/var/data");
    let output = shell(
        &rkt,
        &["--volume=data,kind=host,source=/nowhere/at/all"],
        &aci,
        &[],
        "true",
    );
    assert_ne!(output.code, 0);
    assert!(output.all().contains("/nowhere/at/all"), "{}", output.all());
    rkt.assert_clean();
}

#[test]
fn malformed_volumes_are_refused() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    for volume in [
        "data",
        "data,kind=strange",
        "data,kind=host",
        "data,kind=empty,mode=9",
        "Data,kind=empty",
    ] {
        rkt.run(&["run", "--net=none", "--volume", volume, &image])
            .refused(&[]);
    }
    assert_eq!(rkt.pods(), Vec::<String>::new());
}

/// A link in the image must not lead a mount out of the app's root.
#[test]
fn a_mount_target_behind_a_link_stays_in_the_root() {
    let rkt = Rkt::new();
    let outside = rkt.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
    let volume = host_volume(&rkt, "");
    let aci = fixtures::busybox()
        .symlink("/escape", "/../../../../../..")
        .symlink("/abs", outside.to_str().unwrap());
    for target in ["/escape/var/tmp/rkt-e2e-escaped", "/abs/inside"] {
        let mount = format!("--mount=volume=data,target={target}");
        let output = shell(&rkt, &[&volume, &mount], &aci, &[], "true");
        assert!(
            !std::path::Path::new("/var/tmp/rkt-e2e-escaped").exists(),
            "{}",
            output.all()
        );
        assert_eq!(
            fs::read_dir(&outside).unwrap().count(),
            0,
            "{}",
            output.all()
        );
    }
    rkt.assert_clean();
}

/// An image as Docker's are, or one like it, with files where a volume belongs. Its place is behind
/// a symlink that would leave the image.
fn with_files(docker: bool) -> e2e::Aci {
    let image = fixtures::busybox()
        .mount_point("volume-data", "/srv/data")
        .dir("/real", 0o755)
        .symlink("/srv", "/real")
        .dir("/real/data", 0o1750)
        .file("/real/data/seed", 0o640, "from the image\n")
        .symlink("/real/data/link", "seed");
    match docker {
        true => image.annotation("appc.io/docker/repository", "library/thing"),
        false => image,
    }
}

const LOOK: [&str; 4] = [
    "--exec=/bin/sh",
    "--",
    "-c",
    "cat /srv/data/seed /srv/data/link; stat -c '%a %F' /srv/data; echo x > /srv/data/new && echo written",
];

#[test]
fn dockers_implicit_volumes_begin_with_the_images_files() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&with_files(true));
    for flags in [&[][..], &["--no-overlay"]] {
        let args = [&["run", "--net=none"], flags, &[&image], &LOOK].concat();
        let output = rkt.run(&args).expect(0);
        assert_eq!(
            output.app_lines(),
            [
                "from the image",
                "from the image",
                "1750 directory",
                "written"
            ]
        );
    }
    // What the user put there counts alone.
    let given = "--volume=volume-data,kind=empty";
    let args = [&["run", "--net=none", given, &image], &LOOK[..]].concat();
    let output = rkt.run(&args).expect(0);
    assert!(output.all().contains("can't open"), "{}", output.all());
    // The image itself was not written to.
    let args = [&["run", "--net=none", &image], &LOOK[..3]].concat();
    let output = rkt.run(&[&args[..], &["ls /srv/data"]].concat()).expect(0);
    assert_eq!(output.app_lines(), ["link", "seed"]);
    rkt.assert_clean();
}

#[test]
fn other_images_implicit_volumes_are_empty() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&with_files(false));
    let args = [
        "run",
        "--net=none",
        &image,
        "--exec=/bin/ls",
        "--",
        "/srv/data",
    ];
    let output = rkt.run(&args).expect(0);
    assert_eq!(output.stdout, "");
    rkt.assert_clean();
}

#[test]
fn apps_added_later_get_their_volumes_files_too() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&with_files(true));
    let (_pod, uuid) = rkt.start_sandbox(&["--net=none"]);
    let script = "cat /srv/data/seed > /srv/data/copy; exec sleep 1000";
    let args = [
        "app",
        "add",
        &uuid,
        &image,
        "--name=late",
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ];
    rkt.ok(&args);
    rkt.ok(&["app", "start", "--app=late", &uuid]);
    let read = ["enter", "--app=late", &uuid, "/bin/cat", "/srv/data/copy"];
    e2e::until(std::time::Duration::from_secs(10), "the copy", || {
        rkt.run(&read).stdout.contains("from the image")
    });
    rkt.ok(&["stop", "--force", &uuid]);
    rkt.await_state(&uuid, "exited");
    rkt.assert_clean();
}

/// Where the host shares its mounts, those made below a volume later appear in the app; those of
/// the app never on the host (`attacks_kernel`).
#[test]
fn mounts_made_later_below_a_volume_reach_the_app() {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let shared = e2e::TempDir::new();
    mount_bind(shared.path(), shared.path()).unwrap();
    mount_change(shared.path(), MountPropagationFlags::SHARED).unwrap();
    let source = shared.path().join("source");
    let late = source.join("late");
    std::fs::create_dir_all(&late).unwrap();
    let volume = format!("--volume=v,kind=host,source={}", source.display());
    let script = "echo ready; until [ -e /v/go ]; do sleep 0.05; done; \
                  [ -e /v/late/file ] && echo there";
    let run = [
        "run",
        "--net=none",
        &volume,
        &image,
        "--mount=volume=v,target=/v",
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ];
    let mut running = rkt.start(&run);
    running.await_stdout("ready");
    mount("none", &late, "tmpfs", MountFlags::empty(), None).unwrap();
    std::fs::write(late.join("file"), "").unwrap();
    std::fs::write(source.join("go"), "").unwrap();
    let output = running.finish().expect(0);
    assert_eq!(output.app_lines(), ["ready", "there"], "{}", output.all());
    drop(shared);
    rkt.assert_clean();
}
