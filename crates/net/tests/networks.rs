//! Configured networks: bridge, dual stack, macvlan, chains, Debian's plugins, faults.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::os::fd::AsFd;

use common::{FAR, FAR6, World, ip, listen, run, talk};
use net::{Forward, HostPort, Protocol};

const BRIDGE: &str = r#"{
    "cniVersion": "1.0.0", "name": "br", "type": "bridge", "bridge": "rkt7",
    "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
    "ipam": { "type": "host-local", "ranges": [
        [{ "subnet": "10.7.0.0/24" }], [{ "subnet": "fd07::/64" }]
    ] }
}"#;

#[test]
fn a_dual_stack_bridge() {
    let world = World::new();
    world.conf("10-br.conf", BRIDGE);
    let (a, b) = (world.pod("a"), world.pod("b"));
    world.set_up(&a, "br", &[]).unwrap();
    let port = |addr: Option<&str>| Forward {
        from: HostPort {
            protocol: Protocol::Tcp,
            addr: addr.map(|a| a.parse().unwrap()),
            port: 8080,
        },
        pod_port: 80,
    };
    let networks = world.set_up(&b, "br", &[port(None)]).unwrap();
    let ips: Vec<String> = networks.networks[0]
        .ips()
        .map(|ip| ip.to_string())
        .collect();
    assert_eq!(ips, ["10.7.0.3", "fd07::3"]);
    for (far, addr) in [(FAR, "0.0.0.0:80"), (FAR6, "[::]:80")] {
        let listener = world.in_far(|| listen(addr));
        let far: std::net::IpAddr = far.parse().unwrap();
        let seen = talk(&listener, (far, 80).into(), |connect| a.inside(connect));
        assert!(
            ["192.0.2.2", "2001:db8:f::2"].contains(&seen.to_string().as_str()),
            "{seen}"
        );
    }
    let listener = b.inside(|| listen("[::]:80"));
    let to = |text: &str| text.parse().unwrap();
    talk(&listener, to("10.7.0.3:80"), |connect| a.inside(connect));
    talk(&listener, to("[fd07::3]:80"), |connect| a.inside(connect));
    talk(&listener, to("[fd07::3]:80"), |connect| connect());
    // The forwarded port: from afar, from the host, from a neighbour on the bridge, from oneself.
    talk(&listener, to("192.0.2.2:8080"), |connect| {
        world.in_far(connect)
    });
    talk(&listener, to("[2001:db8:f::2]:8080"), |connect| {
        world.in_far(connect)
    });
    talk(&listener, to("127.0.0.1:8080"), |connect| connect());
    talk(&listener, to("192.0.2.2:8080"), |connect| a.inside(connect));
    talk(&listener, to("192.0.2.2:8080"), |connect| b.inside(connect));
    let parameter = "/proc/sys/net/ipv4/conf/rkt7/route_localnet";
    assert_eq!(std::fs::read_to_string(parameter).unwrap().trim(), "1");
    net::check(&b.dir, "b", &world.paths, b.netns.as_fd()).unwrap();
    b.inside(|| ip("addr del 10.7.0.3/24 dev eth0"));
    let error = net::check(&b.dir, "b", &world.paths, b.netns.as_fd())
        .unwrap_err()
        .to_string();
    assert!(error.contains("10.7.0.3"), "{error}");
    world.tear_down(&b);
    assert_eq!(std::fs::read_to_string(parameter).unwrap().trim(), "0");
    world.tear_down(&a);
    drop((listener, networks));
    world.collect(&a);
    world.collect(&b);
    assert_eq!(world.leftovers(), "", "the bridge goes with its last pod");
}

