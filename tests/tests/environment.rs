//! What an app finds around it: variables, names, directories, open files.

use e2e::{Rkt, fixtures};

#[test]
fn documented_defaults() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let report = rkt.run(&["run", "--net=none", &image]).expect(0).report();
    let env = &report["env"];
    assert_eq!(env["AC_APP_NAME"], "probe");
    assert_eq!(
        env["PATH"],
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    );
    assert_eq!(env["SHELL"], "/bin/sh");
    assert_eq!(env["USER"], "root");
    assert_eq!(env["LOGNAME"], "root");
    assert_eq!(env["HOME"], "/root");
    assert!(env["container"].is_string(), "{env}");
    assert_eq!(report["cwd"], "/");
    assert!(
        report["hostname"].as_str().unwrap().starts_with("rkt-"),
        "{}",
        report["hostname"]
    );
}

#[test]
fn nothing_of_the_caller_leaks_in() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let mut command = rkt.command(&["run", "--net=none", &image]);
    command.env("SECRET_OF_THE_CALLER", "1");
    let report = e2e::Running::start(command).finish().expect(0).report();
    assert!(report["env"]["SECRET_OF_THE_CALLER"].is_null());
    // stdin, stdout, stderr and the directory that the report reads.
    let fds = report["fds"].as_object().unwrap();
    assert_eq!(fds.len(), 4, "{fds:?}");
}

/// The order of precedence of `sub-run`, "Influencing Environment Variables".
#[test]
fn later_sources_replace_earlier_ones() {
    let rkt = Rkt::new();
    let image = rkt.fetch(
        &fixtures::probe()
            .env("A", "image")
            .env("B", "image")
            .env("C", "image")
            .env("D", "image"),
    );
    let file = rkt.path("env");
    std::fs::write(
        &file,
        "# comment\n; comment\n\nB=file\nC=file\nD=file\nE=with = sign and space\n",
    )
    .unwrap();
    let from_file = format!("--set-env-file={}", file.display());
    let mut command = rkt.command(&[
        "run",
        "--net=none",
        "--inherit-env",
        &from_file,
        "--set-env=C=flag",
        "--set-env=D=flag",
        &image,
        "--environment=D=app",
    ]);
    command.env("A", "parent").env("ONLY_PARENT", "parent");
    let report = e2e::Running::start(command).finish().expect(0).report();
    let env = &report["env"];
    let found: Vec<_> = ["A", "B", "C", "D", "E", "ONLY_PARENT"]
        .iter()
        .map(|name| env[name].as_str())
        .collect();
    let expected = [
        "image",
        "file",
        "flag",
        "app",
        "with = sign and space",
        "parent",
    ];
    assert_eq!(found, expected.map(Some));
}

#[test]
fn a_variable_may_hold_a_newline_quotes_and_backslashes() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let value = "one\ntwo \"three\" \\four %i $HOME";
    let report = rkt
        .run(&[
            "run",
            "--net=none",
            &image,
            &format!("--environment=X={value}"),
        ])
        .expect(0)
        .report();
    assert_eq!(report["env"]["X"], value);
}

#[test]
fn a_file_that_sets_a_variable_twice_is_refused() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let file = rkt.path("env");
    std::fs::write(&file, "A=1\nA=2\n").unwrap();
    rkt.run(&[
        "run",
        "--net=none",
        &format!("--set-env-file={}", file.display()),
        &image,
    ])
    .refused(&["A"]);
}

#[test]
fn hostname_and_working_directory_can_be_chosen() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe().dir("/work", 0o755));
    let report = rkt
        .run(&[
            "run",
            "--net=none",
            "--hostname=chosen",
            &image,
            "--working-dir=/work",
        ])
        .expect(0)
        .report();
    assert_eq!(report["hostname"], "chosen");
    assert_eq!(report["cwd"], "/work");
}

#[test]
fn the_default_hostname_is_made_of_the_uuid() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let save = format!("--uuid-file-save={}", rkt.path("uuid").display());
    let report = rkt
        .run(&["run", "--net=none", &save, &image])
        .expect(0)
        .report();
    let uuid = std::fs::read_to_string(rkt.path("uuid")).unwrap();
    assert_eq!(report["hostname"], format!("rkt-{}", uuid.trim()));
}
