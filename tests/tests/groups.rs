//! Privilege separation: members of a group fetch, list and remove images, root runs them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::oci::{Layout, sha256};
use e2e::server::{Reply, Server};
use e2e::{Output, Rkt, Running, as_user, fixtures};

use super::oci::script;

const GROUP: &str = "54321";
const MEMBER: &str = "54322";
const STRANGER: &str = "54323";
const ADMINS: &str = "54324";

fn set_up(rkt: &Rkt) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/scripts/setup-data-dir.sh");
    for _ in 0..2 {
        let output = Command::new(&script)
            .args([rkt.data(), rkt.local_config()])
            .env("RKT_GROUP", GROUP)
            .env("RKT_ADMIN_GROUP", ADMINS)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
    }
}

fn be(user: &str, group: &str, rkt: &Rkt, args: &[&str]) -> Output {
    Running::start(as_user(user, group, &rkt.command(args))).finish()
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
    let published = script("echo from afar", &[]).published();
    let registry = Server::start(move |request| published.answer(request));
    let image = format!("docker://{}/it:v1", registry.authority());
    let fetch = ["--insecure-options=image,http", "fetch", "--full", &image];
    let afar = member(&rkt, &fetch).expect(0);
    let output = rkt.run(&["run", "--net=none", afar.text()]).expect(0);
    assert_eq!(output.app_lines(), ["from afar"]);
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
    // To fetch images is one thing, to say whose are good another.
    member(&rkt, &args).refused(&["ermission denied"]);
    be(STRANGER, STRANGER, &rkt, &args).refused(&["ermission denied"]);
    assert!(
        !rkt.local_config()
            .join("trustedkeys/root.d")
            .join(gpg.fingerprint())
            .exists()
    );
    be(STRANGER, ADMINS, &rkt, &args).expect(0);
    // Members' fetches are checked with the key.
    let image = rkt.image(&fixtures::probe());
    gpg.sign_beside(&image, &[]);
    open(Path::new(&image));
    open(Path::new(&format!("{image}.asc")));
    let fetch = rkt.strict_command(&["fetch", &image]);
    let fetched = Running::start(as_user(MEMBER, GROUP, &fetch))
        .finish()
        .expect(0);
    assert!(
        fetched.stderr.contains("signature verified"),
        "{}",
        fetched.all()
    );
}

/// What a member leaves in shared directories leads root nowhere: neither links nor pipes nor other
/// names of root's files, wherever a member may write.
#[test]
fn root_follows_nothing_that_members_left() {
    let rkt = Rkt::new();
    set_up(&rkt);
    let mut layout = Layout::new(rkt.path("layout"));
    let image = layout.add(&script("echo fine", &[]), "it");
    let reference = layout.reference("it");
    let layer = sha256(&image.layers[0]);
    let name = layer.replace(':', "-");
    let victim = Victim::new(&rkt);
    let cas = rkt.data().join("cas");

    // In the place of a layer that arrives.
    let tmp = cas.join("tmp").join(&name);
    for bait in Bait::ALL {
        bait.lay(&victim, &tmp);
        let id = rkt.ok(&["fetch", "--full", &reference]);
        victim.assert_untouched(&format!("{bait:?} at cas/tmp"));
        rkt.ok(&["image", "rm", &id]);
        rkt.ok(&["image", "gc", "--grace-period=0s"]);
    }
    // Where a blob belongs, and its directory.
    let shard = cas.join("blob/sha256").join(&layer[7..9]);
    for bait in Bait::ALL {
        fs::create_dir_all(&shard).unwrap();
        bait.lay(&victim, &shard.join(&name));
        let id = rkt.ok(&["fetch", "--full", &reference]);
        victim.assert_untouched(&format!("{bait:?} at cas/blob"));
        rkt.ok(&["image", "rm", &id]);
        rkt.ok(&["image", "gc", "--grace-period=0s"]);
    }
    let _ = fs::remove_dir_all(&shard);
    let away = rkt.path("away");
    fs::create_dir(&away).unwrap();
    symlink(&away, &shard).unwrap();
    rkt.run(&["fetch", &reference])
        .refused(&[&shard.display().to_string()]);
    assert_eq!(fs::read_dir(&away).unwrap().count(), 0);
    fs::remove_file(&shard).unwrap();

    // Where a manifest and the locks of an image are.
    let id = rkt.ok(&["fetch", "--full", &reference]);
    for folder in ["imageManifest/sha512", "imagelocks"] {
        let shard = match folder {
            "imagelocks" => cas.join(folder),
            _ => cas.join(folder).join(&id[7..9]),
        };
        let path = shard.join(&id);
        let saved = fs::read(&path).unwrap_or_default();
        for bait in Bait::ALL {
            let _ = fs::remove_file(&path);
            bait.lay(&victim, &path);
            for args in [
                &["image", "cat-manifest", &id][..],
                &["image", "list"],
                &["fetch", &reference],
                &["image", "gc"],
                &["run", "--net=none", &id],
            ] {
                let output = rkt.run(args);
                assert!(matches!(output.code, 0 | 254), "{args:?}: {}", output.all());
                assert!(!output.all().contains("precious"), "{}", output.all());
            }
            victim.assert_untouched(&format!("{bait:?} at cas/{folder}"));
        }
        let _ = fs::remove_file(&path);
        fs::write(&path, saved).unwrap();
    }
    assert_eq!(
        rkt.run(&["run", "--net=none", &id]).expect(0).app_lines(),
        ["fine"]
    );
}

