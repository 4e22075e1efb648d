//! The type `firewall` with the policy `same-bridge`: what passes between bridges.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use common::{World, ip, listen, run, talk};

fn bridge(world: &World, number: u8, policy: &str) {
    let (subnet, subnet6) = (
        format!("10.44.{number}.0/24"),
        format!("fd00:{number}::/64"),
    );
    world.conf(
        &format!("{number}0-b{number}.conflist"),
        &format!(
            r#"{{"cniVersion":"1.0.0","name":"b{number}","plugins":[
                {{"type":"bridge","bridge":"rkti{number}","isGateway":true,"ipMasq":true,"ipam":{{"type":"host-local",
                  "ranges":[[{{"subnet":"{subnet}"}}],[{{"subnet":"{subnet6}"}}]],
                  "routes":[{{"dst":"0.0.0.0/0"}},{{"dst":"::/0"}}]}}}},
                {{"type":"firewall"{policy}}}]}}"#
        ),
    );
}

/// Ends the pod's namespace and takes away what it left.
fn collect(world: &World, pod: common::Pod) {
    let common::Pod { uuid, dir, netns } = pod;
    drop(netns);
    let errors = net::collect(&dir, &uuid, &world.paths);
    assert!(errors.is_empty(), "{errors:?}");
}

const SAME_BRIDGE: &str = r#","ingressPolicy":"same-bridge""#;

#[test]
fn isolated_bridges_do_not_reach_each_other() {
    let world = World::new();
    bridge(&world, 1, SAME_BRIDGE);
    bridge(&world, 2, SAME_BRIDGE);
    bridge(&world, 3, "");
    let pods = ["a", "b", "c", "d"].map(|name| world.pod(name));
    let nets = ["b1", "b1", "b2", "b3"];
    let networks: Vec<_> = pods
        .iter()
        .zip(nets)
        .map(|(pod, net)| world.set_up(pod, net, &[]).unwrap())
        .collect();
    let [a, b, c, d] = &pods;
    for family in [0, 1] {
        let to = |pod: usize| -> SocketAddr {
            let address = networks[pod].networks[0].ips().nth(family).unwrap();
            (address, 80).into()
        };
        let any = ["0.0.0.0:80", "[::]:80"][family];
        let listeners = [a, b, c, d].map(|pod| pod.inside(|| listen(any)));
        // The same bridge, the host, and bridges without the policy, both ways.
        talk(&listeners[1], to(1), |connect| a.inside(connect));
        talk(&listeners[0], to(0), |connect| connect());
        talk(&listeners[3], to(3), |connect| a.inside(connect));
        talk(&listeners[0], to(0), |connect| d.inside(connect));
        // Another bridge with it, neither way; nor with another's address as the sender's.
        let refused = |to: SocketAddr| {
            TcpStream::connect_timeout(&to, Duration::from_millis(400)).unwrap_err();
        };
        a.inside(|| refused(to(2)));
        c.inside(|| refused(to(0)));
    }
    // The last pod of a bridge takes its policy along; nothing else is touched.
    world.tear_down(c);
    let rules = run("nft", "list ruleset");
    assert!(
        rules.contains("rkti1") && !rules.contains("rkti2"),
        "{rules}"
    );
    world.tear_down(a);
    assert!(run("nft", "list ruleset").contains("rkti1"));
    drop(networks);
    for pod in [b, d] {
        world.tear_down(pod);
    }
    pods.into_iter().for_each(|pod| collect(&world, pod));
    world.assert_clean();
}

/// What a killed pod leaves is found by its owner.
#[test]
fn a_killed_pod_is_forgotten() {
    let world = World::new();
    bridge(&world, 1, SAME_BRIDGE);
    let pod = world.pod("a");
    drop(world.set_up(&pod, "b1", &[]).unwrap());
    assert!(run("nft", "list ruleset").contains("isolated-rkti1"));
    collect(&world, pod);
    world.assert_clean();
}

#[test]
fn the_policy_wants_a_bridge() {
    let world = World::new();
    world.conf(
        "10-p.conflist",
        r#"{"cniVersion":"1.0.0","name":"p","plugins":[
            {"type":"ptp","ipam":{"type":"host-local","subnet":"10.44.9.0/24"}},
            {"type":"firewall","ingressPolicy":"same-bridge"}]}"#,
    );
    let pod = world.pod("p");
    let error = world.set_up(&pod, "p", &[]).unwrap_err();
    assert!(error.to_string().contains("same-bridge"), "{error}");
    drop(pod);
    assert!(!ip("link").contains("veth"));
    world.assert_clean();
}
