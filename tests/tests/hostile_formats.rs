//! The same hostile archives in every form that an image comes in: as an ACI, in an OCI layout, in
//! an OCI archive, in what `docker save` writes, and from a registry.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::oci::{Layer, Layout, OciImage};
use e2e::server::Server;
use e2e::{Aci, Rkt};
use serde_json::json;

use super::oci::busybox;

/// An image in one of its forms.
struct Form {
    kind: &'static str,
    reference: String,
    _server: Option<Server>,
}

/// The program's layer with a hostile one over it, in all forms; `hostile` gets what stands before
/// the names in the archive.
fn forms(rkt: &Rkt, hostile: impl Fn(&str) -> Layer) -> Vec<Form> {
    let layers = [busybox(), hostile("")];
    let config = json!({"Entrypoint": ["/bin/sh", "-c", "echo came up"]});
    let published = OciImage::new(config, &layers).published();
    let form = |kind, reference, server| Form {
        kind,
        reference,
        _server: server,
    };
    let mut layout = Layout::new(rkt.path("layout"));
    layout.add_published(&published, "it");
    let archive = rkt.path("archive.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C")
        .arg(layout.path())
        .arg("-cf")
        .arg(&archive)
        .arg(".");
    assert!(tar.status().unwrap().success());
    let saved = rkt.path("saved.tar");
    fs::write(&saved, published.saved(&layers, "example.com/it:v1")).unwrap();
    let aci = rkt.path("it.aci");
    fs::write(&aci, as_aci(&hostile("rootfs/"))).unwrap();
    let server = Server::start(move |request| published.answer(request));
    vec![
        form("ACI", aci.display().to_string(), None),
        form("layout", layout.reference("it"), None),
        form(
            "archive",
            format!("oci-archive:{}", archive.display()),
            None,
        ),
        form("saved", format!("docker-archive:{}", saved.display()), None),
        form(
            "registry",
            format!("docker://{}/it:v1", server.authority()),
            Some(server),
        ),
    ]
}

/// An ACI of busybox with more entries behind.
fn as_aci(hostile: &Layer) -> Vec<u8> {
    let manifest = Aci::new("example.com/it").exec(&["/bin/sh", "-c", "echo came up"]);
    let manifest = manifest.manifest().to_string();
    let program = fs::read("/bin/busybox").unwrap();
    let begin = Layer::new()
        .file("manifest", 0o644, manifest)
        .dir("rootfs", 0o755)
        .dir("rootfs/bin", 0o755)
        .file("rootfs/bin/busybox", 0o755, program)
        .symlink("rootfs/bin/sh", "busybox");
    let mut bytes = begin.tar();
    // Without the mark at the end of the first archive.
    bytes.truncate(bytes.len() - 1024);
    bytes.extend(hostile.tar());
    bytes
}

const OPEN: &str = "--insecure-options=http";

/// Nothing of a refused image is there.
#[track_caller]
fn assert_nothing_left(rkt: &Rkt, after: &str) {
    assert_eq!(rkt.ok(&["image", "list", "--no-legend"]), "", "{after}");
    for dir in ["cas/tmp", "cas/tree", "cas/building"] {
        let left = fs::read_dir(rkt.data().join(dir)).into_iter().flatten();
        let left: Vec<PathBuf> = left.flatten().map(|e| e.path()).collect();
        // A layer below it that is good may be there for the next fetch, until it is collected.
        let hostile = left.iter().filter(|p| !is_layer(p));
        assert_eq!(hostile.count(), 0, "{after}: {left:?}");
    }
    rkt.ok(&["image", "gc", "--grace-period=0s"]);
    let left = fs::read_dir(rkt.data().join("cas/tree"))
        .into_iter()
        .flatten();
    assert_eq!(left.count(), 0, "{after}");
}

fn is_layer(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with("layer-")
}

