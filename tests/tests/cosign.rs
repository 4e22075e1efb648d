//! Signed OCI images: keys and signatures as cosign makes them, made by openssl.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::oci::{Layout, MANIFEST, Published, descriptor, sha256};
use e2e::server::{Reply, Request, Server};
use e2e::{Output, Registry, Rkt};
use serde_json::json;

use super::oci::script;

/// A pair of keys.
struct Signer {
    private: PathBuf,
    public: String,
    edwards: bool,
}

/// Runs openssl, which must succeed.
pub(crate) fn openssl(args: &[&str]) {
    let output = Command::new("openssl").args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {args:?}: {stderr}");
}

impl Signer {
    fn new(rkt: &Rkt, name: &str, edwards: bool) -> Self {
        let private = rkt.path(&format!("{name}.key"));
        let public = rkt.path(&format!("{name}.pub")).display().to_string();
        let path = private.display().to_string();
        let kind: &[&str] = match edwards {
            true => &["-algorithm", "ed25519"],
            false => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        };
        openssl(&[&["genpkey", "-out", &path], kind].concat());
        openssl(&["pkey", "-in", &path, "-pubout", "-out", &public]);
        Self {
            private,
            public,
            edwards,
        }
    }

    /// The manifest and the document of a signature.
    fn sign(&self, rkt: &Rkt, reference: &str, digest: &str) -> Published {
        let payload = json!({"critical": {
            "identity": {"docker-reference": reference},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature"}, "optional": null});
        let payload = payload.to_string().into_bytes();
        let (file, out) = (rkt.path("payload"), rkt.path("signature"));
        fs::write(&file, &payload).unwrap();
        let path = |p: &PathBuf| p.display().to_string();
        let (file, out, key) = (path(&file), path(&out), path(&self.private));
        match self.edwards {
            true => openssl(&[
                "pkeyutl", "-sign", "-rawin", "-inkey", &key, "-in", &file, "-out", &out,
            ]),
            false => openssl(&["dgst", "-sha256", "-sign", &key, "-out", &out, &file]),
        }
        let signature = STANDARD.encode(fs::read(&out).unwrap());
        let mut layer = descriptor("application/vnd.dev.cosign.simplesigning.v1+json", &payload);
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
        let config = json!({"architecture": "", "os": "", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [sha256(&payload)]}});
        let config = config.to_string().into_bytes();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor(e2e::oci::CONFIG, &config), "layers": [layer]});
        Published {
            manifest: manifest.to_string().into_bytes(),
            config,
            layers: vec![payload],
        }
    }
}

fn trust(rkt: &Rkt, signer: &Signer, prefix: &str) -> Output {
    let prefix = format!("--prefix={prefix}");
    rkt.strict(&[
        "trust",
        &prefix,
        "--skip-fingerprint-review",
        &signer.public,
    ])
}

fn answer(image: &Published, signature: &Published, request: &Request) -> Reply {
    let path = request.path.as_str();
    if path.ends_with("/manifests/v1") || path.ends_with(&sha256(&image.manifest)) {
        return Reply::ok(image.manifest.clone());
    }
    let tag = sha256(&image.manifest).replace(':', "-") + ".sig";
    if path.ends_with(&format!("/manifests/{tag}")) {
        return Reply::ok(signature.manifest.clone());
    }
    let parts = image.layers.iter().chain(&signature.layers);
    let mut parts = parts.chain([&image.config, &signature.config]);
    let found = parts.find(|b| path.ends_with(&sha256(b)));
    found.map_or(Reply::status(404), |bytes| Reply::part(bytes, request))
}