#[test]
fn fifty_at_once_never_collide() {
    let world = World::new();
    world.conf("10-br.conf", BRIDGE);
    let pods: Vec<_> = (0..50).map(|n| world.pod(&format!("pod-{n}"))).collect();
    let mut all: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = pods
            .iter()
            .map(|pod| {
                let world = &world;
                scope.spawn(move || {
                    sandbox::clone::enter(world.host.as_fd(), sandbox::clone::Namespaces::NET)
                        .unwrap();
                    let networks = world.set_up(pod, "br,default", &[]).unwrap();
                    let ips = networks
                        .networks
                        .iter()
                        .flat_map(|n| n.ips().collect::<Vec<_>>());
                    ips.map(|ip| ip.to_string()).collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!((count, all.len()), (150, 150));
    std::thread::scope(|scope| {
        for pod in &pods {
            let world = &world;
            scope.spawn(move || {
                sandbox::clone::enter(world.host.as_fd(), sandbox::clone::Namespaces::NET).unwrap();
                world.tear_down(pod);
            });
        }
    });
    assert_eq!(world.leases(), Vec::<String>::new());
    assert_eq!(run("nft", "list ruleset"), "");
    pods.iter().for_each(|pod| world.collect(pod));
    assert_eq!(world.leftovers(), "");
}

#[test]
fn a_full_subnet_says_so_and_leaves_nothing() {
    let world = World::new();
    world.conf(
        "10-tiny.conf",
        r#"{"name":"tiny","type":"ptp","ipMasq":true,"ipam":{"type":"host-local","subnet":"10.9.0.0/30"}}"#,
    );
    let (a, b) = (world.pod("a"), world.pod("b"));
    world.set_up(&a, "tiny", &[]).unwrap();
    let error = world
        .set_up(&b, "default,tiny", &[])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("tiny") && error.contains("no address is left in 10.9.0.0/30"),
        "{error}"
    );
    assert_eq!(world.leases(), ["10.9.0.2"]);
    assert!(!b.dir.join("net").exists() && !b.dir.join(net::NET_INFO).exists());
    assert_eq!(ip("-o link").matches(": veth").count(), 1);
    // Arguments: a wished address, one in use, one outside.
    world.tear_down(&a);
    world.collect(&a);
    let c = world.pod("c");
    world.set_up(&c, "tiny:IP=10.9.0.2", &[]).unwrap();
    for (wish, word) in [
        ("10.9.0.2", "in use"),
        ("10.9.0.1", "gateway"),
        ("10.8.0.1", "not in"),
    ] {
        let error = world
            .set_up(&b, &format!("tiny:IP={wish}"), &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains(word), "{error}");
    }
    world.tear_down(&c);
    for pod in [&a, &b, &c] {
        world.collect(pod);
    }
    assert_eq!(world.leftovers(), "");
}

#[test]
fn a_chain_with_tuning_portmap_and_bandwidth() {
    let world = World::new();
    world.conf(
        "10-chain.conflist",
        r#"{"cniVersion":"1.0.0","name":"chain","plugins":[
            {"type":"bridge","bridge":"rkt8","isGateway":true,"ipam":{"type":"host-local","subnet":"10.8.0.0/24",
              "routes":[{"dst":"0.0.0.0/0"}]}},
            {"type":"tuning","sysctl":{"net.core.somaxconn":"500"},"mac":"02:00:00:00:08:01","mtu":1400},
            {"type":"portmap","capabilities":{"portMappings":true}},
            {"type":"bandwidth","ingressRate":80000000,"ingressBurst":800000,"egressRate":80000000,"egressBurst":800000}
        ]}"#,
    );
    let pod = world.pod("chained");
    let port = Forward {
        from: HostPort {
            protocol: Protocol::Tcp,
            addr: None,
            port: 8080,
        },
        pod_port: 80,
    };
    let networks = world.set_up(&pod, "chain", &[port]).unwrap();
    let link = pod.inside(|| ip("link show eth0"));
    assert!(
        link.contains("mtu 1400") && link.contains("02:00:00:00:08:01"),
        "{link}"
    );
    let somaxconn = || std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    assert_eq!(pod.inside(somaxconn).trim(), "500");
    let listener = pod.inside(|| listen("0.0.0.0:80"));
    talk(&listener, "192.0.2.2:8080".parse().unwrap(), |connect| {
        world.in_far(connect)
    });
    // 80 Mbit/s in both directions: 5 MB take half a second.
    for pod_sends in [false, true] {
        let mut host = std::net::TcpStream::connect("10.8.0.2:80").unwrap();
        let (mut inner, _) = listener.accept().unwrap();
        let (from, to) = if pod_sends {
            (&mut inner, &mut host)
        } else {
            (&mut host, &mut inner)
        };
        let (_, time) = common::timed(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::io::Write::write_all(from, &vec![0; 5_000_000]).unwrap();
                    from.shutdown(std::net::Shutdown::Write).unwrap();
                });
                std::io::copy(to, &mut std::io::sink()).unwrap()
            })
        });
        println!("FIGURE 5 MB at 80 Mbit/s, pod sends: {pod_sends}: {time:?}");
        assert!((0.40..0.75).contains(&time.as_secs_f64()), "{time:?}");
    }
    world.tear_down(&pod);
    drop((networks, listener));
    world.collect(&pod);
    assert_eq!(world.leftovers(), "");
}

