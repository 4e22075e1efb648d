//! What a person sees: exit status, standard output and standard error of whole command lines.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

fn rkt(args: &[&str]) -> (i32, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rkt"))
        .arg(format!("--dir={}", dir.path().join("data").display()))
        .args(args)
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn says(args: &[&str], status: i32, stdout: &str, stderr: &str) {
    let (code, out, err) = rkt(args);
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (status, stdout, stderr),
        "{args:?}"
    );
}

#[test]
fn version_has_its_five_lines() {
    let (status, out, err) = rkt(&["version"]);
    assert_eq!((status, err.as_str()), (0, ""));
    let names: Vec<_> = out.lines().map(|l| l.split(':').next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "rkt Version",
            "appc Version",
            "Go Version",
            "Go OS/Arch",
            "Features"
        ]
    );
}

#[test]
fn usage_errors_end_with_254_and_a_missing_command_with_2() {
    let (status, out, err) = rkt(&[]);
    assert_eq!((status, err.as_str()), (2, "missing command\n"));
    assert!(out.starts_with("NAME:\n\trkt - rkt, the application container runner\n\nUSAGE:\n\trkt [command]\n\nVERSION:\n\t"));
    says(
        &["frobnicate"],
        254,
        "",
        "Error: unknown command \"frobnicate\" for \"rkt\"\nRun 'rkt --help' for usage.\n",
    );
    says(
        &["image", "frob"],
        254,
        "",
        "Error: unknown command \"frob\" for \"rkt image\"\nRun 'rkt --help' for usage.\n",
    );
    says(
        &["--nope"],
        254,
        "",
        "Error: unknown flag: --nope\nRun 'rkt --help' for usage.\n",
    );
    let (status, _, err) = rkt(&["list", "--nope"]);
    assert_eq!(status, 254);
    assert!(
        err.starts_with("Error: unknown flag: --nope\nNAME:\n\tlist - List pods\n"),
        "{err}"
    );
    let (_, _, err) = rkt(&["gc", "--grace-period=soon"]);
    assert!(
        err.starts_with("Error: invalid argument \"soon\" for --grace-period=soon: "),
        "{err}"
    );
}

#[test]
fn help_has_the_originals_sections() {
    let (status, out, _) = rkt(&["help", "image", "rm"]);
    assert_eq!(status, 0);
    assert_eq!(rkt(&["image", "rm", "--help"]).1, out);
    let sections: Vec<_> = out
        .lines()
        .filter(|l| l.ends_with(':') && !l.starts_with('\t'))
        .collect();
    assert_eq!(
        sections,
        ["NAME:", "USAGE:", "DESCRIPTION:", "GLOBAL OPTIONS:"]
    );
    let (_, out, _) = rkt(&["help", "gc"]);
    assert!(out.contains("\n\t--grace-period=30m0s\t"), "{out}");
    assert!(out.contains("\n\t--mark-only[=false]\t"), "{out}");
    assert!(out.contains("\n\t--dir=\"/var/lib/rkt\"\t"), "{out}");
    assert!(!out.contains("cpuprofile"), "{out}");
    says(
        &["help", "nothing"],
        254,
        "",
        "help: unknown help topic \"nothing\"\n",
    );
}

#[test]
fn prefixes_of_commands_work() {
    assert_eq!(rkt(&["ver"]).1, rkt(&["version"]).1);
    says(&["im", "li", "--no-legend"], 0, "", "");
    assert_eq!(rkt(&["r"]).0, 254);
}

#[test]
fn an_empty_data_directory_is_an_empty_list() {
    says(
        &["list"],
        0,
        "UUID\tAPP\tIMAGE NAME\tSTATE\tCREATED\tSTARTED\tNETWORKS\n",
        "",
    );
    says(&["list", "--full", "--no-legend"], 0, "", "");
    says(&["list", "--format=json"], 0, "null\n", "");
    says(
        &["list", "--format=yaml"],
        254,
        "",
        "list: invalid format \"yaml\": must be json or json-pretty\n",
    );
}

#[test]
fn pods_that_are_not_there() {
    says(
        &["status", "0123abcd"],
        254,
        "",
        "status: problem retrieving pod: no matches found for \"0123abcd\"\n",
    );
    says(
        &["cat-manifest", "zz"],
        254,
        "",
        "cat-manifest: problem retrieving pod: invalid UUID: \"zz\"\n",
    );
    says(
        &["status", "--uuid-file=/nonexistent/file"],
        1,
        "",
        "status: unable to resolve UUID from file \"/nonexistent/file\": No such file or directory (os error 2)\n",
    );
    says(
        &["--debug", "status", "0123abcd"],
        254,
        "",
        "status: problem retrieving pod\n  └─no matches found for \"0123abcd\"\n",
    );
}

#[test]
fn images_that_cannot_be_had() {
    let (status, _, err) = rkt(&["fetch", "/nonexistent.aci"]);
    assert_eq!(status, 254);
    assert_eq!(
        err,
        "fetch: cannot get image \"/nonexistent.aci\": cannot open \"/nonexistent.aci\": No such file or directory (os error 2)\n"
    );
    let (status, _, err) = rkt(&["fetch", "/etc/hostname"]);
    assert_eq!(status, 254);
    assert!(err.contains("--insecure-options=image"), "{err}");
    let (status, _, err) = rkt(&["--insecure-options=image", "fetch", "/etc/hostname"]);
    assert_eq!(status, 254, "{err}");
    assert!(!err.contains("panicked"), "{err}");
    let (status, _, err) = rkt(&["--insecure-options=most", "list"]);
    assert_eq!(
        (status, err.as_str()),
        (254, "list: unknown value \"most\" for --insecure-options\n")
    );
}

#[test]
fn every_command_takes_no_arguments_without_a_panic() {
    for command in [
        "cat-manifest",
        "completion",
        "enter",
        "fetch",
        "gc",
        "image",
        "list",
        "prepare",
        "rm",
        "run",
        "run-prepared",
        "status",
        "stop",
        "version",
        "help",
    ] {
        let (status, _, err) = rkt(&[command]);
        assert!(matches!(status, 0 | 254), "{command}: {status}");
        assert!(!err.contains("panicked"), "{command}: {err}");
    }
    for command in [
        "cat-manifest",
        "export",
        "extract",
        "fetch",
        "gc",
        "list",
        "render",
        "rm",
        "verify",
    ] {
        let (status, _, err) = rkt(&["image", command]);
        assert!(matches!(status, 0 | 254), "image {command}: {status}");
        assert!(!err.contains("panicked"), "image {command}: {err}");
    }
}

#[test]
fn completion_is_for_bash() {
    assert!(rkt(&["completion", "bash"]).1.contains("run-prepared"));
    says(
        &["completion", "fish"],
        254,
        "",
        "completion: shell \"fish\" is not supported, only bash is\n",
    );
}
