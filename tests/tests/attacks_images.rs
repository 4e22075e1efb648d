//! Hostile images, and a host directory whose owner races the set-up of mounts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::{Aci, Output, Rkt, fixtures};

/// Busybox alone.
fn bare() -> Aci {
    Aci::new("example.com/hostile")
        .exec(&["/bin/sh"])
        .dir("/bin", 0o755)
        .copy(&fixtures::busybox_path(), "/bin/busybox", 0o755)
        .symlink("/bin/sh", "busybox")
        .symlink("/bin/cat", "busybox")
        .symlink("/bin/id", "busybox")
        .symlink("/bin/ls", "busybox")
}

fn run(rkt: &Rkt, image: &Aci, flags: &[&str], script: &str) -> Output {
    let image = rkt.fetch(image);
    let words = ["--exec=/bin/sh", "--", "-c", script];
    rkt.run(
        &[
            &["run", "--net=none", "--dns=8.8.8.8", &image],
            flags,
            &words,
        ]
        .concat(),
    )
}

/// A directory of the host's with a secret, and what leads to it from inside a root.
struct Host {
    rkt: Rkt,
    dir: std::path::PathBuf,
}

impl Host {
    fn new() -> Self {
        let rkt = Rkt::new();
        let dir = rkt.path("host");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), "secret").unwrap();
        Self { rkt, dir }
    }

    fn ways(&self, name: &str) -> [String; 2] {
        let path = self.dir.join(name).display().to_string();
        [format!("/../../../../../../../../..{path}"), path]
    }

    #[track_caller]
    fn untouched(&self, output: &Output) {
        assert!(!output.stdout.contains("secret"), "{}", output.all());
        assert_eq!(fs::read_to_string(self.dir.join("file")).unwrap(), "secret");
        assert_eq!(fs::read_dir(&self.dir).unwrap().count(), 1);
    }
}

#[test]
fn system_directories_that_are_links() {
    let host = Host::new();
    for target in ["/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/etc"] {
        for way in host.ways("") {
            for users in ["--private-users=false", "--private-users"] {
                let image = bare().symlink(target, way.trim_end_matches('/'));
                let script = format!("cat {target}/file; echo x > {target}/new; ls {target}/");
                let args = ["run", "--net=none", users, &host.rkt.fetch(&image)];
                let words = ["--exec=/bin/sh", "--", "-c", &script];
                let output = host.rkt.run(&[&args[..], &words].concat());
                host.untouched(&output);
            }
        }
    }
    host.rkt.assert_clean();
}

#[test]
fn system_files_that_are_something_else() {
    let host = Host::new();
    for file in [
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/hostname",
        "/etc/passwd",
        "/etc/group",
    ] {
        let base = || bare().dir("/etc", 0o755);
        let [up, absolute] = host.ways("file");
        for image in [
            base().symlink(file, &up),
            base().symlink(file, &absolute),
            base().fifo(file),
            base().dir(file, 0o755),
            base().device(file, 1, 5),
        ] {
            // It runs, or says why not; it never hangs.
            let output = run(&host.rkt, &image, &[], "echo started; echo x > /etc/new");
            let said = output.app_lines().contains(&"started") || output.stderr.contains("/etc/");
            assert!(said, "{file}: {output:?}");
            host.untouched(&output);
        }
    }
    host.rkt.assert_clean();
}

#[test]
fn passwd_files_that_lie() {
    let rkt = Rkt::new();
    let long = "x".repeat(6 << 20);
    let minus = "evil:x:4294967295:4294967295::/:/bin/sh\n";
    for (text, user) in [
        (long.as_str(), "evil"),
        ("evil:x:99999999999:1::/:/bin/sh\n", "evil"),
        ("evil:x:-1:-1::/:/bin/sh\n", "evil"),
        ("evil:x::::::\n", "evil"),
        ("evil\n:::::::\n", "evil"),
        (minus, "evil"),
        ("", "4294967295"),
    ] {
        let image = bare().dir("/etc", 0o755).file("/etc/passwd", 0o644, text);
        let output = run(&rkt, &image, &[&format!("--user={user}")], "id -u");
        // Nobody becomes root by a number that means "leave it as it is".
        assert_eq!(output.app_lines(), Vec::<&str>::new(), "{}", output.all());
        assert!(
            output.stderr.contains("user") || output.stderr.contains("4294967295"),
            "{}",
            output.all()
        );
        let output = run(&rkt, &image, &["--group=4294967295"], "id -g");
        assert_eq!(output.app_lines(), Vec::<&str>::new(), "{}", output.all());
    }
    // The first of two entries counts, without a newline at its end or with.
    let text = "evil:x:7:7::/:/bin/sh\nevil:x:0:0::/:/bin/sh";
    let image = bare().dir("/etc", 0o755).file("/etc/passwd", 0o644, text);
    let output = run(&rkt, &image, &["--user=evil"], "id -u").expect(0);
    assert_eq!(output.app_lines(), ["7"]);
    rkt.assert_clean();
}

