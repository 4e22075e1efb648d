//! Signed images: keys and signatures of the real gpg.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use e2e::{Aci, Compression, Gpg, Output, Rkt, Running, fixtures};

pub(super) const USER: &str = "Carly Container (ACI signing key) <carly@example.com>";
const PREFIX: &str = "--prefix=example.com/probe";

/// Trusts a home's keys for the probe.
#[track_caller]
pub(super) fn trust(rkt: &Rkt, gpg: &Gpg) -> Output {
    let file = gpg.export(&rkt.path("pubkeys.gpg"));
    let args = ["trust", PREFIX, "--skip-fingerprint-review", &file];
    rkt.strict(&args).expect(0)
}

/// An image that is small, and its path.
pub(super) fn probe(rkt: &Rkt) -> String {
    rkt.image(&small("example.com/probe"))
}

pub(super) fn small(name: &str) -> Aci {
    Aci::new(name)
        .exec(&["/nothing"])
        .file("/etc/x", 0o644, "x")
}

/// Nothing of a refused image is in the store.
#[track_caller]
pub(super) fn assert_empty(rkt: &Rkt) {
    assert_eq!(rkt.ok(&["image", "list", "--no-legend"]), "");
    for dir in [
        "cas/tmp",
        "cas/building",
        "cas/tree",
        "cas/blob/sha512",
        "cas/imageManifest/sha512",
    ] {
        let entries = fs::read_dir(rkt.data().join(dir)).into_iter().flatten();
        let names: Vec<_> = entries.flatten().map(|e| e.path()).collect();
        assert!(names.is_empty(), "{names:?}");
    }
}

#[track_caller]
pub(super) fn refused(rkt: &Rkt, image: &str, words: &[&str]) {
    rkt.strict(&["fetch", image]).refused(words);
    assert_empty(rkt);
}

#[test]
fn a_trusted_key_vouches_for_its_prefix_and_no_other() {
    let (rkt, gpg) = (Rkt::new(), Gpg::with_key("rsa2048", USER));
    let image = probe(&rkt);
    refused(&rkt, &image, &["probe.aci.asc", "No such file"]);
    gpg.sign_beside(&image, &[]);
    refused(&rkt, &image, &["unknown entity", &gpg.fingerprint()]);
    let output = trust(&rkt, &gpg);
    let path = rkt
        .local_config()
        .join("trustedkeys/prefix.d/example.com/probe");
    let path = path.join(gpg.fingerprint());
    let added = format!(
        "Added key for prefix \"example.com/probe\" at \"{}\"\n",
        path.display()
    );
    assert_eq!(output.stdout, added);
    assert!(path.exists());
    let output = rkt.strict(&["fetch", &image]).expect(0);
    let verified = format!("fetch: signature verified:\n  {USER}\n");
    assert!(output.stderr.contains(&verified), "{}", output.all());

    let deeper = rkt.image(&small("example.com/probe/part"));
    gpg.sign_beside(&deeper, &[]);
    rkt.strict(&["fetch", &deeper]).expect(0);
    for name in ["example.com/probe2", "example.com", "example.org/probe"] {
        let rkt = Rkt::new();
        trust(&rkt, &gpg);
        let other = rkt.image(&small(name));
        gpg.sign_beside(&other, &[]);
        refused(&rkt, &other, &["unknown entity"]);
    }
}

#[test]
fn every_kind_of_key_and_hash_that_gpg_makes() {
    let kinds = [
        ("rsa2048", "SHA256"),
        ("rsa3072", "SHA512"),
        ("ed25519", "SHA512"),
        ("ed25519", "SHA256"),
        ("rsa2048", "SHA224"),
        ("nistp256", "SHA256"),
        ("nistp256", "SHA512"),
        ("nistp384", "SHA384"),
        ("nistp521", "SHA512"),
    ];
    for (algorithm, hash) in kinds {
        let (rkt, gpg) = (Rkt::new(), Gpg::with_key(algorithm, USER));
        let image = probe(&rkt);
        trust(&rkt, &gpg);
        gpg.sign_beside(&image, &["--digest-algo", hash]);
        let output = rkt.strict(&["fetch", &image]);
        assert_eq!(output.code, 0, "{algorithm} {hash}: {}", output.all());
    }
}

#[test]
fn subkeys_sign_for_their_certificate() {
    let (rkt, gpg) = (Rkt::new(), Gpg::new());
    gpg.run(&["--quick-generate-key", USER, "ed25519", "cert", "never"]);
    let fingerprint = gpg.fingerprint();
    for algorithm in ["rsa2048", "ed25519"] {
        gpg.run(&["--quick-add-key", &fingerprint, algorithm, "sign", "never"]);
    }
    gpg.run(&["--quick-add-key", &fingerprint, "cv25519", "encr", "never"]);
    trust(&rkt, &gpg);
    let image = probe(&rkt);
    gpg.sign_beside(&image, &[]);
    let output = rkt.strict(&["fetch", &image]).expect(0);
    assert!(output.stderr.contains(USER), "{}", output.all());
}

