//! Measurements of pods, in emulated Trusted Platform Modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::oci::sha256;
use e2e::server::{Reply, Request, Server};
use e2e::{Emulator, Machine, Rkt, fixtures};
use serde_json::{Value, json};

/// A TPM behind something that speaks as go-tspi's `tpmd` does.
struct Tpmd {
    server: Server,
    tpm: Tpm,
    // Not the server's, whose thread may outlive the test.
    _emulator: Emulator,
}

/// A module by its socket.
#[derive(Clone)]
struct Tpm(PathBuf);

impl Tpm {
    /// One of tpm2-tools.
    fn tool(&self, program: &str, words: &[&str]) -> String {
        let module = format!("swtpm:path={}", self.0.display());
        output(
            Command::new(program)
                .args(words)
                .env("TPM2TOOLS_TCTI", module),
        )
    }

    /// The value of PCR 15 for SHA-1, in lower-case digits.
    fn value(&self) -> String {
        let said = self.tool("tpm2_pcrread", &["sha1:15"]);
        said.rsplit("0x").next().unwrap().trim().to_lowercase()
    }

    /// Extends it as TrouSerS does for an event: by the hash of the register, the type and the
    /// event (TSS 1.2, 2.6.2).
    fn extend(&self, request: &Value) {
        assert_eq!(request["Data"], Value::Null);
        let number = |name: &str| request[name].as_u64().unwrap() as u32;
        let mut hashed = number("Pcr").to_be_bytes().to_vec();
        hashed.extend(number("Eventtype").to_be_bytes());
        hashed.extend(request["Event"].as_str().unwrap().as_bytes());
        let file = self.0.with_extension("event");
        fs::write(&file, hashed).unwrap();
        let digest = output(Command::new("sha1sum").arg(&file));
        let digest = digest.split_whitespace().next().unwrap();
        self.tool(
            "tpm2_pcrextend",
            &[&format!("{}:sha1={digest}", number("Pcr"))],
        );
    }
}

