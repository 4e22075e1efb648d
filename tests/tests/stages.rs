//! The interface between the stages: a stage1 made by somebody else under this stage0.

use std::time::Duration;

use e2e::{Aci, Rkt, fixtures, until_some};

/// A stage1 that is a shell script: it does what the implementor's guide asks of one, says
/// what it was given, and "runs" its app by ending with 7.
const RUN: &str = r#"#!/bin/sh
echo "arguments: $*"
echo "directory: $(pwd)"
echo "lock: $(readlink /proc/self/fd/$RKT_LOCK_FD)"
echo "app: $(ls stage1/rootfs/opt/stage2)"
test -x stage1/rootfs/opt/stage2/probe/rootfs/probe && echo "its root is there"
echo $$ > pid
mkdir -p stage1/rootfs/rkt/status
echo 7 > stage1/rootfs/rkt/status/probe
exit 7
"#;

/// One that waits for a file to end.
const WAIT: &str = r#"#!/bin/sh
echo $$ > pid
mkdir -p stage1/rootfs/rkt/status
while ! test -e end; do sleep 0.05; done
"#;

fn stage1(run: &str) -> Aci {
    Aci::new("example.com/stage1-script")
        .label("version", "1.0.0")
        .annotation("coreos.com/rkt/stage1/run", "/ex/run")
        .annotation("coreos.com/rkt/stage1/enter", "/ex/enter")
        .annotation("coreos.com/rkt/stage1/gc", "/ex/gc")
        .annotation("coreos.com/rkt/stage1/interface-version", "5")
        .file("/ex/run", 0o755, run)
        .file("/ex/enter", 0o755, "#!/bin/sh\necho \"$*\"\nexit 3\n")
        .file(
            "/ex/gc",
            0o755,
            "#!/bin/sh\necho collected > \"$0.was-called\" 2>/dev/null\nexit 0\n",
        )
}

#[test]
fn another_stage1_gets_what_the_interface_promises() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let path = format!("--stage1-path={}", rkt.image(&stage1(RUN)));
    let save = format!("--uuid-file-save={}", rkt.path("uuid").display());
    let output = rkt
        .run(&[
            "run",
            &path,
            &save,
            "--net=none",
            "--hostname=chosen",
            &image,
        ])
        .expect(7);
    let uuid = std::fs::read_to_string(rkt.path("uuid")).unwrap();
    let uuid = uuid.trim();
    let said = |key: &str| {
        output
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap_or_default()
    };
    let arguments = said("arguments: ");
    assert!(arguments.ends_with(uuid), "{arguments}");
    assert!(
        arguments.contains("--net=none") && arguments.contains("--hostname=chosen"),
        "{arguments}"
    );
    assert!(!arguments.contains("--ipc"), "version 6 only: {arguments}");
    let place = rkt.data().join("pods/run").join(uuid);
    assert_eq!(said("directory: "), place.display().to_string());
    assert_eq!(said("lock: "), place.display().to_string());
    assert_eq!(said("app: "), "probe");
    assert!(
        output.stdout.contains("its root is there"),
        "{}",
        output.all()
    );
    assert_eq!(rkt.status(uuid, "app-probe").as_deref(), Some("7"));
    assert_eq!(rkt.status(uuid, "state").as_deref(), Some("exited"));
    rkt.assert_clean();
}

/// A script cannot be executed through the mount that hides a program from the pod: it is by its path.
#[test]
fn a_pod_can_be_entered_by_a_script() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let path = format!("--stage1-path={}", rkt.image(&stage1(WAIT)));
    let file = rkt.path("uuid");
    let save = format!("--uuid-file-save={}", file.display());
    let running = rkt.start(&["run", &path, &save, "--net=none", &image]);
    let place = until_some(Duration::from_secs(20), "the pod to run", || {
        let uuid = std::fs::read_to_string(&file).ok()?;
        let place = rkt.data().join("pods/run").join(uuid.trim());
        std::fs::read_to_string(place.join("pid"))
            .ok()?
            .ends_with('\n')
            .then_some(place)
    });
    let uuid = place.file_name().unwrap().to_string_lossy().into_owned();
    let entered = rkt.run(&["enter", &uuid, "/probe", "true"]).expect(3);
    let said = entered.stdout.trim();
    assert!(said.ends_with("-- /probe true"), "{said}");
    std::fs::write(place.join("end"), "").unwrap();
    running.finish().expect(0);
    rkt.assert_clean();
}

#[test]
fn a_stage1_without_entrypoints_is_refused() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let path = format!(
        "--stage1-path={}",
        rkt.image(&Aci::new("example.com/no-stage1").file("/x", 0o644, ""))
    );
    let output = rkt.run(&["run", &path, "--net=none", &image]);
    output.refused(&["coreos.com/rkt/stage1/run"]);
    rkt.assert_clean();
}

/// The default stage1 travels inside the program: a copied file runs pods.
#[test]
fn a_copied_program_runs_pods() {
    let copy = e2e::TempDir::new();
    let program = copy.join("renamed");
    std::fs::copy(fixtures::program("rkt"), &program).unwrap();
    let rkt = Rkt::of(program);
    let image = rkt.image(&fixtures::probe());
    rkt.run(&[
        "run",
        "--net=none",
        &image,
        "--exec=/probe",
        "--",
        "exit",
        "9",
    ])
    .expect(9);
    rkt.assert_clean();
}
