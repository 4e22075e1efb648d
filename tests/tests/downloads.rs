//! Archives on their way from a server: resumed, bounded in memory, and shown.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use e2e::server::{Reply, Server};
use e2e::{Compression, Gpg, Internet, Output, Rkt, Running, fixtures};

use super::fetching::{OPEN, app, bytes};

/// A program that nothing compresses.
fn large() -> Vec<u8> {
    let mix = |n: u32| n.wrapping_mul(n ^ 0x9e37_79b9).rotate_left(n % 31);
    (0..500_000u32).flat_map(|n| mix(n).to_le_bytes()).collect()
}

/// An image that holds it.
fn large_image(rkt: &Rkt) -> Vec<u8> {
    let image = app("example.com/app", "1").file("/large", 0o644, large());
    bytes(rkt, &image)
}

/// Bytes of the largest download that is not finished.
fn kept(rkt: &Rkt) -> u64 {
    let entries = fs::read_dir(rkt.data().join("cas/tmp"))
        .into_iter()
        .flatten();
    let all = entries.flatten().filter_map(|e| e.metadata().ok());
    all.map(|m| m.len()).max().unwrap_or(0)
}

#[test]
fn a_killed_download_is_resumed_if_it_is_still_the_same() {
    let rkt = Rkt::new();
    let image = large_image(&rkt);
    let version = Arc::new(AtomicUsize::new(0));
    let now = version.clone();
    let server = Server::start(move |request| {
        let number = now.load(Ordering::Relaxed);
        let etag = format!("\"{}\"", number / 2);
        let reply = match request.header("if-range") {
            Some(wanted) if wanted == etag => Reply::part(&image, request),
            _ => Reply::ok(image.clone()),
        };
        match number % 2 {
            // Breaks off, and has no more for who comes again.
            0 => reply.cut_after(if request.range().is_some() {
                0
            } else {
                900_000
            }),
            _ => reply,
        }
        .header("etag", &etag)
    });
    let url = server.url("/app.aci");
    for (killed_at, then, resumed) in [(0, 1, Some(900_000)), (2, 5, None)] {
        version.store(killed_at, Ordering::Relaxed);
        let output = rkt.strict(&[OPEN, "fetch", &url]);
        output.refused(&["ends after 900000"]);
        assert!(kept(&rkt) >= 900_000);
        server.forget();
        version.store(then, Ordering::Relaxed);
        let id = rkt.strict(&[OPEN, "fetch", "--full", &url]).expect(0);
        assert_eq!(server.requests()[0].range(), Some(900_000));
        // Another version is taken from its beginning.
        assert_eq!(resumed.is_some(), then / 2 == killed_at / 2);
        rkt.ok(&["image", "rm", id.text()]);
        assert_eq!(kept(&rkt), 0);
    }
}