#[test]
fn signatures_may_be_binary_and_elsewhere() {
    let (rkt, gpg) = (Rkt::new(), Gpg::with_key("ed25519", USER));
    let image = probe(&rkt);
    trust(&rkt, &gpg);
    let elsewhere = rkt.path("signature");
    let elsewhere = elsewhere.to_str().unwrap();
    gpg.run(&["--output", elsewhere, "--detach-sign", &image]);
    rkt.strict(&["--debug", "fetch", &image, "--signature", elsewhere])
        .expect(0);
    rkt.strict(&["fetch", "--signature", elsewhere, &image])
        .refused(&["--signature must follow an image"]);
    rkt.strict(&["fetch", "sha512-0000", "--signature", elsewhere])
        .refused(&["--signature"]);
    fs::rename(elsewhere, format!("{image}.asc")).unwrap();
    rkt.strict(&["fetch", &image]).expect(0);
}

/// Where an image is not compressed its ID and a SHA-512 signature are one hash, computed once; of
/// other archives and hashes each has its own. A file that was changed is refused in all of them.
#[test]
fn a_hash_that_serves_twice_vouches_for_every_byte() {
    let (rkt, gpg) = (Rkt::new(), Gpg::with_key("rsa2048", USER));
    trust(&rkt, &gpg);
    for (number, compression) in [Compression::None, Compression::Gzip]
        .into_iter()
        .enumerate()
    {
        for hash in ["SHA256", "SHA512"] {
            let name = format!("example.com/probe/{}-{number}", hash.to_lowercase());
            let path = rkt.path(&format!("{hash}-{number}.aci"));
            small(&name).write(&path, compression).unwrap();
            let image = path.to_str().unwrap();
            gpg.sign_beside(image, &[&format!("--digest-algo={hash}")]);
            // A tar archive may have anything behind its end, and this is signed, too.
            let signed = fs::read(&path).unwrap();
            let mut longer = fs::OpenOptions::new().append(true).open(&path).unwrap();
            longer.write_all(&[0; 512]).unwrap();
            // A decompressor may refuse it first.
            let words: &[&str] = match compression {
                Compression::None => &["not a signature of this file"],
                _ => &[],
            };
            rkt.strict(&["fetch", image]).refused(words);
            fs::write(&path, &signed).unwrap();
            let output = rkt.strict(&["fetch", image]).expect(0);
            assert!(output.stderr.contains(USER), "{}", output.stderr);
        }
    }
    assert_eq!(rkt.ok(&["image", "list", "--no-legend"]).lines().count(), 4);
}

#[test]
fn one_good_signature_of_several_is_enough() {
    let rkt = Rkt::new();
    let image = probe(&rkt);
    let (known, unknown) = (
        Gpg::with_key("ed25519", USER),
        Gpg::with_key("rsa2048", "Other <o@example.com>"),
    );
    trust(&rkt, &known);
    let file = std::path::Path::new(&image);
    let both = |gpgs: [&Gpg; 2]| {
        let binary = |gpg: &Gpg| {
            let out = rkt.path("one.sig");
            gpg.run(&[
                "--output",
                out.to_str().unwrap(),
                "--detach-sign",
                file.to_str().unwrap(),
            ]);
            fs::read(out).unwrap()
        };
        let joined: Vec<u8> = gpgs.into_iter().flat_map(binary).collect();
        fs::write(format!("{image}.asc"), joined).unwrap();
    };
    both([&unknown, &known]);
    rkt.strict(&["fetch", &image]).expect(0);
    both([&unknown, &unknown]);
    let other = Rkt::new();
    trust(&other, &known);
    refused(&other, &image, &["unknown entity"]);
}

#[test]
fn empty_files_mask_and_the_longest_prefix_decides() {
    let (rkt, gpg) = (Rkt::new(), Gpg::with_key("ed25519", USER));
    let image = probe(&rkt);
    gpg.sign_beside(&image, &[]);
    let place = |store: &str, dir: &str, from: Option<&Path>| {
        let dir = rkt.path(store).join("trustedkeys").join(dir);
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join(gpg.fingerprint());
        match from {
            Some(key) => fs::copy(key, file).map(drop).unwrap(),
            None => fs::write(file, "").unwrap(),
        }
    };
    let key = rkt.path("key");
    gpg.export(&key);
    place("system", "prefix.d/example.com", Some(&key));
    place("local", "prefix.d/example.com", None);
    refused(&rkt, &image, &["unknown entity"]);
    place("local", "root.d", Some(&key));
    refused(&rkt, &image, &["unknown entity"]);
    place("system", "prefix.d/example.com/probe", Some(&key));
    rkt.strict(&["fetch", &image]).expect(0);
    // A file with another key than its name says is a mistake that is told.
    let other = Gpg::with_key("ed25519", USER);
    other.export(&key);
    place("local", "prefix.d/example.com/probe", Some(&key));
    rkt.strict(&["fetch", &image])
        .refused(&[&gpg.fingerprint(), &other.fingerprint()]);
}

