//! An app that cannot start says why.

use e2e::{Aci, Output, Rkt, fixtures};

#[track_caller]
fn fails(aci: Aci, words: &[&str]) -> Output {
    let rkt = Rkt::new();
    let image = rkt.fetch(&aci);
    let output = rkt.run(&["run", "--net=none", &image]);
    assert_ne!(output.code, 0, "{}", output.all());
    for word in words {
        assert!(
            output.all().contains(word),
            "{word:?} is missing in: {}",
            output.all()
        );
    }
    rkt.assert_clean();
    output
}

#[test]
fn a_missing_executable() {
    fails(
        fixtures::probe().exec(&["/bin/missing"]),
        &["/bin/missing", "no such file"],
    );
}

#[test]
fn a_name_that_is_not_in_the_path() {
    fails(
        fixtures::probe().exec(&["missing-program"]),
        &["missing-program", "PATH"],
    );
}

#[test]
fn a_missing_interpreter() {
    let aci = fixtures::probe()
        .file("/script", 0o755, "#!/bin/absent-shell\n")
        .exec(&["/script"]);
    fails(aci, &["/script", "/bin/absent-shell"]);
}

#[test]
fn no_permission() {
    let aci = fixtures::probe()
        .file("/data", 0o644, "text")
        .exec(&["/data"]);
    fails(aci, &["/data", "ermission"]);
}

#[test]
fn a_directory() {
    fails(
        fixtures::probe().dir("/folder", 0o755).exec(&["/folder"]),
        &["/folder"],
    );
}

#[test]
fn another_architecture() {
    let program = std::fs::read(fixtures::program("probe")).unwrap();
    let mut foreign = program[..4096].to_vec();
    // e_machine of an ELF header: 183 is AArch64.
    foreign[18..20].copy_from_slice(&183u16.to_le_bytes());
    fails(
        fixtures::probe()
            .file("/foreign", 0o755, &foreign)
            .exec(&["/foreign"]),
        &["/foreign", "aarch64"],
    );
}

#[test]
fn a_missing_loader_of_a_dynamic_program() {
    // The tests themselves are static, but the host's shell is not.
    let shell = std::fs::read("/usr/bin/env").unwrap();
    fails(
        fixtures::probe()
            .file("/env", 0o755, &shell)
            .exec(&["/env"]),
        &["/env", "ld-linux"],
    );
}

#[test]
fn a_missing_working_directory() {
    let aci = fixtures::probe().app("workingDirectory", "/not/there".into());
    fails(aci, &["/not/there"]);
}

#[test]
fn an_image_without_an_app() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&Aci::new("example.com/data").file("/x", 0o644, "x"));
    rkt.run(&["run", "--net=none", &image]).refused(&["app"]);
    assert_eq!(rkt.pods(), Vec::<String>::new());
}
