//! The command line itself: help, version, usage errors and their exit statuses.

use e2e::Rkt;

#[test]
fn version_has_five_lines() {
    let rkt = Rkt::new();
    let text = rkt.ok(&["version"]);
    let keys: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys[..2], ["rkt Version", "appc Version"], "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(
        text.lines().last().unwrap().starts_with("Features:"),
        "{text}"
    );
}

#[test]
fn help_goes_to_stdout() {
    let rkt = Rkt::new();
    for args in [
        ["help"].as_slice(),
        &["--help"],
        &["help", "run"],
        &["run", "--help"],
    ] {
        let output = rkt.run(args).expect(0);
        for heading in ["NAME:", "USAGE:", "DESCRIPTION:", "OPTIONS:"] {
            assert!(
                output.stdout.contains(heading),
                "{args:?}: {heading} is missing: {}",
                output.stdout
            );
        }
    }
}

#[test]
fn no_command_is_an_error_of_its_own() {
    let rkt = Rkt::new();
    let output = rkt.run(&[]).expect(2);
    assert!(
        output.stderr.contains("missing command"),
        "{}",
        output.stderr
    );
}

#[test]
fn unknown_commands_and_flags() {
    let rkt = Rkt::new();
    rkt.run(&["fly-away"]).refused(&["fly-away"]);
    rkt.run(&["list", "--no-such-flag"])
        .refused(&["no-such-flag"]);
}

#[test]
fn a_prefix_of_a_command_is_enough() {
    let rkt = Rkt::new();
    assert_eq!(rkt.ok(&["vers"]), rkt.ok(&["version"]));
    rkt.run(&["im", "li"]).expect(0);
    // It is the original's, where there is one of those.
    assert_eq!(rkt.ok(&["l", "--no-legend"]), "");
    rkt.run(&["stat", "nothing"]).refused(&["status: "]);
}

#[test]
fn flags_of_a_command_may_stand_before_it() {
    let rkt = Rkt::new();
    assert_eq!(rkt.ok(&["--no-legend", "list"]), "");
    assert_eq!(rkt.ok(&["--format=json", "image", "list"]), "null");
    let args = ["--net=none", "--interactive", "run", "example.com/x"];
    rkt.run(&args).refused(&["example.com/x"]);
    rkt.run(&[
        "--stage1-path=/nothing",
        "--pull-policy",
        "never",
        "run",
        "example.com/x",
    ])
    .refused(&["run: "]);
    rkt.run(&["--exec=/x", "run", "example.com/x"])
        .refused(&["--exec must follow an image"]);
}

#[test]
fn flags_of_an_app_must_follow_its_image() {
    let rkt = Rkt::new();
    rkt.run(&["run", "--exec=/bin/true", "example.com/x"])
        .refused(&["must follow an image"]);
    rkt.run(&["prepare", "--user=1", "example.com/x"])
        .refused(&["must follow an image"]);
}

#[test]
fn a_flag_without_its_value_does_not_take_the_mark_of_arguments() {
    let rkt = Rkt::new();
    for flag in ["user", "volume", "dns", "ipc", "insecure-options"] {
        let name = format!("--{flag}");
        rkt.run(&["run", "example.com/x", &name, "--", "b"])
            .refused(&[&format!("{name} needs a value before --")]);
    }
}

#[test]
fn an_image_is_needed() {
    let rkt = Rkt::new();
    rkt.run(&["run"]).refused(&[]);
    rkt.run(&["prepare"]).refused(&[]);
    rkt.run(&["fetch"]).refused(&[]);
}

/// Signatures are checked unless somebody says otherwise; a file without one is refused.
#[test]
fn unsigned_files_need_an_option() {
    let rkt = Rkt::new();
    let image = rkt.image(&e2e::fixtures::probe());
    let data = format!("--dir={}", rkt.data().display());
    let mut command = std::process::Command::new(e2e::fixtures::program("rkt"));
    command.args([&data, "fetch", &image]);
    let output = e2e::Running::start(command).finish();
    output.refused(&["insecure-options"]);
}