#[test]
fn mount_points_and_volumes_below_links() {
    let host = Host::new();
    let empty = host.rkt.path("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("file"), "volume").unwrap();
    let volume = format!("--volume=v,kind=host,source={}", empty.display());
    for way in host.ways("") {
        let way = way.trim_end_matches('/').to_owned();
        for target in ["/way", "/way/new", "/way/file", "/way/../../way/x"] {
            let image = bare().symlink("/way", &way).mount_point("v", "/mnt");
            let image = host.rkt.fetch(&image);
            let mount = format!("--mount=volume=v,target={target}");
            let words = [
                "--exec=/bin/sh",
                "--",
                "-c",
                "cat /way/file; echo x > /way/y",
            ];
            let output = host
                .rkt
                .run(&[&["run", "--net=none", &volume, &mount, &image][..], &words].concat());
            host.untouched(&output);
        }
    }
    host.rkt.assert_clean();
}

/// Somebody with rights on a volume replaces the directory that another volume is mounted on by a
/// link, again and again, while apps start.
#[test]
fn links_that_race_the_set_up() {
    let host = Host::new();
    let volume = host.rkt.path("volume");
    fs::create_dir_all(volume.join("sub")).unwrap();
    symlink(&host.dir, volume.join("link")).unwrap();
    let other = host.rkt.path("other");
    fs::create_dir(&other).unwrap();
    let image = host.rkt.fetch(&bare());
    let (a, b) = (
        format!("--volume=a,kind=host,source={}", volume.display()),
        format!("--volume=b,kind=host,source={}", other.display()),
    );
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (sub, link) = (volume.join("sub"), volume.join("link"));
            while !done.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let _ =
                    rustix::fs::renameat_with(rustix::fs::CWD, &sub, rustix::fs::CWD, &link, flags);
            }
        });
        let attempts = || {
            for n in 0..30 {
                let users = ["--private-users=false", "--private-users"][n % 2];
                let args = [
                    "run",
                    "--net=none",
                    users,
                    &a,
                    &b,
                    "--mount=volume=a,target=/a",
                    "--mount=volume=b,target=/a/sub",
                    "--mount=volume=b,target=/a/sub/deep/er",
                    &image,
                    "--exec=/bin/sh",
                    "--",
                    "-c",
                    "cat /a/sub/file; echo x > /a/sub/x",
                ];
                let output = host.rkt.run(&args);
                host.untouched(&output);
            }
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempts));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(mounts_at(&host.dir).is_empty());
    host.rkt.assert_clean();
}

fn mounts_at(dir: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let dir = dir.to_str().unwrap();
    table
        .lines()
        .filter(|line| line.contains(dir))
        .map(str::to_owned)
        .collect()
}

#[test]
fn names_and_variables_that_are_orders() {
    let rkt = Rkt::new();
    let image = bare()
        .env("LD_PRELOAD", "/evil.so")
        .env("PATH", "/evil:/../..")
        .env("AC_APP_NAME", "other\nname")
        .env("container", "$(id)");
    let output = run(&rkt, &image, &[], "/bin/id -u").expect(0);
    assert_eq!(output.app_lines(), ["0"]);
    let image = rkt.fetch(&image);
    for hostname in ["../../etc", "a/b", "a\nb", &"x".repeat(65), ""] {
        let args = [
            "run",
            "--net=none",
            &format!("--hostname={hostname}"),
            &image,
            "--exec=/bin/id",
        ];
        // It runs under that name, or says that it cannot; no file is made of it.
        let output = rkt.run(&args);
        assert!([0, 254].contains(&output.code), "{}", output.all());
    }
    rkt.assert_clean();
}