fn refused_in_every_form(hostile: impl Fn(&str) -> Layer, words: &[&str]) {
    let rkt = Rkt::new();
    for form in forms(&rkt, hostile) {
        let output = rkt.run(&[OPEN, "fetch", &form.reference]).refused(&[]);
        let told = words.iter().any(|w| output.stderr.contains(w));
        assert!(
            told,
            "{}: none of {words:?} in {}",
            form.kind, output.stderr
        );
        assert_nothing_left(&rkt, form.kind);
    }
}

#[test]
fn names_that_lead_out_are_refused() {
    refused_in_every_form(
        |p| Layer::new().file(&format!("{p}../../../up"), 0o644, "x"),
        &["\"..\""],
    );
    refused_in_every_form(
        |p| Layer::new().hard_link(&format!("{p}hard"), "../../../../etc/passwd"),
        &["\"..\"", "hard link"],
    );
    refused_in_every_form(
        |p| Layer::new().hard_link(&format!("{p}hard"), "/"),
        &["hard link", "absolute"],
    );
}

#[test]
fn paths_that_are_too_deep_are_refused() {
    for depth in [1_500, 5_000] {
        let deep =
            |p: &str| Layer::new().long_file(&format!("{p}{}x", "d/".repeat(depth)), 0o644, "x");
        refused_in_every_form(deep, &["too deep", "longer than"]);
    }
}

/// Whether refused or kept inside: what lies outside stays as it is, and so it does when the image
/// runs.
#[test]
fn links_lead_nowhere_outside() {
    let outside = e2e::TempDir::new();
    let victim = outside.join("victim");
    fs::write(&victim, "untouched").unwrap();
    let (dir, file) = (outside.path().to_str().unwrap(), victim.to_str().unwrap());
    let up = "../".repeat(20);
    type Make<'a> = Box<dyn Fn(&str) -> Layer + 'a>;
    let cases: Vec<Make<'_>> = vec![
        Box::new(|p| {
            Layer::new().symlink(&format!("{p}way"), dir).file(
                &format!("{p}way/victim"),
                0o644,
                "x",
            )
        }),
        Box::new(|p| {
            let layer = Layer::new().symlink(&format!("{p}way"), &up);
            layer.file(&format!("{p}way{file}"), 0o644, "x")
        }),
        Box::new(|p| {
            let layer = Layer::new().symlink(&format!("{p}soft"), file);
            layer.file(&format!("{p}soft"), 0o644, "x")
        }),
        Box::new(|p| {
            let layer = Layer::new().symlink(&format!("{p}way"), "/");
            let layer = layer.hard_link(&format!("{p}hard"), &format!("{p}way{file}"));
            layer.file(&format!("{p}hard"), 0o644, "x")
        }),
        Box::new(|p| {
            Layer::new()
                .symlink(&format!("{p}way"), dir)
                .whiteout(&format!("{p}way/victim"))
        }),
        Box::new(|p| {
            Layer::new()
                .symlink(&format!("{p}way"), dir)
                .opaque(&format!("{p}way"))
        }),
    ];
    for (number, case) in cases.iter().enumerate() {
        let rkt = Rkt::new();
        for form in forms(&rkt, case) {
            let fetched = rkt.run(&[OPEN, "fetch", "--full", &form.reference]);
            let place = format!("case {number}, {}", form.kind);
            match fetched.code {
                0 => {
                    let id = fetched.text().to_owned();
                    for more in [&[][..], &["--no-overlay"]] {
                        let run = [&["run", "--net=none"], more, &[&id]].concat();
                        assert_eq!(rkt.run(&run).expect(0).app_lines(), ["came up"], "{place}");
                    }
                    rkt.ok(&["image", "rm", &id]);
                }
                _ => drop(fetched.refused(&[])),
            }
            assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched", "{place}");
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "{place}");
        }
        rkt.assert_clean();
    }
}