#[test]
fn the_fingerprint_is_reviewed() {
    let (rkt, gpg) = (Rkt::new(), Gpg::with_key("ed25519", USER));
    let file = gpg.export(&rkt.path("pubkeys.gpg"));
    let answer = |text: &str, args: &[&str]| {
        let mut command = rkt.strict_command(&[&["trust"], args, &[&file]].concat());
        let (reader, mut writer) = std::io::pipe().unwrap();
        command.stdin(Stdio::from(reader));
        writer.write_all(text.as_bytes()).unwrap();
        drop(writer);
        Running::start_with_stdin(command).finish()
    };
    let digits = gpg.fingerprint().to_uppercase();
    let groups: Vec<_> = (0..10).map(|i| &digits[4 * i..4 * i + 4]).collect();
    let shown = format!("{}  {}", groups[..5].join(" "), groups[5..].join(" "));
    let output = answer("perhaps\nyes\n", &[PREFIX]).expect(0);
    let expected = format!(
        "Prefix: \"example.com/probe\"\nKey: {file:?}\nGPG key fingerprint is: {shown}\n  {USER}\nAre you sure you want to trust this key (yes/no)? "
    );
    assert!(output.stderr.starts_with(&expected), "{}", output.all());
    let trusting = format!("Trusting {file:?} for prefix \"example.com/probe\".");
    assert!(output.stderr.contains(&trusting), "{}", output.all());
    answer("no\n", &["--root"]).refused(&["not trusting"]);
    answer("", &["--root"]).refused(&["no answer"]);
    assert!(!rkt.local_config().join("trustedkeys/root.d").exists());
    let output = answer("yes\n", &["--root"]).expect(0);
    assert!(
        output.stdout.starts_with("Added root key at "),
        "{}",
        output.all()
    );
    for (args, word) in [
        (&[][..], "--root required for non-prefixed key files"),
        (&["--root", PREFIX], "mutually exclusive"),
        (&["--prefix=../x"], "--prefix"),
    ] {
        answer("yes\n", args).refused(&[word]);
    }
}

#[test]
fn pods_run_signed_images() {
    let (rkt, gpg) = (Rkt::new(), Gpg::with_key("ed25519", USER));
    let file = gpg.export(&rkt.path("pubkeys.gpg"));
    let image = rkt.image(&fixtures::busybox());
    let run = ["run", "--net=none", &image];
    rkt.strict(&run).refused(&["busybox.aci.asc"]);
    rkt.strict(&["trust", "--root", "--skip-fingerprint-review", &file])
        .expect(0);
    gpg.sign_beside(&image, &[]);
    let output = rkt.strict(&run).expect(0);
    assert!(
        output.stdout.contains("hello from busybox"),
        "{}",
        output.all()
    );
    let signature = rkt.path("elsewhere.asc");
    fs::rename(format!("{image}.asc"), &signature).unwrap();
    let signature = format!("--signature={}", signature.display());
    rkt.strict(&["prepare", &image, &signature]).expect(0);
    rkt.strict(&["prepare", &signature, &image])
        .refused(&["--signature must follow an image"]);

    // A stage1 of one's own has to be signed as well, one that is installed has not.
    let name = rkt.ok(&["image", "list", "--fields=name", "--no-legend", "--full"]);
    let name = name
        .lines()
        .find(|n| n.contains("stage1"))
        .unwrap()
        .trim()
        .to_owned();
    fs::create_dir(rkt.path("installed")).unwrap();
    let stage1 = rkt.path("installed/stage1.aci");
    rkt.ok(&["image", "export", &name, stage1.to_str().unwrap()]);
    let flag = format!("--stage1-path={}", stage1.display());
    let id = rkt.ok(&["fetch", "--full", &image]);
    let run = ["run", "--net=none", &flag, &id];
    rkt.strict(&run).refused(&["stage1.aci.asc"]);
    let stranger = Gpg::with_key("ed25519", USER);
    stranger.sign_beside(stage1.to_str().unwrap(), &[]);
    rkt.strict(&run).refused(&["unknown entity"]);
    gpg.sign_beside(stage1.to_str().unwrap(), &[]);
    let output = rkt.strict(&run).expect(0);
    assert!(output.stderr.contains("signature verified"));
    fs::remove_file(format!("{}.asc", stage1.display())).unwrap();
    let paths = rkt.local_config().join("paths.d");
    fs::create_dir(&paths).unwrap();
    let text = format!(
        "{{\"rktKind\": \"paths\", \"rktVersion\": \"v1\", \"stage1-images\": {:?}}}",
        rkt.path("installed")
    );
    fs::write(paths.join("p.json"), text).unwrap();
    rkt.strict(&run).expect(0);
    rkt.strict(&["run", "--net=none", "--stage1-from-dir=stage1.aci", &id])
        .expect(0);
}

#[test]
fn without_verification_there_is_a_warning() {
    let rkt = Rkt::new();
    let image = probe(&rkt);
    let output = rkt.run(&["fetch", &image]).expect(0);
    assert!(
        output
            .stderr
            .contains("warning: image signature verification has been disabled"),
        "{}",
        output.all()
    );
}