#[test]
fn a_bridge_with_another_address_is_left_alone_unless_forced() {
    let world = World::new();
    ip("link add rkt3 type bridge");
    ip("addr add 10.33.0.9/24 dev rkt3");
    let conf = |force: bool| {
        format!(
            r#"{{"cniVersion":"1.0.0","name":"three","type":"bridge","bridge":"rkt3","isGateway":true,
                "forceAddress":{force},"ipam":{{"type":"host-local","subnet":"10.33.0.0/24"}}}}"#
        )
    };
    let addresses = || {
        let mut all = ip("-o -4 addr show dev rkt3");
        all.retain(|c| c != '\n');
        (all.contains("10.33.0.9/24"), all.contains("10.33.0.1/24"))
    };
    world.conf("10-three.conf", &conf(false));
    let pod = world.pod("p");
    let error = world.set_up(&pod, "three", &[]).unwrap_err().to_string();
    assert!(error.contains("10.33.0.9/24"), "{error}");
    assert_eq!(addresses(), (true, false));
    assert_eq!(world.leases(), Vec::<String>::new());
    world.conf("10-three.conf", &conf(true));
    let pod = world.pod("q");
    world.set_up(&pod, "three", &[]).unwrap();
    assert_eq!(addresses(), (false, true));
    world.tear_down(&pod);
    world.collect(&pod);
    assert!(ip("-o link").contains("rkt3"), "not ours to remove");
}

#[test]
fn macvlan_on_the_uplink() {
    let world = World::new();
    world.conf(
        "10-mac.conf",
        r#"{"name":"mac","type":"macvlan","master":"up0","ipam":{"type":"host-local",
            "subnet":"192.0.2.0/24","rangeStart":"192.0.2.100","gateway":"192.0.2.1"}}"#,
    );
    let pod = world.pod("m");
    let networks = world.set_up(&pod, "mac", &[]).unwrap();
    assert_eq!(
        networks.networks[0].ip().unwrap().to_string(),
        "192.0.2.100"
    );
    let far = world.in_far(|| listen("192.0.2.1:80"));
    let seen = talk(&far, format!("{FAR}:80").parse().unwrap(), |connect| {
        pod.inside(connect)
    });
    assert_eq!(seen.to_string(), "192.0.2.100");
    world.tear_down(&pod);
    drop(pod.netns);
    world.assert_clean();
}

#[test]
fn bad_plugins_are_told_apart() {
    let mut world = World::new();
    world.paths.plugins = vec![world.dir.join("etc/net.d")];
    world.script("rubbish", "echo rubbish");
    world.script(
        "zero",
        r#"echo '{"code":7,"msg":"no way","details":"at all"}'"#,
    );
    world.script("fails", r#"echo '{"code":11,"msg":"try later"}'; exit 1"#);
    world.script("silent", "exit 3");
    let pod = world.pod("p");
    for (kind, word) in [
        ("missing", "no such plugin"),
        ("rubbish", "not JSON"),
        ("zero", "no way; at all"),
        ("fails", "try later"),
        ("silent", "exit status: 3"),
    ] {
        world.conf("10-x.conf", &format!(r#"{{"name":"x","type":"{kind}"}}"#));
        let error = world
            .set_up(&pod, "x,default", &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains(word) && error.contains(kind), "{error}");
        assert_eq!(world.leases(), Vec::<String>::new());
    }
    drop(pod);
    world.assert_clean();
}
