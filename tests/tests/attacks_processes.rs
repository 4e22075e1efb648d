//! What a hostile app tries against other processes: its supervisor, its neighbours, and who enters
//! its pod. All of it must fail.

use std::time::Duration;

use e2e::{Rkt, fixtures, until};

const NO_FILTER: &str = "--seccomp=mode=retain,@appc.io/all";
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn the_supervisor_cannot_be_traced() {
    for users in ["--private-users=false", "--private-users"] {
        for filter in [&[NO_FILTER][..], &[]] {
            let rkt = Rkt::new();
            let image = rkt.fetch(&fixtures::probe());
            let words = ["--exec=/probe", "--", "attack", "trace", "1"];
            let run = [&["run", "--net=none", users, &image], filter, &words].concat();
            let output = rkt.run(&run);
            let lines = output.app_lines();
            assert!(!lines.contains(&"broken"), "{}", output.all());
            // The default filter kills who tries.
            let ended = lines.last() == Some(&"end") && output.code == 0;
            assert!(ended || filter.is_empty(), "{}", output.all());
            rkt.assert_clean();
        }
    }
}

/// A neighbour that keeps more capabilities is not the attacker's to look into.
#[test]
fn another_app_cannot_be_traced() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let (_running, uuid) = rkt.start_sandbox(&["--net=none"]);
    let add = |name: &str, words: &[&str]| rkt.start_app(&uuid, &image, name, words);
    let victim = [
        "--caps-retain=CAP_KILL,CAP_NET_ADMIN",
        "--exec=/probe",
        "--",
        "sleep",
    ];
    add("victim", &victim);
    let logs = |app: &str| rkt.ok(&["logs", &format!("--app={app}"), "--format=cat", &uuid]);
    until(LIMIT, "the victim", || logs("victim").contains("ready"));
    let supervisor = rkt.status(&uuid, "pid").unwrap();
    let note = format!("/proc/{supervisor}/root/rkt/status/victim.pid");
    let pid = std::fs::read_to_string(&note).unwrap_or_else(|e| panic!("{note}: {e}"));
    let trace = [
        "--caps-retain=CAP_KILL",
        "--exec=/probe",
        "--",
        "attack",
        "trace",
        pid.trim(),
    ];
    add("attacker", &[&[NO_FILTER], &trace[..]].concat());
    until(LIMIT, "the attacker to end", || {
        logs("attacker").contains("end")
    });
    let said = logs("attacker");
    assert!(!said.contains("broken"), "{said}");
    for attempt in ["PTRACE_SEIZE: ", "process_vm_writev: ", "pidfd_getfd: "] {
        assert!(
            said.contains(&format!("{attempt}Operation not permitted")),
            "{said}"
        );
    }
    rkt.run(&["stop", "--force", &uuid]).expect(0);
    rkt.await_state(&uuid, "exited");
    rkt.assert_clean();
}

/// Programs of rkt run inside the pod for a moment, until they become what they were asked for:
/// those of an app that starts and of who enters. One app waits for them. With the default
/// capabilities it may not even look at them; with all, it cannot write.
#[test]
fn the_programs_that_start_others_cannot_be_written() {
    let privileged = "--insecure-options=capabilities,seccomp";
    for (users, flag) in [
        ("--private-users=false", NO_FILTER),
        ("--private-users=false", privileged),
        ("--private-users", NO_FILTER),
        ("--private-users", privileged),
    ] {
        let rkt = Rkt::new();
        let image = rkt.fetch(&fixtures::probe());
        let (_running, uuid) = rkt.start_sandbox(&["--net=none", users]);
        let add = |name: &str, flags: &[&str], words: &[&str]| {
            let words = [flags, &["--exec=/probe", "--"], words].concat();
            rkt.start_app(&uuid, &image, name, &words);
        };
        add("watcher", &[flag], &["attack", "programs", "-"]);
        until(LIMIT, "the app to watch", || {
            rkt.ok(&["logs", &uuid]).contains("watching")
        });
        for turn in 0..5 {
            add(&format!("other{turn}"), &[], &["true"]);
            for privileged in ["--privileged=false", "--privileged"] {
                for _ in 0..3 {
                    let enter = ["enter", privileged, "--app=watcher", &uuid];
                    rkt.run(&[&enter[..], &["/probe", "true"]].concat())
                        .expect(0);
                }
            }
        }
        let enter = ["enter", "--app=watcher", &uuid, "/probe", "make", "/stop"];
        rkt.run(&enter).expect(0);
        let said = || rkt.ok(&["logs", "--app=watcher", "--format=cat", &uuid]);
        until(LIMIT, "the watcher to end", || said().contains("end"));
        let said = said();
        assert!(!said.contains("broken"), "{said}");
        // It was quick enough to see some, and privileged enough to open them or not.
        assert!(!said.contains("seen 0 times"), "{said}");
        let none = said.contains(" 0 programs opened");
        assert_eq!(none, flag == NO_FILTER, "{said}");
        rkt.run(&["stop", "--force", &uuid]).expect(0);
        rkt.await_state(&uuid, "exited");
        rkt.assert_clean();
    }
}

/// One that makes itself the program that enters it, or starts it, gets no further (the flaw that
/// runc had, CVE-2019-5736): it may look at the process, which is like its own, and keep its file
/// open, but not write to it.
#[test]
fn a_program_that_an_image_runs_again_cannot_be_written() {
    for users in ["--private-users=false", "--private-users"] {
        let rkt = Rkt::new();
        // Whoever executes it executes itself.
        let image = fixtures::probe().file("/own", 0o755, "#!/proc/self/exe\n");
        let image = rkt.fetch(&image);
        let (_running, uuid) = rkt.start_sandbox(&["--net=none", users]);
        let add = |name: &str, words: &[&str]| rkt.start_app(&uuid, &image, name, words);
        let watch = ["--exec=/probe", "--", "attack", "programs", "-"];
        add("watcher", &[&[NO_FILTER], &watch[..]].concat());
        let said = || rkt.ok(&["logs", "--app=watcher", "--format=cat", &uuid]);
        until(LIMIT, "the app to watch", || said().contains("watching"));
        let mut turn = 0;
        until(LIMIT, "the watcher to have opened both", || {
            turn += 1;
            add(&format!("own{turn}"), &["--exec=/own"]);
            let entered = rkt.run(&["enter", "--app=watcher", &uuid, "/own"]);
            assert_ne!(entered.code, 0, "{}", entered.all());
            // The supervisor's program, and who enters.
            said().matches("opened a program").count() > 1
        });
        let enter = ["enter", "--app=watcher", &uuid, "/probe", "make", "/stop"];
        rkt.run(&enter).expect(0);
        until(LIMIT, "the watcher to end", || said().contains("end"));
        let said = said();
        assert!(!said.contains("broken"), "{said}");
        assert!(said.contains("write to a program: "), "{said}");
        rkt.run(&["stop", "--force", &uuid]).expect(0);
        rkt.await_state(&uuid, "exited");
        rkt.assert_clean();
    }
}
