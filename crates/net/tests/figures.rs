//! What a pod's network costs. The figures are printed (`--nocapture`); only gross slowness fails.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::time::Duration;

use common::{World, timed};

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn what_a_default_network_costs() {
    let world = World::new();
    let (mut ups, mut downs) = (Vec::new(), Vec::new());
    for round in 0..30 {
        let pod = world.pod(&format!("pod{round}"));
        let (_, up) = timed(|| world.set_up(&pod, "default", &[]).unwrap());
        let ((), down) = timed(|| world.tear_down(&pod));
        ups.push(up);
        downs.push(down);
        drop(pod);
        std::thread::sleep(Duration::from_millis(20));
    }
    let keep = world.pod("keep");
    world.set_up(&keep, "default", &[]).unwrap();
    let mut more = Vec::new();
    for round in 0..30 {
        let pod = world.pod(&format!("pod{round}"));
        let (_, up) = timed(|| world.set_up(&pod, "default", &[]).unwrap());
        more.push(up);
        world.tear_down(&pod);
        drop(pod);
        std::thread::sleep(Duration::from_millis(20));
    }
    world.tear_down(&keep);
    println!(
        "FIGURE set up, first pod {:?}, beside another {:?}; tear down {:?}",
        median(ups.clone()),
        median(more),
        median(downs)
    );
    assert!(median(ups) < Duration::from_millis(50));
}