/// A file of root's, and where a link to its name must not be followed.
struct Victim {
    path: PathBuf,
}

/// What somebody puts in the place of a file that root is going to open.
#[derive(Debug, Clone, Copy)]
enum Bait {
    SymbolicLink,
    HardLink,
    Pipe,
}

impl Bait {
    const ALL: [Self; 3] = [Self::SymbolicLink, Self::HardLink, Self::Pipe];

    fn lay(self, victim: &Victim, at: &Path) {
        match self {
            Self::SymbolicLink => symlink(&victim.path, at).unwrap(),
            Self::HardLink => fs::hard_link(&victim.path, at).unwrap(),
            Self::Pipe => {
                let made = Command::new("mkfifo").arg(at).status().unwrap();
                assert!(made.success());
            }
        }
    }
}

impl Victim {
    fn new(rkt: &Rkt) -> Self {
        let path = rkt.path("victim");
        fs::write(&path, "precious").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Self { path }
    }

    #[track_caller]
    fn assert_untouched(&self, after: &str) {
        assert_eq!(
            fs::read_to_string(&self.path).unwrap(),
            "precious",
            "{after}"
        );
        let mode = fs::metadata(&self.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{after}");
    }
}

/// A member's link in the place of what is kept of a download: no server is told what it leads to.
#[test]
fn no_server_is_told_what_a_link_leads_to() {
    let rkt = Rkt::new();
    set_up(&rkt);
    let secret = rkt.path("secret");
    fs::write(&secret, "precious").unwrap();
    let server = Server::start(|_| Reply::ok("half").header("etag", "\"one\"").cut_after(2));
    let url = server.url("/app.aci");
    let fetch = || rkt.strict(&["--insecure-options=image,http", "fetch", &url]);
    fetch().refused(&[]);
    let tmp = rkt.data().join("cas/tmp");
    let mut kept = fs::read_dir(&tmp).unwrap().flatten().map(|e| e.path());
    let etag = kept.find(|p| p.extension().is_some_and(|e| e == "etag"));
    let etag = etag.unwrap();
    fs::remove_file(&etag).unwrap();
    symlink(&secret, &etag).unwrap();
    fetch().refused(&[]);
    let told = server.requests();
    let told = told.iter().flat_map(|r| &r.headers);
    assert!(
        told.into_iter()
            .all(|(_, value)| !value.contains("precious"))
    );
}

/// Trees lie where no member can put another in their place.
#[test]
fn members_cannot_exchange_what_root_runs() {
    let rkt = Rkt::new();
    set_up(&rkt);
    let cas = rkt.data().join("cas");
    for name in [
        "tree",
        "treestorelocks",
        "building",
        "blob",
        "imageManifest",
    ] {
        let (from, to) = (cas.join(name), cas.join("away"));
        let output = as_member(&["mv", from.to_str().unwrap(), to.to_str().unwrap()]);
        assert!(!output.status.success(), "{name} was moved");
    }
    for name in ["tree", "treestorelocks", "building"] {
        let file = cas.join(name).join("mine");
        assert!(
            !as_member(&["touch", file.to_str().unwrap()])
                .status
                .success()
        );
    }
    // Also where rkt itself makes the directories, in a data directory that belongs to a group.
    let other = Rkt::new();
    std::os::unix::fs::chown(other.data(), None, Some(GROUP.parse().unwrap())).unwrap();
    fs::set_permissions(other.data(), fs::Permissions::from_mode(0o2770)).unwrap();
    other.fetch(&fixtures::busybox());
    let mode = |name: &str| {
        let path = other.data().join("cas").join(name);
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    };
    assert_eq!((mode(""), mode("blob")), (0o3770, 0o3770));
    assert_eq!((mode("tree"), mode("building")), (0o2750, 0o2750));
    assert_eq!((mode("tmp"), mode("blob/sha512")), (0o2770, 0o2770));
}

fn as_member(args: &[&str]) -> std::process::Output {
    let mut plain = Command::new(args[0]);
    plain.args(&args[1..]);
    as_user(MEMBER, GROUP, &plain).output().unwrap()
}
