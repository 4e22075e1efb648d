//! Users and groups of apps.

use e2e::{Rkt, fixtures};

fn ids(rkt: &Rkt, image: &str, flags: &[&str]) -> (String, String, String) {
    let report = rkt
        .run(&[&["run", "--net=none", image], flags].concat())
        .expect(0)
        .report();
    let status = &report["status"];
    let first = |field: &str| {
        status[field]
            .as_str()
            .unwrap()
            .split('\t')
            .next()
            .unwrap()
            .to_owned()
    };
    (
        first("Uid"),
        first("Gid"),
        status["Groups"].as_str().unwrap().to_owned(),
    )
}

fn image_with_users() -> e2e::Aci {
    fixtures::probe()
        .file(
            "/etc/passwd",
            0o644,
            "root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n",
        )
        .file(
            "/etc/group",
            0o644,
            "root:x:0:\nalice:x:1001:\nstaff:x:50:alice\n",
        )
        .file("/owned", 0o644, "by root")
}

#[test]
fn root_by_default() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&image_with_users());
    let (uid, gid, _) = ids(&rkt, &image, &[]);
    assert_eq!((uid.as_str(), gid.as_str()), ("0", "0"));
}

#[test]
fn numbers() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&image_with_users());
    let (uid, gid, groups) = ids(
        &rkt,
        &image,
        &[
            "--user=1234",
            "--group=100",
            "--supplementary-gids=1024,2048",
        ],
    );
    assert_eq!((uid.as_str(), gid.as_str()), ("1234", "100"));
    assert!(
        groups.contains("1024") && groups.contains("2048"),
        "{groups}"
    );
}

#[test]
fn names_are_looked_up_in_the_image() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&image_with_users());
    let (uid, gid, _) = ids(&rkt, &image, &["--user=alice", "--group=staff"]);
    assert_eq!((uid.as_str(), gid.as_str()), ("1000", "50"));
}

#[test]
fn a_path_names_its_owner() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&image_with_users());
    let (uid, gid, _) = ids(&rkt, &image, &["--user=/owned", "--group=/owned"]);
    assert_eq!((uid.as_str(), gid.as_str()), ("0", "0"));
}

#[test]
fn an_unknown_user_is_named() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&image_with_users());
    let output = rkt.run(&["run", "--net=none", &image, "--user=nobody-knows"]);
    assert_ne!(output.code, 0);
    assert!(output.all().contains("nobody-knows"), "{}", output.all());
    rkt.assert_clean();
}

#[test]
fn an_ordinary_user_holds_no_capability() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&image_with_users());
    let report = rkt
        .run(&["run", "--net=none", &image, "--user=1000", "--group=1000"])
        .expect(0)
        .report();
    assert_eq!(report["status"]["CapEff"], "0000000000000000");
    assert_eq!(report["status"]["CapPrm"], "0000000000000000");
}
