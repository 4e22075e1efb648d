//! From an image to an app's root: dependencies, white lists, ownership, no overlay.

use e2e::{Aci, Rkt, fixtures};
use serde_json::json;

#[test]
fn dependencies_are_laid_below_and_the_white_list_applies_to_all() {
    let rkt = Rkt::new();
    let base = rkt.fetch(
        &fixtures::busybox()
            .file("/both", 0o644, "base")
            .file("/dropped", 0o644, "x"),
    );
    rkt.fetch(
        &Aci::new("example.com/middle")
            .file("/both", 0o644, "middle")
            .file("/middle", 0o644, "middle"),
    );
    let top = Aci::new("example.com/top")
        .exec(&["/bin/sh", "-c", "cat /both /middle /top; ls /dropped 2>&1"])
        .file("/top", 0o644, "top")
        .field(
            "dependencies",
            json!([
                {"imageName": "example.com/busybox", "imageID": base},
                {"imageName": "example.com/middle", "labels": [{"name": "os", "value": "linux"}]},
            ]),
        )
        .field(
            "pathWhitelist",
            json!([
                "/bin/busybox",
                "/bin/sh",
                "/bin/cat",
                "/bin/ls",
                "/both",
                "/middle",
                "/top"
            ]),
        );
    let id = rkt.fetch(&top);
    let output = rkt.run(&["run", "--net=none", &id]);
    assert!(
        output.stdout.contains("middlemiddletop"),
        "{}",
        output.all()
    );
    assert!(output.stdout.contains("No such file"), "{}", output.all());
    rkt.assert_clean();
}

#[test]
fn a_missing_dependency_is_named() {
    let rkt = Rkt::new();
    let aci = fixtures::probe().field("dependencies", json!([{"imageName": "example.com/absent"}]));
    let output = rkt.run(&["run", "--net=none", &rkt.image(&aci)]);
    output.refused(&["example.com/absent"]);
    assert_eq!(rkt.pods(), Vec::<String>::new());
}

#[test]
fn a_dependency_with_another_id_is_refused() {
    let rkt = Rkt::new();
    rkt.fetch(&fixtures::busybox());
    let other = format!("sha512-{}", "a".repeat(64));
    let aci = fixtures::probe().field(
        "dependencies",
        json!([{"imageName": "example.com/busybox", "imageID": other}]),
    );
    rkt.run(&["run", "--net=none", &rkt.image(&aci)])
        .refused(&["example.com/busybox"]);
}

#[test]
fn without_overlay_the_tree_is_copied() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let look = "grep -c overlay /proc/self/mountinfo; cat /etc/passwd > /tmp/x && ls -l /bin/sh";
    let output = rkt.run(&[
        "run",
        "--net=none",
        "--no-overlay=true",
        &image,
        "--exec=/bin/sh",
        "--",
        "-c",
        look,
    ]);
    let output = output.expect(0);
    assert_eq!(output.app_lines()[0], "0", "{}", output.all());
    assert!(output.stdout.contains("busybox"), "{}", output.all());
    let uuid = rkt.ok(&["prepare", "--quiet", "--no-overlay=true", &image]);
    rkt.run(&["run-prepared", "--net=none", &uuid]).expect(0);
    rkt.assert_clean();
}

#[test]
fn modes_links_and_times_survive() {
    let rkt = Rkt::new();
    let aci = fixtures::busybox()
        .file("/suid", 0o4755, "x")
        .dir("/sticky", 0o1777)
        .file("/one", 0o600, "one")
        .raw_link("rootfs/two", "rootfs/one", true)
        .symlink("/dangling", "/no/where");
    let image = rkt.fetch(&aci);
    let look = "stat -c '%n %a %h %Y' /suid /sticky /one /two; readlink /dangling";
    let output = rkt
        .run(&[
            "run",
            "--net=none",
            &image,
            "--exec=/bin/sh",
            "--",
            "-c",
            look,
        ])
        .expect(0);
    let expected = [
        "/suid 4755 1 1400000000",
        "/sticky 1777 2 1400000000",
        "/one 600 2 1400000000",
        "/two 600 2 1400000000",
        "/no/where",
    ];
    assert_eq!(output.app_lines(), expected, "{}", output.all());
}
