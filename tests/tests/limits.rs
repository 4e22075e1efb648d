//! The memory and cpu isolators, in the control groups of this machine.

use e2e::{Rkt, fixtures};

#[test]
fn memory_is_bounded() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let run = |limit: &str, bytes: &str| {
        rkt.run(&[
            "run",
            "--net=none",
            &image,
            limit,
            "--exec=/probe",
            "--",
            "alloc",
            bytes,
        ])
    };
    let enough = run("--memory=64M", "8000000").expect(0);
    assert!(enough.stdout.contains("allocated"), "{}", enough.all());
    let killed = run("--memory=16M", "200000000");
    assert_eq!(killed.code, 128 + 9, "{}", killed.all());
    rkt.assert_clean();
}

#[test]
fn the_images_own_isolator_counts_too() {
    let rkt = Rkt::new();
    let limited =
        fixtures::probe().isolator("resource/memory", serde_json::json!({"limit": "16M"}));
    let image = rkt.fetch(&limited);
    let output = rkt.run(&[
        "run",
        "--net=none",
        &image,
        "--exec=/probe",
        "--",
        "alloc",
        "200000000",
    ]);
    assert_eq!(output.code, 128 + 9, "{}", output.all());
}

#[test]
fn processor_time_is_bounded() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let (_pod, uuid) = rkt.start_pod(&[
        "--net=none",
        &image,
        "--cpu=100m",
        "--exec=/probe",
        "--",
        "spin",
    ]);
    let app = e2e::until_some(std::time::Duration::from_secs(10), "the app", || {
        rkt.processes()
            .into_iter()
            .find(|(_, name)| name == "probe")
            .map(|(pid, _)| pid)
    });
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{app}/stat")).unwrap();
        let fields: Vec<_> = stat
            .rsplit_once(") ")
            .unwrap()
            .1
            .split(' ')
            .map(str::to_owned)
            .collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    // One second of wall clock is what is measured here, not what is waited for.
    let before = ticks();
    let start = std::time::Instant::now();
    e2e::until(std::time::Duration::from_secs(5), "a second", || {
        start.elapsed().as_millis() >= 1000
    });
    let used = ticks() - before;
    assert!(used <= 30, "{used} of 100 ticks used with --cpu=100m");
    rkt.ok(&["stop", "--force", &uuid]);
}

#[test]
fn sizes_below_a_page_are_refused() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    rkt.run(&["run", "--net=none", &image, "--memory=100"])
        .refused(&["memory"]);
}

#[test]
fn the_score_for_running_out_of_memory() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let report = rkt
        .run(&["run", "--net=none", &image, "--oom-score-adj=500"])
        .expect(0)
        .report();
    assert_eq!(report["oom_score_adj"], "500");
}