impl Tpmd {
    fn new() -> Self {
        let emulator = Emulator::on();
        let tpm = Tpm(emulator.socket());
        let behind = tpm.clone();
        let server = Server::start(move |request: &Request| {
            if (request.method.as_str(), request.path.as_str()) != ("POST", "/v1/extend") {
                return Reply::status(400);
            }
            behind.extend(&serde_json::from_str(&request.body).unwrap());
            Reply::ok("OK")
        });
        Self {
            server,
            tpm,
            _emulator: emulator,
        }
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn configure(rkt: &Rkt, mut fields: Value) {
    fields["rktVersion"] = "v1".into();
    fields["rktKind"] = "tpm".into();
    let directory = rkt.local_config().join("tpm.d");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("tpm.json"), fields.to_string()).unwrap();
}

fn measurements(rkt: &Rkt) -> Value {
    serde_json::from_str(&rkt.ok(&["measurements", "--format=json"])).unwrap()
}

/// The hashes recorded in a tree store.
fn recorded(rkt: &Rkt) -> Vec<String> {
    let trees = fs::read_dir(rkt.data().join("cas/tree")).unwrap();
    let hash = |tree: PathBuf| fs::read_to_string(tree.join("hash")).unwrap();
    trees
        .map(|tree| hash(tree.unwrap().path()).trim().to_owned())
        .collect()
}

#[test]
fn every_way_to_start_is_measured_by_tpmd() {
    let tpmd = Tpmd::new();
    let rkt = Rkt::new();
    configure(
        &rkt,
        json!({"measure": "tpmd", "address": tpmd.server.authority()}),
    );
    let image = rkt.fetch(&fixtures::busybox());
    rkt.run(&["run", "--net=none", &image, "--exec=/bin/true"])
        .expect(0);
    let uuid = rkt.ok(&["prepare", "--quiet", &image, "--exec=/bin/true"]);
    let manifest = fs::read(rkt.data().join("pods/prepared").join(&uuid).join("pod")).unwrap();
    rkt.run(&["run-prepared", "--net=none", &uuid]).expect(0);
    let flags = [
        "run",
        "--net=none",
        "--no-overlay",
        &image,
        "--exec=/bin/true",
    ];
    rkt.run(&flags).expect(0);
    let (_pod, sandbox) =
        rkt.start_pod_by(&["app", "sandbox"], &["--net=none"], |args| rkt.start(args));
    rkt.start_app(
        &sandbox,
        &image,
        "later",
        &["--exec=/bin/sleep", "--", "1000"],
    );

    let all = measurements(&rkt);
    let events = all[0]["events"].as_array().unwrap();
    assert_eq!(events.len(), 5, "{all}");
    for event in events {
        assert_eq!(
            (&event["pcr"], &event["type"]),
            (&json!(15), &json!(0x1000))
        );
        assert_eq!(event["consistent"], true);
    }
    let data = |number: usize| events[number]["data"].as_str().unwrap();
    let hash = sha256(&manifest).replace(':', "-");
    assert!(data(1).contains(&format!("Pod: {uuid} ")), "{}", data(1));
    assert!(
        data(1).contains(&format!(" Manifest: {hash} ")),
        "{}",
        data(1)
    );
    for hash in recorded(&rkt) {
        assert!(data(1).contains(&hash), "no {hash} in {}", data(1));
    }
    assert!(data(4).contains(&format!("Pod: {sandbox} ")) && data(4).contains(" later="));
    // Other arguments, other hashes.
    let arguments = |number: usize| data(number).rsplit(' ').next().unwrap();
    assert_ne!(arguments(0), arguments(1));
    // What the log gives is what the module has.
    assert_eq!(all[0]["pcr"]["sha1"], json!(tpmd.tpm.value()), "{all}");
    // And other programs read it.
    let log = output(Command::new("tpm2_eventlog").arg(all[0]["log"].as_str().unwrap()));
    assert!(
        log.to_lowercase()
            .contains(&format!("15 : 0x{}", tpmd.tpm.value())),
        "{log}"
    );
    rkt.ok(&["stop", &sandbox]);
}

#[test]
fn what_cannot_be_measured_does_not_run() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let refused = |words: &[&str]| {
        let marker = rkt.path("ran");
        fs::create_dir_all(&marker).unwrap();
        let volume = format!("--volume=v,kind=host,source={}", marker.display());
        let flags = [
            "run",
            "--net=none",
            &volume,
            "--mount=volume=v,target=/v",
            &image,
        ];
        let args = [&flags[..], &["--exec=/bin/touch", "--", "/v/x"]].concat();
        rkt.run(&args).refused(words);
        assert_eq!(fs::read_dir(marker).unwrap().count(), 0);
    };
    if !Path::new("/dev/tpmrm0").exists() {
        configure(&rkt, json!({"measure": "device"}));
        refused(&["cannot measure pod", "/dev/tpmrm0"]);
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    configure(&rkt, json!({"measure": "tpmd", "address": address}));
    refused(&["cannot measure pod", "cannot reach tpmd", &address]);
    // One that refuses leaves no event.
    let before = measurements(&rkt)[0]["events"]
        .as_array()
        .map_or(0, Vec::len);
    let server = Server::start(|_: &Request| Reply::status(500));
    configure(
        &rkt,
        json!({"measure": "tpmd", "address": server.authority()}),
    );
    refused(&["cannot measure pod", "answers 500"]);
    let after = measurements(&rkt)[0]["events"]
        .as_array()
        .map_or(0, Vec::len);
    assert_eq!(before, after);
    configure(&rkt, json!({"measure": "perhaps"}));
    refused(&["tpm.json", "\"measure\"", "auto, device, tpmd or none"]);
    rkt.assert_clean();
}

#[test]
fn without_a_module_there_is_no_trace() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    // Where there is one, it is not to be used.
    if Path::new("/dev/tpmrm0").exists() {
        configure(&rkt, json!({"measure": "none"}));
    }
    let output = rkt.run(&["run", "--net=none", &image, "--exec=/bin/true"]);
    assert_eq!(output.expect(0).stderr, "");
    assert!(!rkt.data().join("measurements").exists());
    assert_eq!(rkt.ok(&["measurements"]), "");
    rkt.assert_clean();
}

/// With `/dev/tpmrm0` of Debian's kernel, whose own files show the register.
#[test]
fn a_machines_tpm_holds_what_the_log_gives() {
    let script = include_str!("vm_tpm.sh");
    let report = Machine::new().with_tpm().run(script);
    report.expect("pods", &["first 0", "second 0", "other 0"]);
    report.expect("refused", &["cannot measure pod", "status 254"]);
    let values = |heading: &str| -> Vec<String> {
        let lines = report
            .under(heading)
            .lines()
            .filter(|line| line.starts_with("pcr15-"));
        let mut lines: Vec<String> = lines.map(str::to_lowercase).collect();
        lines.sort();
        lines
    };
    let kernel = values("kernel");
    assert!(
        kernel.iter().any(|line| line.starts_with("pcr15-sha256=")),
        "{kernel:?}"
    );
    assert_eq!(values("log"), kernel);
    assert_eq!(values("other"), values("kernel then"));
    assert_ne!(values("other"), kernel);
    let log = report.under("log");
    // The killed one was measured or not.
    assert!(log.matches("event=rkt: Pod: ").count() >= 3, "{log}");
    assert_eq!(report.under("other").matches("event=rkt: Pod: ").count(), 1);
    report.expect("other", &["event=rkt: PCR 15 is sha"]);
}
