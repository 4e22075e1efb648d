//! Signatures that are refused, with the reason: keys and signatures of the real gpg.

use std::fs;

use e2e::{Compression, Gpg, Rkt};

use super::trust::{USER, assert_empty, probe, refused, small, trust};

#[test]
fn what_was_not_signed_is_refused() {
    let (rkt, gpg) = (Rkt::new(), Gpg::with_key("ed25519", USER));
    trust(&rkt, &gpg);
    let image = rkt.path("packed.aci");
    small("example.com/probe")
        .write(&image, Compression::Gzip)
        .unwrap();
    let name = image.to_str().unwrap();
    gpg.sign_beside(name, &[]);
    let signature = format!("{name}.asc");
    // Behind the archive, where no decompressor looks.
    let mut bytes = fs::read(&image).unwrap();
    bytes.extend_from_slice(&bytes.clone());
    let doubled = rkt.path("doubled.aci");
    fs::write(&doubled, &bytes).unwrap();
    let args = [
        "fetch",
        doubled.to_str().unwrap(),
        "--signature",
        &signature,
    ];
    rkt.strict(&args).refused(&[]);
    assert_empty(&rkt);
    let other = rkt.image(&small("example.com/probe").label("version", "2"));
    rkt.strict(&["fetch", &other, "--signature", &signature])
        .refused(&["not a signature of this file"]);
    assert_empty(&rkt);
    for (text, word) in [
        ("", "signature"),
        ("nonsense", "signature"),
        ("-----BEGIN PGP SIGNATURE-----\n", "signature"),
    ] {
        fs::write(&signature, text).unwrap();
        refused(&rkt, name, &[word]);
    }
    // Signed, but as text.
    gpg.sign_beside(name, &["--textmode"]);
    refused(&rkt, name, &["not a signature of a binary file"]);
}

#[test]
fn expired_revoked_and_weak_are_refused_with_the_reason() {
    let past = "--faked-system-time=20200101T000000!";
    let rkt = Rkt::new();
    let image = probe(&rkt);
    let check = |gpg: &Gpg, options: &[&str], word: &str| {
        let rkt = Rkt::new();
        trust(&rkt, gpg);
        gpg.sign_beside(&image, options);
        refused(&rkt, &image, &[word]);
    };
    let gpg = Gpg::new();
    gpg.run(&[
        past,
        "--quick-generate-key",
        USER,
        "ed25519",
        "cert,sign",
        "1y",
    ]);
    check(&gpg, &[past], "the key has expired");

    let gpg = Gpg::new();
    gpg.run(&[
        past,
        "--quick-generate-key",
        USER,
        "ed25519",
        "cert,sign",
        "never",
    ]);
    check(
        &gpg,
        &[past, "--default-sig-expire=2d"],
        "the signature has expired",
    );
    check(
        &gpg,
        &["--faked-system-time=20990101T000000!"],
        "time of creation",
    );
    check(&gpg, &["--digest-algo=SHA1"], "SHA1 is too weak");

    let weak = Gpg::with_key("rsa1024", USER);
    check(&weak, &[], "RSA key of 1024 bits is too weak");

    let revoked = Gpg::with_key("ed25519", USER);
    revoked.sign_beside(&image, &[]);
    let signature = fs::read(format!("{image}.asc")).unwrap();
    revoked.revoke();
    fs::write(format!("{image}.asc"), signature).unwrap();
    trust(&rkt, &revoked);
    refused(&rkt, &image, &["the key is revoked"]);
}

#[test]
fn subkeys_that_may_not_sign_today_are_refused_with_the_reason() {
    let past = "--faked-system-time=20200101T000000!";
    let user = [
        past,
        "--quick-generate-key",
        USER,
        "ed25519",
        "cert",
        "never",
    ];
    let check = |gpg: &Gpg, image: &str, word: &str| {
        let rkt = Rkt::new();
        trust(&rkt, gpg);
        refused(&rkt, image, &[word]);
    };
    let rkt = Rkt::new();
    let image = probe(&rkt);
    // Expired, though its certificate has not.
    let gpg = Gpg::new();
    gpg.run(&user);
    let print = gpg.fingerprint();
    gpg.run(&[past, "--quick-add-key", &print, "ed25519", "sign", "1y"]);
    gpg.sign_beside(&image, &[past]);
    check(&gpg, &image, "the key has expired");
    // Revoked; the key that took its place signs.
    let gpg = Gpg::new();
    gpg.run(&user);
    let print = gpg.fingerprint();
    gpg.run(&[past, "--quick-add-key", &print, "ed25519", "sign", "never"]);
    gpg.sign_beside(&image, &[]);
    gpg.edit(&print, "key 1\nrevkey\ny\n0\n\ny\nsave\n");
    check(&gpg, &image, "the key is revoked");
    gpg.run(&["--quick-add-key", &print, "rsa3072", "sign", "never"]);
    gpg.sign_beside(&image, &[]);
    let rkt = Rkt::new();
    trust(&rkt, &gpg);
    rkt.strict(&["fetch", &image]).expect(0);
}

#[test]
fn other_weak_or_foreign_kinds_say_so() {
    let rkt = Rkt::new();
    let image = probe(&rkt);
    let check = |algorithm: &str, options: &[&str], word: &str| {
        let gpg = Gpg::with_key(algorithm, USER);
        gpg.sign_beside(&image, options);
        let rkt = Rkt::new();
        let file = gpg.export(&rkt.path("keys.gpg"));
        rkt.strict(&["trust", "--root", "--skip-fingerprint-review", &file])
            .expect(0);
        let output = rkt.strict(&["fetch", &image]).refused(&["probe.aci"]);
        assert!(
            output.stderr.contains(word),
            "{algorithm}: {}",
            output.stderr
        );
        assert_empty(&rkt);
    };
    check("dsa2048", &[], "DSA");
    check("ed25519", &["--digest-algo=RIPEMD160"], "too weak");
    check(
        "ed25519",
        &["--digest-algo=SHA224"],
        "SHA224 with an EdDSA key is too weak",
    );
    check("secp256k1", &[], "not supported");
    check("brainpoolP256r1", &[], "not supported");
}