#[test]
fn a_connection_that_breaks_is_taken_up_again() {
    let rkt = Rkt::new();
    let image = large_image(&rkt);
    let server = Server::start(move |request| {
        let named = request.path.contains("named");
        let reply = Reply::part(&image, request).cut_after(700_000);
        // The last part is whole.
        let reply = match request.range() {
            Some(from) if from >= 1_400_000 => Reply::part(&image, request),
            _ => reply,
        };
        match named {
            true => reply.header("etag", "\"1\""),
            false => reply,
        }
    });
    rkt.strict(&[OPEN, "fetch", &server.url("/named.aci")])
        .expect(0);
    let asked: Vec<_> = server.requests().iter().map(|r| r.range()).collect();
    assert_eq!(asked, [None, Some(700_000), Some(1_400_000)]);
    server.forget();
    // What has no name may have become another meanwhile.
    let output = rkt.strict(&[OPEN, "fetch", "--pull-policy=update", &server.url("/a.aci")]);
    output.refused(&["ends after 700000"]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_fetch_that_was_killed_is_gone_on_with() {
    let rkt = Rkt::new();
    let image = large_image(&rkt);
    let server = Server::start(move |request| {
        let reply = Reply::part(&image, request).header("etag", "\"1\"");
        match request.range() {
            // Waits with the rest until the other end has gone.
            None => reply.stall_after(900_000),
            Some(_) => reply,
        }
    });
    let url = server.url("/app.aci");
    let running = e2e::Running::start(rkt.strict_command(&[OPEN, "fetch", &url]));
    e2e::until(Duration::from_secs(60), "the first part", || {
        kept(&rkt) >= 900_000
    });
    running.signal(rustix::process::Signal::KILL);
    running.finish();
    rkt.strict(&[OPEN, "fetch", &url]).expect(0);
    assert_eq!(server.requests()[1].range(), Some(900_000));
    assert_eq!(kept(&rkt), 0);
}

/// Far less than the image is large, and no more for a larger one: the limit is the kernel's.
#[test]
fn memory_is_bounded_whatever_the_size() {
    let rkt = Rkt::new();
    let part = vec![7; 50_000_000];
    let image = app("example.com/app", "1");
    let image = (0..6).fold(image, |image, n| {
        image.file(&format!("/part{n}"), 0o644, &part)
    });
    let file = rkt.path("made.aci");
    image.write(&file, Compression::None).unwrap();
    let image = fs::read(&file).unwrap();
    assert!(image.len() > 300_000_000);
    let server = Server::start(move |_| Reply::ok(image.clone()));
    let fetch = rkt.strict_command(&[OPEN, "fetch", &server.url("/app.aci")]);
    let bounded = |data: &str| {
        let limit = format!("--data={data}");
        Running::start(e2e::through("prlimit", &[&limit], &fetch)).finish()
    };
    bounded("67108864").expect(0);
    // The limit is one.
    assert_ne!(bounded("65536").code, 0);
}

#[test]
fn archives_without_end_are_cut_off() {
    let rkt = Rkt::new();
    let zeros = app("example.com/app", "1").file("/zeros", 0o644, vec![0; 8 << 20]);
    let file = rkt.path("made.aci");
    zeros.write(&file, Compression::Zstd).unwrap();
    let image = fs::read(&file).unwrap();
    for (body, words) in [
        ("no archive\n".repeat(1000).into_bytes(), "neither a tar"),
        // A good one, and again, and again.
        (image, "times its compressed size"),
    ] {
        let server = Server::start(move |_| Reply::ok(body.clone()).endless());
        let output = rkt.strict(&[OPEN, "fetch", &server.url("/app.aci")]);
        output.refused(&[&server.url("/app.aci"), words]);
        let listed = rkt.ok(&["image", "list", "--no-legend"]);
        assert!(!listed.contains("example.com"), "{listed}");
        let kept = fs::read_dir(rkt.data().join("cas/tmp"))
            .into_iter()
            .flatten();
        assert_eq!(kept.count(), 0);
    }
}

#[test]
fn an_archive_has_a_bar_on_a_terminal_and_a_line_elsewhere() {
    let rkt = Rkt::new();
    let image = large_image(&rkt);
    let server = Server::start(move |_| Reply::ok(image.clone()));
    let url = server.url("/app.aci");
    let fetch = [OPEN, "fetch", &url];
    let output = rkt.on_terminal(&fetch, &[]);
    assert_eq!(output.code, 0, "{}", output.all());
    // Full at its end.
    let bar = format!("[{}] 1.91 MiB/1.91 MiB", "=".repeat(30));
    let drawn = output.stdout.split("Downloading ACI: http://");
    assert!(
        drawn.skip(1).any(|rest| rest.contains(&bar)),
        "{}",
        output.all()
    );
    let quiet = Rkt::new().strict(&fetch).expect(0);
    assert_eq!(
        quiet.stderr.matches("Downloading ACI").count(),
        1,
        "{}",
        quiet.all()
    );
    assert!(!quiet.all().contains('\u{1b}'));
}

#[test]
fn a_stage1_from_a_url_must_be_signed() {
    let (rkt, mut internet) = (Rkt::new(), Internet::new());
    let id = rkt.fetch(&fixtures::busybox());
    rkt.run(&["run", "--net=none", &id]).expect(0);
    let names = rkt.ok(&["image", "list", "--fields=name", "--no-legend", "--full"]);
    let stage1 = names.lines().find(|n| n.contains("stage1")).unwrap().trim();
    let file = rkt.path("stage1.aci");
    rkt.ok(&["image", "export", stage1, file.to_str().unwrap()]);
    let (ours, strangers) = ["us <us@rkt.test>", "them <them@rkt.test>"]
        .map(|user| Gpg::with_key("ed25519", user))
        .into();
    let image = fs::read(&file).unwrap();
    let signatures = [ours.sign(&file, &[]), strangers.sign(&file, &[])];
    internet.host("stages.test", move |request| match request.path.as_str() {
        "/good.aci" | "/strange.aci" | "/bare.aci" => Reply::ok(image.clone()),
        "/good.aci.asc" => Reply::ok(signatures[0].clone()),
        "/strange.aci.asc" => Reply::ok(signatures[1].clone()),
        _ => Reply::status(404),
    });
    let keys = ours.export(&rkt.path("keys.gpg"));
    let other = Rkt::new();
    let id = other.fetch(&fixtures::busybox());
    other
        .strict(&["trust", "--root", "--skip-fingerprint-review", &keys])
        .expect(0);
    let run = |name: &str| -> Output {
        let url = format!("--stage1-url=https://stages.test/{name}.aci");
        let run = other.strict_command(&["run", "--net=none", &url, &id]);
        Running::start(internet.inside(&run)).finish()
    };
    run("bare").refused(&["bare.aci.asc", "404"]);
    run("strange").refused(&["unknown entity"]);
    let output = run("good").expect(0);
    assert!(
        output.stdout.contains("hello from busybox"),
        "{}",
        output.all()
    );
    assert!(
        output.stderr.contains("signature verified"),
        "{}",
        output.all()
    );
    other.assert_clean();
}