/// A layer as zstd packs it, whose archive is never in memory: `write` writes it.
fn packed(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()> + Send + 'static) -> Vec<u8> {
    let mut child = Command::new("zstd")
        .arg("-cq1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = std::io::BufWriter::new(child.stdin.take().unwrap());
    let writer = std::thread::spawn(move || write(&mut pipe).and_then(|()| pipe.flush()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output.stdout
}

fn header(name: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    header
}

/// An image whose second layer is a bomb, from a registry; what stands in its configuration is of
/// no importance, since nobody gets to the end of it.
fn bomb_registry(bomb: Vec<u8>) -> Server {
    let mut published = OciImage::new(json!({}), &[Layer::new(), Layer::new()]).published();
    let manifest = String::from_utf8(published.manifest).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let kind = format!("{}+zstd", e2e::oci::LAYER);
    manifest["layers"][1] = e2e::oci::descriptor(&kind, &bomb);
    published.manifest = manifest.to_string().into_bytes();
    published.layers[1] = bomb;
    Server::start(move |request| published.answer(request))
}

#[test]
fn layers_that_grow_without_end_are_refused() {
    let zeros = |name: &'static str, begin: Vec<u8>| {
        packed(move |to| {
            to.write_all(&begin)?;
            to.write_all(header(name, 3 << 30).as_bytes())?;
            let piece = vec![0; 1 << 20];
            (0..1100).try_for_each(|_| to.write_all(&piece))
        })
    };
    let rkt = Rkt::new();
    let registry = bomb_registry(zeros("zeros", Vec::new()));
    let image = format!("docker://{}/it:v1", registry.authority());
    rkt.run(&[OPEN, "fetch", &image])
        .refused(&["times its compressed size"]);
    assert_nothing_left(&rkt, "registry");
    let manifest = Aci::new("example.com/it").manifest().to_string();
    let begin = Layer::new().file("manifest", 0o644, manifest);
    let mut begin = begin.dir("rootfs", 0o755).tar();
    begin.truncate(begin.len() - 1024);
    let aci = rkt.path("bomb.aci");
    fs::write(&aci, zeros("rootfs/zeros", begin)).unwrap();
    rkt.run(&["fetch", aci.to_str().unwrap()])
        .refused(&["times its compressed size"]);
    assert_nothing_left(&rkt, "ACI");
}

/// More files than any image has, each of which would cost an inode: refused. As an ACI that is tried
/// without root, where nothing of them is written, and as a layer with one file under two names, so
/// that the test costs no million inodes; the limit is one for all.
#[test]
fn a_million_tiny_files_are_refused() {
    let rkt = Rkt::new();
    let manifest = Aci::new("example.com/it").manifest().to_string();
    let begin = Layer::new().file("manifest", 0o644, manifest);
    let mut begin = begin.dir("rootfs", 0o755).tar();
    begin.truncate(begin.len() - 1024);
    let many = packed(move |to| {
        to.write_all(&begin)?;
        let mut header = header("0000000", 0);
        for number in 0..1_000_001 {
            let name = format!("rootfs/{:02}/{number}", number % 100);
            header.set_path(name).unwrap();
            header.set_cksum();
            to.write_all(header.as_bytes())?;
        }
        to.write_all(&[0; 1024])
    });
    let aci = rkt.path("many.aci");
    fs::write(&aci, many).unwrap();
    // A store that members of a group share: one of the user's own would be rendered, too.
    std::os::unix::fs::chown(rkt.data(), None, Some(65_534)).unwrap();
    std::fs::set_permissions(rkt.data(), PermissionsExt::from_mode(0o2770)).unwrap();
    let fetch = rkt.command(&["fetch", aci.to_str().unwrap()]);
    let command = e2e::as_user("65534", "65534", &fetch);
    let output = e2e::Running::start(command).finish();
    output.refused(&["1000000 entries"]);
    assert_nothing_left(&rkt, "an ACI, without root");

    let links = packed(|to| {
        to.write_all(header("file", 0).as_bytes())?;
        let mut link = header("link", 0);
        link.set_entry_type(tar::EntryType::Link);
        link.set_link_name("file").unwrap();
        link.set_cksum();
        (0..1_000_000).try_for_each(|_| to.write_all(link.as_bytes()))
    });
    let registry = bomb_registry(links);
    let image = format!("docker://{}/it:v1", registry.authority());
    rkt.run(&[OPEN, "fetch", &image])
        .refused(&["1000000 entries"]);
    assert_nothing_left(&rkt, "a layer");
}