#[test]
fn a_signed_image_of_a_registry_runs_without_further_ado() {
    for edwards in [false, true] {
        let rkt = Rkt::new();
        let signer = Signer::new(&rkt, "signer", edwards);
        let image = script("echo signed", &[]).published();
        let digest = sha256(&image.manifest);
        // The registry's name is in the signature, so that it must be known first.
        let signature = std::sync::Arc::new(std::sync::Mutex::new(None::<Published>));
        let (served, now) = (image.clone(), signature.clone());
        let registry = Server::start(move |request| match now.lock().unwrap().as_ref() {
            Some(signature) => answer(&served, signature, request),
            None => answer(&served, &served, request),
        });
        let repository = format!("{}/team/app", registry.authority());
        let name = format!("docker://{repository}:v1");
        let fetch = |rkt: &Rkt| rkt.strict(&["--insecure-options=http", "fetch", "--full", &name]);
        *signature.lock().unwrap() = Some(signer.sign(&rkt, &repository, &digest));
        fetch(&rkt).refused(&["no key that is trusted"]);
        // Keys of others, and for other names.
        let other = Signer::new(&rkt, "other", edwards);
        trust(&rkt, &other, &repository).expect(0);
        trust(&rkt, &signer, "example.com").expect(0);
        fetch(&rkt).refused(&["no key that is trusted"]);
        let added = trust(&rkt, &signer, &registry.authority()).expect(0);
        assert!(added.stdout.contains(".pub"), "{}", added.all());
        assert!(added.stderr.contains("Cosign key fingerprint"));
        let fetched = fetch(&rkt).expect(0);
        assert!(fetched.stderr.contains("signature verified"));
        let run = ["--insecure-options=http", "run", "--net=none", &name];
        assert_eq!(rkt.strict(&run).expect(0).app_lines(), ["signed"]);
        // A signature of another image, for another name, a damaged one, none.
        let mut damaged = signer.sign(&rkt, &repository, &digest);
        let text = String::from_utf8(damaged.layers[0].clone()).unwrap();
        damaged.layers[0] = text.replace("null", "{}").into_bytes();
        let manifest = String::from_utf8(damaged.manifest.clone()).unwrap();
        let manifest = manifest.replace(&sha256(text.as_bytes()), &sha256(&damaged.layers[0]));
        damaged.manifest = manifest.into_bytes();
        for (bad, words) in [
            (
                signer.sign(&rkt, &repository, &sha256(b"other")),
                "it is for sha256:",
            ),
            (
                signer.sign(&rkt, "example.com/other", &digest),
                "it is for example.com/other",
            ),
            (damaged, "no key that is trusted"),
        ] {
            *signature.lock().unwrap() = Some(bad);
            fetch(&rkt).refused(&[words]);
            fetch_fresh(&name, &signer, &registry.authority()).refused(&[words]);
        }
        *signature.lock().unwrap() = None;
        fetch(&rkt).refused(&["not signed"]);
    }
}

/// Fetches with an empty store.
fn fetch_fresh(name: &str, signer: &Signer, prefix: &str) -> Output {
    let rkt = Rkt::new();
    trust(&rkt, signer, prefix).expect(0);
    let output = rkt.strict(&["--insecure-options=http", "fetch", name]);
    assert!(rkt.ok(&["image", "list", "--no-legend"]).is_empty());
    output
}

/// The same layout in one file.
fn archived(rkt: &Rkt, layout: &Layout, signer: &Signer, repository: &str) {
    let file = rkt.path("layout.tar").display().to_string();
    let mut tar = std::process::Command::new("tar");
    tar.args(["-C", layout.path().to_str().unwrap(), "-cf", &file, "."]);
    e2e::Running::start(tar).finish().expect(0);
    let image = format!("oci-archive:{file}:it");
    let other = Rkt::new();
    other
        .strict(&["fetch", &image])
        .refused(&["no key that is trusted"]);
    trust(&other, signer, repository).expect(0);
    let run = ["run", "--net=none", &image];
    assert_eq!(other.strict(&run).expect(0).app_lines(), ["signed"]);
}

#[test]
fn images_on_disk_and_in_a_real_registry_are_signed_alike() {
    let (rkt, registry) = (Rkt::new(), Registry::start());
    let signer = Signer::new(&rkt, "signer", false);
    let mut layout = Layout::new(rkt.path("layout"));
    let repository = format!("{}/app", registry.authority());
    let image = layout.add(&script("echo signed", &[]), "it");
    let digest = sha256(&image.manifest);
    rkt.strict(&["fetch", &layout.reference("it")])
        .refused(&["not signed"]);
    let signature = signer.sign(&rkt, &repository, &digest);
    let tag = digest.replace(':', "-") + ".sig";
    layout.add_published(&signature, &tag);
    rkt.strict(&["fetch", &layout.reference("it")])
        .refused(&["no key that is trusted"]);
    trust(&rkt, &signer, &repository).expect(0);
    rkt.strict(&["fetch", &layout.reference("it")]).expect(0);
    // The signature in the index is no image to choose from.
    rkt.strict(&["fetch", &layout.reference("")]).expect(0);
    archived(&rkt, &layout, &signer, &repository);
    registry.push(&layout.reference("it"), "app:v1", &["--preserve-digests"]);
    registry.push(
        &layout.reference(&tag),
        &format!("app:{tag}"),
        &["--preserve-digests"],
    );
    let other = Rkt::new();
    trust(&other, &signer, &repository).expect(0);
    let name = registry.image("app:v1");
    let run = ["--insecure-options=http", "run", "--net=none", &name];
    assert_eq!(other.strict(&run).expect(0).app_lines(), ["signed"]);
    // Masked by an empty file.
    let keys = other.local_config().join("trustedkeys/prefix.d");
    let keys = keys.join(repository.replace(':', "-"));
    let file = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    fs::write(&file, "").unwrap();
    other
        .strict(&["--insecure-options=http", "fetch", &name])
        .refused(&["no key that is trusted"]);
}
