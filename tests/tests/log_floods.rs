//! Apps that write as fast as they can, so that a thread of the supervisor's writes the log.

use std::time::Duration;

use e2e::{Rkt, fixtures};

use crate::logs::{journalctl, kill_supervisor};
use crate::mutable::await_state;

/// More than any test waits for.
const ENDLESS: &str = "1000000000";

fn flood(count: &str) -> [&str; 5] {
    ["--exec=/probe", "--", "flood", count, "40"]
}

/// How many lines of the flood are in the log: none is missing, and none is there twice.
fn logged(rkt: &Rkt, uuid: &str, app: &str) -> usize {
    let app = format!("--app={app}");
    let log = rkt.ok(&["logs", "--format=cat", &app, uuid]);
    let lines = log.lines().enumerate().map(|(n, line)| {
        let number = line.split(' ').next();
        assert_eq!(number, Some(n.to_string().as_str()), "line {n}");
        assert_eq!(line.len(), 39, "line {n}");
    });
    lines.count()
}

#[test]
fn a_supervisor_that_is_killed_leaves_whole_entries() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    for moment in [50, 120, 250, 400] {
        let pod = [
            &["--net=none", image.as_str(), "--name=app"][..],
            &flood(ENDLESS),
        ]
        .concat();
        let (pod, uuid) = rkt.start_pod(&pod);
        std::thread::sleep(Duration::from_millis(moment));
        kill_supervisor(&rkt, &uuid, pod);
        let count = logged(&rkt, &uuid, "app");
        assert!(count > 1000, "{count} lines after {moment} ms");
        let read = journalctl(&rkt, &uuid, &["-o", "cat"]);
        assert_eq!(read.lines().count(), count);
    }
    rkt.assert_clean();
}

/// The thread ends before the supervisor clones itself, and begins anew.
#[test]
fn apps_come_and_go_meanwhile() {
    const LINES: usize = 200_000;
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let (pod, uuid) = rkt.start_sandbox(&["--net=none"]);
    let apps: Vec<String> = (0..6).map(|n| format!("app{n}")).collect();
    for app in &apps {
        rkt.start_app(&uuid, &image, app, &flood(&LINES.to_string()));
    }
    for app in &apps {
        await_state(&rkt, &uuid, app, "exited");
    }
    rkt.ok(&["stop", &uuid]);
    pod.finish();
    for app in &apps {
        assert_eq!(logged(&rkt, &uuid, app), LINES);
    }
    rkt.assert_clean();
}
