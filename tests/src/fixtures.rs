//! What several tests need and what takes time to make: kept in `target/fixtures` and made
//! by whoever comes first, under a lock.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use crate::aci::{Aci, mode_of};

/// The directory of the profile that this program was built with: `target/<triple>/debug`.
fn profile_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let mut dir = exe.parent().unwrap();
    if dir.ends_with("deps") {
        dir = dir.parent().unwrap();
    }
    dir.to_owned()
}

/// One of the workspace's programs; `RKT_BIN_DIR` names another place to take them from.
///
/// # Panics
/// If it has not been built.
pub fn program(name: &str) -> PathBuf {
    let dir = std::env::var_os("RKT_BIN_DIR").map_or_else(profile_dir, PathBuf::from);
    let path = dir.join(name);
    assert!(
        path.exists(),
        "{} is missing: `cargo build --workspace` makes it",
        path.display()
    );
    path
}

/// `target/fixtures`, made if need be.
pub fn dir() -> PathBuf {
    let profile = profile_dir();
    let target = profile
        .ancestors()
        .find(|dir| dir.ends_with("target"))
        .unwrap_or(&profile);
    let dir = target.join("fixtures");
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// An image with nothing but the probe at `/probe`, which reports by default.
pub fn probe() -> Aci {
    probe_with(&program("probe"))
}

/// The same around that executable.
pub fn probe_with(executable: &Path) -> Aci {
    Aci::new("example.com/probe")
        .label("version", "1.0.0")
        .exec(&["/probe", "report"])
        .copy(executable, "/probe", 0o755)
}

/// The image with a program of this machine and the libraries that it needs.
pub fn with_program(mut image: Aci, program: &str) -> Aci {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    for library in words {
        image = image.copy(Path::new(library), library, 0o755);
    }
    image.copy(Path::new(program), program, 0o755)
}

/// An image with busybox and the applets that tests use, which says hello by default.
pub fn busybox() -> Aci {
    let mut aci = Aci::new("example.com/busybox")
        .label("version", "1.35.0")
        .exec(&["/bin/sh", "-c", "echo hello from busybox"])
        .dir("/bin", 0o755)
        .dir("/etc", 0o755)
        .dir("/tmp", 0o1777)
        .file(
            "/etc/passwd",
            0o644,
            "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000:Alice:/home/alice:/bin/sh\n",
        )
        .file(
            "/etc/group",
            0o644,
            "root:x:0:\nalice:x:1000:\nstaff:x:50:alice\n",
        )
        .copy(&busybox_path(), "/bin/busybox", 0o755);
    for applet in APPLETS {
        aci = aci.symlink(&format!("/bin/{applet}"), "busybox");
    }
    aci
}

const APPLETS: &[&str] = &[
    "sh", "echo", "cat", "sleep", "true", "false", "ls", "id", "env", "ps", "mount", "touch",
    "mkdir", "rm", "stat", "hostname", "pwd", "kill", "dd", "nc", "wget", "ip", "grep", "test",
    "tty", "stty", "readlink", "nslookup", "seq",
];

fn busybox_path() -> PathBuf {
    ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .expect("no busybox: `cargo xtask setup test` installs busybox-static")
}

/// The getting-started guide's image.
pub fn hello() -> Aci {
    hello_with(&program("hello"))
}

/// The getting-started guide's image, around that executable.
pub fn hello_with(executable: &Path) -> Aci {
    Aci::new("example.com/hello")
        .label("version", "0.0.1")
        .exec(&["/bin/hello"])
        .port("www", "tcp", 5000)
        .annotation("authors", "Carly Container <carly@example.com>")
        .copy(executable, "/bin/hello", mode_of(executable))
}

/// A Debian root file system with Python, as an image file.
///
/// # Errors
/// When `mmdebstrap` or `tar` fails.
pub fn debian() -> io::Result<PathBuf> {
    let app = Aci::new("debian.org/python")
        .label("version", "12")
        .exec(&["/usr/bin/python3", "--version"]);
    let trim = [
        "--variant=minbase",
        "--include=python3-minimal",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
    ];
    debootstrapped("debian-python", &app, &trim)
}

/// Redis as Debian packages it, with the libraries it needs.
///
/// # Errors
/// When `mmdebstrap` or `tar` fails.
pub fn redis() -> io::Result<PathBuf> {
    let app = Aci::new("debian.org/redis")
        .label("version", "7.0")
        .exec(&[
            "/usr/bin/redis-server",
            "--protected-mode",
            "no",
            "--save",
            "",
            "--dir",
            "/tmp",
        ])
        .port("redis", "tcp", 6379);
    debootstrapped(
        "debian-redis",
        &app,
        &["--variant=extract", "--include=redis-server"],
    )
}

fn debootstrapped(name: &str, app: &Aci, args: &[&str]) -> io::Result<PathBuf> {
    let dir = dir();
    let image = dir.join(format!("{name}.aci"));
    let lock = File::create(dir.join(format!(".{name}.lock")))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if image.exists() {
        return Ok(image);
    }
    let layout = dir.join(format!("{name}.tmp"));
    if layout.exists() {
        fs::remove_dir_all(&layout)?;
    }
    fs::create_dir(&layout)?;
    fs::write(layout.join("manifest"), app.manifest().to_string())?;
    let rootfs = layout.join("rootfs");
    let mut bootstrap = Command::new("mmdebstrap");
    succeed(
        bootstrap
            .args(args)
            .args(["--quiet", "--mode=root", &release()])
            .arg(&rootfs),
    )?;
    let part = dir.join(format!("{name}.part"));
    let mut pack = Command::new("tar");
    pack.args(["--numeric-owner", "--format=gnu", "-C"])
        .arg(&layout)
        .arg("-cf")
        .arg(&part);
    succeed(pack.args(["manifest", "rootfs"]))?;
    fs::rename(&part, &image)?;
    fs::remove_dir_all(&layout)?;
    Ok(image)
}

/// The host's own release where that is Debian, since its keys are here; else the stable one.
fn release() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.trim_matches('"').to_owned())
    };
    match (value("ID").as_deref(), value("VERSION_CODENAME")) {
        (Some("debian"), Some(name)) => name,
        _ => "stable".to_owned(),
    }
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command
        .output()
        .map_err(|e| io::Error::other(format!("{command:?}: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "{command:?}: {}: {stderr}",
        output.status
    )))
}
