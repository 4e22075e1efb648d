//! The store's commands in full: every column and order, every name of an image, what is spared and
//! what is given back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use e2e::oci::{Layer, Layout, sha256};
use e2e::server::{Reply, Request, Server};
use e2e::{Aci, Compression, Internet, Rkt, fixtures};
use serde_json::json;

use super::oci::script;

fn small(name: &str, bytes: usize) -> Aci {
    let aci = Aci::new(name).label("version", "1").exec(&["/nothing"]);
    aci.file("/f", 0o644, vec![b'x'; bytes])
}

#[test]
fn lists_have_every_column_and_every_order() {
    let rkt = Rkt::new();
    assert_eq!(rkt.ok(&["image", "list", "--format=json"]), "null");
    let names = ["example.com/b", "example.com/c", "example.com/a"];
    for (number, name) in names.iter().enumerate() {
        rkt.fetch(&small(name, (number + 1) % 3 * 5000));
    }
    // Imported b, c, a; the smallest is a, then b, then c.
    let column = |args: &[&str]| {
        let all = [&["image", "list", "--no-legend", "--fields=name"], args].concat();
        let text = rkt.ok(&all);
        let letter = |l: &str| l.trim().trim_start_matches("example.com/")[..1].to_owned();
        text.lines().map(letter).collect::<String>()
    };
    for (args, expected) in [
        (&[][..], "bca"),
        (&["--order=desc"], "acb"),
        (&["--sort=name"], "abc"),
        (&["--sort=name", "--order=desc"], "cba"),
        (&["--sort=size"], "abc"),
        (&["--sort=importtime", "--order=asc"], "bca"),
        (&["--sort=latest,name"], "abc"),
    ] {
        assert_eq!(column(args), expected, "{args:?}");
    }
    let touched = rkt.data().join("cas/imageManifest/sha512");
    let id = rkt.json(&["image", "list", "--format=json"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let manifest = touched.join(&id[7..9]).join(&id);
    let file = fs::File::options().write(true).open(&manifest).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(60))
        .unwrap();
    assert_eq!(&column(&["--sort=lastused"])[2..], "b");
    let fields = "--fields=id,name,size,importtime,lastused,latest,digest";
    let text = rkt.ok(&["image", "list", fields]);
    let heading: Vec<&str> = text
        .lines()
        .next()
        .unwrap()
        .split('\t')
        .map(str::trim)
        .collect();
    let heading: Vec<&str> = heading.into_iter().filter(|w| !w.is_empty()).collect();
    assert_eq!(
        heading,
        [
            "ID",
            "NAME",
            "SIZE",
            "IMPORT TIME",
            "LAST USED",
            "LATEST",
            "DIGEST"
        ]
    );
    let full = rkt.ok(&["image", "list", "--full", "--no-legend", "--fields=id,size"]);
    let first: Vec<&str> = full.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(first[0], id);
    let listed = rkt.json(&["image", "list", "--format=json-pretty"]);
    assert_eq!(
        first[1].parse::<u64>().unwrap(),
        listed[0]["size"].as_u64().unwrap()
    );
    for wrong in ["--sort=colour", "--order=up", "--format=yaml", "--fields="] {
        rkt.run(&["image", "list", wrong]).refused(&[]);
    }
}

/// Every form of reference, in every command that takes an image.
#[test]
fn wherever_an_image_is_named_every_form_works() {
    let rkt = Rkt::new();
    let mut layout = Layout::new(rkt.path("layout"));
    let image = script("echo here", &[]);
    let published = layout.add(&image, "it");
    let archive = rkt.path("archive.tar");
    let mut tar = std::process::Command::new("tar");
    tar.arg("-C")
        .arg(layout.path())
        .arg("-cf")
        .arg(&archive)
        .arg(".");
    assert!(tar.status().unwrap().success());
    let saved = rkt.path("saved.tar");
    super::oci::skopeo(&[
        "copy",
        &layout.reference("it"),
        &format!("docker-archive:{}:example.com/it:v1", saved.display()),
    ]);
    let answers = published.clone();
    let registry = Server::start(move |request| answers.answer(request));
    let aci = rkt.path("it.aci");
    fixtures::busybox().write(&aci, Compression::Gzip).unwrap();
    let answers = fs::read(&aci).unwrap();
    let answer = move |_: &Request| Reply::ok(answers.clone());
    let web = Server::start(answer.clone());
    let certificate = Internet::new().certificate("localhost");
    let secure = Server::listen("127.0.0.1:0", Some(certificate), answer);
    let digest = sha256(&published.manifest);
    let tagged = format!("docker://{}/it:v1", registry.authority());
    let id = rkt.ok(&["fetch", "--full", &aci.display().to_string()]);
    let forms = [
        (tagged.clone(), "here"),
        (tagged.replace("docker://", "docker:"), "here"),
        (tagged.replace(":v1", &format!("@{digest}")), "here"),
        (tagged.replace("docker://", "cimd:docker:v=0:"), "here"),
        (digest, "here"),
        (layout.reference("it"), "here"),
        (format!("oci-archive:{}:it", archive.display()), "here"),
        (format!("docker-archive:{}", saved.display()), "here"),
        (web.url("/it.aci"), "hello from busybox"),
        (secure.url("/it.aci"), "hello from busybox"),
        (aci.display().to_string(), "hello from busybox"),
        (format!("file://{}", aci.display()), "hello from busybox"),
        ("example.com/busybox".to_owned(), "hello from busybox"),
        (
            "example.com/busybox,os=linux".to_owned(),
            "hello from busybox",
        ),
        (id.clone(), "hello from busybox"),
        (id[..20].to_owned(), "hello from busybox"),
    ];
    let open = "--insecure-options=image,http,tls";
    for (form, words) in &forms {
        let run = |args: &[&str]| rkt.strict(&[&[open], args].concat());
        let output = run(&["run", "--net=none", form]).expect(0);
        assert!(output.stdout.contains(words), "{form}: {}", output.all());
        let id = run(&["fetch", "--full", "--pull-policy=new", form])
            .expect(0)
            .text()
            .to_owned();
        run(&["prepare", form]).expect(0);
        let (out, file) = (rkt.path("out"), rkt.path("out.aci"));
        let (out, file) = (out.to_str().unwrap(), file.to_str().unwrap());
        for args in [
            &["image", "cat-manifest", form][..],
            &["image", "verify", form],
            &["image", "extract", "--overwrite", form, out],
            &["image", "render", "--overwrite", form, out],
            &["image", "export", "--overwrite", form, file],
            &["image", "export", "--overwrite", "--format=oci", form, file],
        ] {
            assert_eq!(run(args).code, 0, "{args:?}");
        }
        let (pod, uuid) = rkt.start_sandbox(&["--net=none"]);
        run(&["app", "add", &uuid, form, "--name=it"]).expect(0);
        run(&["stop", "--force", &uuid]).expect(0);
        pod.finish();
        let removed = run(&["image", "rm", form]).expect(0);
        assert!(removed.stdout.contains(&id), "{form}: {}", removed.all());
        run(&["image", "cat-manifest", &id]).refused(&[&id]);
        // Those that name a place bring it back; the others name what is in the store.
        let there = [&tagged, &aci.display().to_string()].map(|f| run(&["fetch", f]).code);
        assert_eq!(there, [0, 0]);
        rkt.gc();
    }
    let absent = rkt.image(&fixtures::probe());
    rkt.run(&["image", "rm", &absent])
        .refused(&["not in the store"]);
}

/// In whatever state a pod is, what it needs stays (surface page, 10.12).
#[test]
fn image_gc_spares_what_pods_of_every_state_need() {
    let rkt = Rkt::new();
    let image = |name: &str| {
        let aci = fixtures::busybox().field("name", json!(format!("example.com/{name}")));
        rkt.fetch(&aci.file("/own", 0o644, name))
    };
    let ids = ["prepared", "running", "exited", "garbage"].map(image);
    let prepared = rkt.ok(&["prepare", "--quiet", &ids[0]]);
    let sleep = ["--exec=/bin/sleep", "--", "1000"];
    let (running, uuid) = rkt.start_pod(&[&["--net=none", &ids[1]], &sleep[..]].concat());
    rkt.run(&["run", "--net=none", &ids[3]]).expect(0);
    // Moved to where exited pods wait, and kept there.
    rkt.ok(&[
        "gc",
        "--mark-only",
        "--grace-period=0s",
        "--expire-prepared=1h",
    ]);
    rkt.run(&["run", "--net=none", &ids[2]]).expect(0);
    let trees = || fs::read_dir(rkt.data().join("cas/tree")).unwrap().count();
    let before = trees();
    assert!(
        rkt.data()
            .join("pods/exited-garbage")
            .read_dir()
            .unwrap()
            .count()
            > 0
    );
    for _ in 0..2 {
        rkt.ok(&["image", "gc", "--grace-period=0s"]);
    }
    assert_eq!(trees(), before);
    for id in &ids {
        rkt.ok(&["image", "cat-manifest", id]);
    }
    // The pods go on as if nothing had been.
    let enter = ["enter", &uuid, "/bin/cat", "/own"];
    assert_eq!(rkt.run(&enter).expect(0).text(), "running");
    rkt.run(&["run-prepared", "--net=none", &prepared])
        .expect(0);
    rkt.ok(&["stop", "--force", &uuid]);
    running.finish();
    rkt.gc();
    rkt.ok(&["image", "gc", "--grace-period=0s"]);
    assert_eq!(trees(), 0);
    assert_eq!(rkt.ok(&["image", "list", "--no-legend"]), "");
}

#[test]
fn the_grace_period_begins_with_the_last_use() {
    let rkt = Rkt::new();
    let (old, used) = (
        rkt.fetch(&fixtures::busybox()),
        rkt.fetch(&fixtures::probe()),
    );
    // The stage1 is in the store from now on.
    rkt.ok(&["prepare", &used]);
    rkt.gc();
    let db = rkt.data().join("cas/db/index.sqlite");
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    for id in [&old, &used] {
        let manifest = rkt
            .data()
            .join("cas/imageManifest/sha512")
            .join(&id[7..9])
            .join(id);
        fs::File::options()
            .write(true)
            .open(manifest)
            .unwrap()
            .set_modified(hour_ago)
            .unwrap();
    }
    // The import is as old.
    let set = "UPDATE image SET import_time = import_time - 3600000000000";
    let done = std::process::Command::new("sqlite3")
        .arg(&db)
        .arg(set)
        .status();
    assert!(done.unwrap().success());
    rkt.ok(&["image", "gc", "--grace-period=2h"]);
    rkt.ok(&["image", "cat-manifest", &old]);
    // Used now, though a writer holds the index.
    let hold = format!(
        "BEGIN EXCLUSIVE;\n.system touch {0}; while [ -e {0} ]; do sleep 0.02; done\n",
        rkt.path("held").display()
    );
    let script = rkt.path("hold.sql");
    fs::write(&script, hold).unwrap();
    let mut writer = std::process::Command::new("sqlite3");
    writer.arg(&db).stdin(fs::File::open(&script).unwrap());
    let mut writer = writer.spawn().unwrap();
    e2e::until(Duration::from_secs(20), "the lock", || {
        rkt.path("held").exists()
    });
    rkt.run(&["prepare", &used]).expect(0);
    fs::remove_file(rkt.path("held")).unwrap();
    writer.wait().unwrap();
    rkt.gc();
    rkt.ok(&["image", "gc", "--grace-period=30m"]);
    rkt.ok(&["image", "cat-manifest", &used]);
    rkt.run(&["image", "cat-manifest", &old]).refused(&[&old]);
}

/// Every file below a directory with its size, and the bytes that the whole takes on disk.
fn disk(dir: &Path) -> (BTreeMap<String, u64>, u64) {
    fn walk(at: &Path, top: &Path, found: &mut BTreeMap<String, u64>, blocks: &mut u64) {
        for entry in fs::read_dir(at).unwrap().flatten() {
            let (path, meta) = (entry.path(), entry.metadata().unwrap());
            *blocks += meta.blocks() * 512;
            if meta.is_dir() {
                walk(&path, top, found, blocks);
            } else {
                let name = path.strip_prefix(top).unwrap().display().to_string();
                found.insert(name, meta.len());
            }
        }
    }
    let (mut found, mut blocks) = (BTreeMap::new(), 0);
    walk(dir, dir, &mut found, &mut blocks);
    (found, blocks)
}

/// Fetched in every form, run in every way, removed: the disk has to the byte what it had.
#[test]
fn the_disk_has_what_it_had() {
    let rkt = Rkt::new();
    let clean = || {
        rkt.gc();
        rkt.ok(&["image", "gc", "--grace-period=0s"]);
    };
    // The directories, the index and the locks are made once.
    let first = rkt.fetch(&fixtures::busybox());
    rkt.run(&["run", "--net=none", &first]).expect(0);
    clean();
    let before = disk(&rkt.data());

    let mut layout = Layout::new(rkt.path("layout"));
    let large = Layer::new().file("large", 0o644, vec![7; 3 << 20]);
    layout.add(
        &script("true", &[large, Layer::new().whiteout("large")]),
        "it",
    );
    let published =
        script("true", &[Layer::new().hard_link("bin/true", "bin/busybox")]).published();
    let registry = Server::start(move |request| published.answer(request));
    let base = rkt.fetch(&fixtures::busybox().file("/base", 0o644, vec![1; 100_000]));
    let top = small("example.com/top", 50_000).exec(&["/bin/sh", "-c", "true"]);
    let top = top.field(
        "dependencies",
        json!([{"imageName": "example.com/busybox", "imageID": base}]),
    );
    let top = rkt.fetch(&top);
    let oci = rkt.ok(&["fetch", "--full", &layout.reference("it")]);
    let image = format!("docker://{}/it:v1", registry.authority());
    let remote = rkt.ok(&["--insecure-options=http", "fetch", "--full", &image]);
    for id in [&top, &oci, &remote] {
        rkt.run(&["run", "--net=none", id]).expect(0);
        rkt.run(&["run", "--net=none", "--no-overlay", id])
            .expect(0);
        rkt.ok(&["prepare", id]);
        rkt.run(&["image", "verify", id]).expect(0);
    }
    // A fetch that fails, and one that is refused.
    rkt.run(&[
        "fetch",
        "--pull-policy=update",
        &rkt.path("absent.aci").display().to_string(),
    ])
    .refused(&[]);
    rkt.strict(&["fetch", &layout.reference("it")]).refused(&[]);
    rkt.ok(&["image", "rm", &top, &oci]);
    clean();
    let after = disk(&rkt.data());
    assert_eq!(after.0, before.0);
    assert_eq!(after.1, before.1, "blocks");
}
