//! The `default` network with real packets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use common::{FAR, World, ip, listen, talk};
use net::{Forward, HostPort, Protocol};

const UUID: &str = "11111111-2222-3333-4444-555555555555";

#[test]
fn a_pod_reaches_the_world_through_the_host() {
    let world = World::new();
    let pod = world.pod(UUID);
    let (networks, time) = common::timed(|| world.set_up(&pod, "default", &[]).unwrap());
    eprintln!("set up in {time:?}");
    let info = &networks.networks[0];
    assert_eq!(
        (info.net_name.as_str(), info.if_name.as_str()),
        ("default", "eth0")
    );
    assert_eq!(pod.ip(&networks, 0).to_string(), "172.16.28.2");
    let routes = pod.inside(|| ip("route"));
    assert!(
        routes.contains("default via 172.16.28.1 dev eth0"),
        "{routes}"
    );
    assert!(
        routes.contains("172.16.28.0/24 via 172.16.28.1 dev eth0 src 172.16.28.2"),
        "{routes}"
    );
    assert!(
        routes.contains("172.16.28.1 dev eth0 scope link src 172.16.28.2"),
        "{routes}"
    );
    assert!(ip("route").contains("172.16.28.2 dev veth"));

    // To the far host, masqueraded; from the host into the pod, as itself; and to oneself.
    let far = world.in_far(|| listen("192.0.2.1:80"));
    let seen = talk(&far, format!("{FAR}:80").parse().unwrap(), |connect| {
        pod.inside(connect)
    });
    assert_eq!(seen.to_string(), "192.0.2.2");
    let own = pod.inside(|| listen("172.16.28.2:81"));
    let seen = talk(&own, "172.16.28.2:81".parse().unwrap(), |connect| connect());
    assert_eq!(seen.to_string(), "172.16.28.1");
    let lo = pod.inside(|| listen("127.0.0.1:82"));
    talk(&lo, "127.0.0.1:82".parse().unwrap(), |connect| {
        pod.inside(connect)
    });

    // What list and status read.
    assert_eq!(net::read_info(&pod.dir).unwrap(), networks.networks);
    let json = std::fs::read_to_string(pod.dir.join(net::NET_INFO)).unwrap();
    assert!(
        json.contains(r#""ip":"172.16.28.2","mask":"255.255.255.0""#),
        "{json}"
    );
    net::check(
        &pod.dir,
        UUID,
        &world.paths,
        std::os::fd::AsFd::as_fd(&pod.netns),
    )
    .unwrap();

    let ((), time) = common::timed(|| world.tear_down(&pod));
    eprintln!("torn down in {time:?}");
    assert_eq!(world.leases(), Vec::<String>::new());
    world.tear_down(&pod);
    // The namespace is still there, so the interface is; the collector does not wait for it.
    world.collect(&pod);
    assert_eq!(world.leftovers(), "");
    world.collect(&pod);
}

#[test]
fn two_pods_reach_each_other_and_addresses_go_round() {
    let world = World::new();
    let (a, b) = (world.pod("aaaaaaaa"), world.pod("bbbbbbbb"));
    let networks_a = world.set_up(&a, "default", &[]).unwrap();
    let networks_b = world.set_up(&b, "default", &[]).unwrap();
    assert_eq!(b.ip(&networks_b, 0).to_string(), "172.16.28.3");
    let listener = b.inside(|| listen("172.16.28.3:80"));
    let seen = talk(&listener, "172.16.28.3:80".parse().unwrap(), |connect| {
        a.inside(connect)
    });
    assert_eq!(
        seen,
        a.ip(&networks_a, 0),
        "pods of a network see each other's addresses"
    );
    world.tear_down(&a);
    let c = world.pod("cccccccc");
    let networks_c = world.set_up(&c, "default", &[]).unwrap();
    assert_eq!(
        c.ip(&networks_c, 0).to_string(),
        "172.16.28.4",
        "not at once the one given back"
    );
    world.tear_down(&b);
    world.tear_down(&c);
    drop((a, b, c, listener));
    world.assert_clean();
}

#[test]
fn none_has_a_loopback_and_host_has_no_namespace() {
    let world = World::new();
    let pod = world.pod(UUID);
    let networks = world.set_up(&pod, "none", &[]).unwrap();
    assert!(networks.networks.is_empty());
    let lo = pod.inside(|| listen("127.0.0.1:80"));
    talk(&lo, "127.0.0.1:80".parse().unwrap(), |connect| {
        pod.inside(connect)
    });
    assert_eq!(pod.inside(|| ip("-o link")).lines().count(), 1);
    assert!(!world.plan(&pod, "host", &[]).unwrap().own_namespace());
    world.tear_down(&pod);
    drop((pod, lo));
    world.assert_clean();
}

#[test]
fn ports_lead_into_the_pod_from_everywhere() {
    let world = World::new();
    let pod = world.pod(UUID);
    let forward = |addr: Option<&str>, port: u16| Forward {
        from: HostPort {
            protocol: Protocol::Tcp,
            addr: addr.map(|a| a.parse().unwrap()),
            port,
        },
        pod_port: 80,
    };
    let ports = [forward(None, 8080), forward(Some("192.0.2.2"), 8081)];
    let networks = world
        .set_up(&pod, "default,default-restricted", &ports)
        .unwrap();
    // default masquerades, so the ports lead through it although it is not the last.
    let through = networks
        .networks
        .iter()
        .find(|info| !info.ports.is_empty())
        .unwrap();
    assert_eq!(through.net_name, "default");
    let listener = pod.inside(|| listen("0.0.0.0:80"));
    let to = |text: &str| text.parse().unwrap();
    let seen = talk(&listener, to("192.0.2.2:8080"), |connect| {
        world.in_far(connect)
    });
    assert_eq!(seen.to_string(), FAR, "the pod sees who it is");
    talk(&listener, to("192.0.2.2:8081"), |connect| {
        world.in_far(connect)
    });
    talk(&listener, to("192.0.2.2:8080"), |connect| connect());
    talk(&listener, to("127.0.0.1:8080"), |connect| connect());
    talk(&listener, to("192.0.2.2:8080"), |connect| {
        pod.inside(connect)
    });
    // Taken ports are refused before anything happens, and nothing stays.
    let other = world.pod("other");
    let error = world
        .set_up(&other, "default", &ports[..1])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("tcp 8080") && error.contains("in use"),
        "{error}"
    );
    assert_eq!(world.leases().len(), 2);
    drop(networks);
    // The same when only the firewall knows: the main process of the other pod was killed. (The
    // sockets may live on for a moment in a child that another test is starting.)
    let mut error = String::new();
    for _ in 0..100 {
        error = world
            .set_up(&other, "default", &ports[..1])
            .unwrap_err()
            .to_string();
        if !error.contains("in use") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(error.contains("another pod"), "{error}");
    assert_eq!(world.leases().len(), 2);
    world.tear_down(&pod);
    drop((pod, listener));
    world.assert_clean();
}
