//! What a fetch shows: bars on a terminal, quiet lines elsewhere, one result for each image; and its
//! flags of old.

use std::fs;
use std::time::Duration;

use e2e::oci::{Layer, sha256};
use e2e::server::Server;
use e2e::{Rkt, fixtures};

use super::oci::script;

/// Layers that nothing compresses, and their image in a registry that takes its time.
fn registry() -> (Server, Vec<Vec<u8>>) {
    let bytes = |seed: u32| -> Vec<u8> {
        let mix = |n: u32| n.wrapping_mul(n ^ seed).rotate_left(n % 31);
        (0..200_000u32).flat_map(|n| mix(n).to_le_bytes()).collect()
    };
    let layer = |n: u32| Layer::new().file(&format!("f{n}"), 0o644, bytes(0x9e37_79b9 + n));
    let published = script("true", &[layer(1), layer(2)]).published();
    let layers = published.layers.clone();
    let server = Server::start(move |request| {
        if request.path.contains("/blobs/") {
            std::thread::sleep(Duration::from_millis(200));
        }
        published.answer(request)
    });
    (server, layers)
}

fn short(layer: &[u8]) -> String {
    sha256(layer)["sha256:".len()..][..12].to_owned()
}

#[test]
fn a_terminal_shows_a_bar_for_each_layer_and_a_total() {
    let (rkt, (server, layers)) = (Rkt::new(), registry());
    let image = format!("docker://{}/it:v1", server.authority());
    let output = rkt.on_terminal(&["--insecure-options=http", "fetch", "--full", &image], &[]);
    assert_eq!(output.code, 0, "{}", output.all());
    let screen = &output.stdout;
    for layer in &layers {
        let bar = format!("Downloading layer: {} [", short(layer));
        let drawn = screen.match_indices(&bar).map(|(at, _)| &screen[at..]);
        // Full at its end.
        let full = format!("{bar}{}]", "=".repeat(30));
        assert!(
            drawn.clone().any(|rest| rest.starts_with(&full)),
            "{bar:?} in {screen}"
        );
    }
    let sum: usize = layers.iter().map(Vec::len).sum();
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    let sum = format!("{:.2} MiB", sum as f64 / f64::from(1 << 20));
    let total = format!("Total {sum}/{sum} (");
    assert!(screen.contains(&total), "{total:?} in {screen}");
    assert!(screen.contains("/s)"), "no rate in {screen}");
    assert!(screen.contains("sha512-"), "no ID in {screen}");
    // Elsewhere a line for each layer, without the terminal's language.
    let other = Rkt::new();
    let args = ["--insecure-options=http", "fetch", "--full", &image];
    let quiet = other.run(&args).expect(0);
    for layer in &layers {
        let line = format!("Downloading layer: {}\n", &sha256(layer)["sha256:".len()..]);
        assert_eq!(quiet.stderr.matches(&line).count(), 1, "{}", quiet.stderr);
    }
    assert!(!quiet.all().contains('\u{1b}') && !quiet.all().contains("Total"));
    assert_eq!(quiet.stdout.lines().count(), 1);
    // What is there is not downloaded, nor called so.
    let again = other.run(&args).expect(0);
    assert!(!again.stderr.contains("Downloading"), "{}", again.stderr);
}

#[test]
fn several_images_in_one_call() {
    let rkt = Rkt::new();
    let (one, two) = (
        rkt.image(&fixtures::busybox()),
        rkt.image(&fixtures::probe()),
    );
    let output = rkt
        .run(&["fetch", "--full", &one, "/nothing/there.aci", &two])
        .refused(&["there.aci"]);
    let ids: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(ids.len(), 2, "{}", output.all());
    for (id, name) in ids.iter().zip(["example.com/busybox", "example.com/probe"]) {
        assert_eq!(rkt.json(&["image", "cat-manifest", id])["name"], name);
    }
    rkt.run(&["fetch"]).refused(&["at least one image"]);
}

#[test]
fn flags_of_old_still_say_when_to_pull() {
    let (rkt, (server, _)) = (Rkt::new(), registry());
    let image = format!("docker://{}/it:v1", server.authority());
    let fetch = |flag: &str| rkt.run(&["--insecure-options=http", "fetch", flag, &image]);
    let told = fetch("--store-only").refused(&["not in the store"]);
    assert!(
        told.stderr.contains("--pull-policy=never"),
        "{}",
        told.stderr
    );
    assert!(server.requests().is_empty());
    let told = fetch("--no-store").expect(0);
    assert!(
        told.stderr.contains("--pull-policy=update"),
        "{}",
        told.stderr
    );
    fetch("--store-only").expect(0);
    fetch("--pull-policy=sometimes").refused(&["sometimes", "never, new or update"]);
    let both = ["fetch", "--store-only", "--no-store", &image];
    rkt.run(&both)
        .refused(&["both --store-only and --no-store"]);
    // `run` and `prepare` know them too.
    server.forget();
    rkt.run(&["run", "--net=none", "--store-only", &image])
        .expect(0);
    rkt.run(&["prepare", "--store-only", &image]).expect(0);
    assert!(server.requests().is_empty());
    assert!(fs::exists(rkt.data()).unwrap());
}
