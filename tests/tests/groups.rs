//! Privilege separation: members of a group fetch, list and remove images, root runs them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use e2e::oci::{Layout, sha256};
use e2e::{Output, Rkt, Running, fixtures};

use super::oci::script;

const GROUP: &str = "54321";
const MEMBER: &str = "54322";
const STRANGER: &str = "54323";

fn set_up(rkt: &Rkt) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/scripts/setup-data-dir.sh");
    for _ in 0..2 {
        let output = Command::new(&script)
            .args([rkt.data(), rkt.local_config()])
            .env("RKT_GROUP", GROUP)
            .env("RKT_ADMIN_GROUP", GROUP)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
    }
}

fn be(user: &str, group: &str, rkt: &Rkt, args: &[&str]) -> Output {
    let plain = rkt.command(args);
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={group}"));
    command
        .arg("--clear-groups")
        .arg(plain.get_program())
        .args(plain.get_args());
    command.current_dir("/");
    Running::start(command).finish()
}

fn member(rkt: &Rkt, args: &[&str]) -> Output {
    be(MEMBER, GROUP, rkt, args)
}

fn open(path: &Path) {
    let all = Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(path)
        .status();
    assert!(all.unwrap().success());
}

#[test]
fn members_fetch_and_remove_what_root_runs() {
    let rkt = Rkt::new();
    set_up(&rkt);
    let mut layout = Layout::new(rkt.path("layout"));
    layout.add(&script("echo by a member", &[]), "it");
    open(layout.path());
    let aci = rkt.image(&fixtures::busybox());
    open(Path::new(&aci));
    let oci = member(&rkt, &["fetch", "--full", &layout.reference("it")]).expect(0);
    let busybox = member(&rkt, &["fetch", "--full", &aci]).expect(0);
    let listed = member(&rkt, &["image", "list", "--full"]).expect(0);
    assert!(listed.stdout.contains(oci.text()) && listed.stdout.contains(busybox.text()));
    member(&rkt, &["run", "--net=none", oci.text()]).refused(&["unprivileged user"]);
    let output = rkt.run(&["run", "--net=none", oci.text()]).expect(0);
    assert_eq!(output.app_lines(), ["by a member"]);
    rkt.run(&["run", "--net=none", busybox.text()]).expect(0);
    // Root's images are the members' too.
    let own = rkt.fetch(&fixtures::probe());
    member(&rkt, &["image", "rm", &own, oci.text()]).expect(0);
    assert!(!rkt.ok(&["image", "list", "--full"]).contains(oci.text()));
    // Who is no member has nothing to do here.
    be(STRANGER, STRANGER, &rkt, &["image", "list"]).refused(&["ermission denied"]);
    be(STRANGER, STRANGER, &rkt, &["fetch", &aci]).refused(&["ermission denied"]);
}

#[test]
fn admins_trust_keys() {
    let (rkt, gpg) = (Rkt::new(), e2e::Gpg::with_key("ed25519", "Somebody"));
    set_up(&rkt);
    let keys = gpg.export(&rkt.path("keys.gpg"));
    open(Path::new(&keys));
    let args = ["trust", "--root", "--skip-fingerprint-review", &keys];
    member(&rkt, &args).expect(0);
    be(STRANGER, STRANGER, &rkt, &args).refused(&["ermission denied"]);
}

/// What a member leaves in shared directories leads root nowhere.
#[test]
fn root_follows_no_links_that_members_left() {
    let rkt = Rkt::new();
    set_up(&rkt);
    let mut layout = Layout::new(rkt.path("layout"));
    let image = layout.add(&script("echo fine", &[]), "it");
    let victim = rkt.path("victim");
    fs::write(&victim, "precious").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    let layer = sha256(&image.layers[0]);
    let name = layer.replace(':', "-");
    let tmp = rkt.data().join("cas/tmp").join(&name);
    symlink(&victim, &tmp).unwrap();
    rkt.run(&["fetch", &layout.reference("it")])
        .refused(&[&name]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    fs::remove_file(&tmp).unwrap();
    let shard = &layer[7..9];
    let blob = rkt.data().join("cas/blob/sha256").join(shard);
    fs::create_dir_all(&blob).unwrap();
    symlink(&victim, blob.join(&name)).unwrap();
    rkt.ok(&["fetch", &layout.reference("it")]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    let mode = fs::metadata(&victim).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
