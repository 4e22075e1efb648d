//! Forwarded ports of every kind.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use common::{Pod, World, ip, listen, run, talk};
use net::{Forward, HostPort, Protocol};

const DUAL: &str = r#"{
    "cniVersion": "1.0.0", "name": "dual", "type": "ptp", "ipMasq": true,
    "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.7.0.0/24" }], [{ "subnet": "fd07::/64" }]],
              "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }] }
}"#;

fn port(protocol: Protocol, addr: Option<&str>, port: u16, pod_port: u16) -> Forward {
    Forward {
        from: HostPort {
            protocol,
            addr: addr.map(|a| a.parse().unwrap()),
            port,
        },
        pod_port,
    }
}

/// Sends a word from where `from` makes the socket, has it answered in the pod, and returns the
/// address that the pod saw.
fn ask(
    server: &UdpSocket,
    to: &str,
    from: impl FnOnce(&dyn Fn() -> UdpSocket) -> UdpSocket,
) -> IpAddr {
    let to: SocketAddr = to.parse().unwrap();
    let bind = || UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    let client = from(&bind);
    let limit = Some(Duration::from_secs(5));
    client.set_read_timeout(limit).unwrap();
    server.set_read_timeout(limit).unwrap();
    // Connected: an answer from another address would not be taken.
    client.connect(to).unwrap();
    client.send(b"word").unwrap();
    let mut word = [0; 8];
    let (length, peer) = server
        .recv_from(&mut word)
        .unwrap_or_else(|e| panic!("to {to}: {e}"));
    server.send_to(&word[..length], peer).unwrap();
    let length = client
        .recv(&mut word)
        .unwrap_or_else(|e| panic!("back from {to}: {e}"));
    assert_eq!(&word[..length], b"word");
    peer.ip()
}

#[test]
fn udp_over_both_families_from_everywhere() {
    let world = World::new();
    world.conf("10-dual.conf", DUAL);
    let pod = world.pod("udp");
    let networks = world
        .set_up(&pod, "dual", &[port(Protocol::Udp, None, 5353, 53)])
        .unwrap();
    let v4 = pod.inside(|| UdpSocket::bind("10.7.0.2:53").unwrap());
    let v6 = pod.inside(|| UdpSocket::bind("[fd07::2]:53").unwrap());
    assert_eq!(
        ask(&v4, "192.0.2.2:5353", |bind| world.in_far(bind)).to_string(),
        "192.0.2.1"
    );
    assert_eq!(
        ask(&v6, "[2001:db8:f::2]:5353", |bind| world.in_far(bind)).to_string(),
        "2001:db8:f::1"
    );
    ask(&v4, "127.0.0.1:5353", |bind| bind());
    ask(&v4, "192.0.2.2:5353", |bind| bind());
    ask(&v6, "[2001:db8:f::2]:5353", |bind| bind());
    ask(&v4, "192.0.2.2:5353", |bind| pod.inside(bind));
    ask(&v6, "[2001:db8:f::2]:5353", |bind| pod.inside(bind));
    // TCP of that number is nobody's.
    assert!(TcpListener::bind("0.0.0.0:5353").is_ok());
    assert!(
        UdpSocket::bind("0.0.0.0:5353").is_err(),
        "held while the pod runs"
    );
    end(&world, pod, (networks, v4, v6));
}

fn end<T>(world: &World, pod: Pod, held: T) {
    world.tear_down(&pod);
    drop(held);
    world.collect(&pod);
    drop(pod);
    world.assert_clean();
}

#[test]
fn tcp_on_one_address_and_in_a_range() {
    let world = World::new();
    world.conf("10-dual.conf", DUAL);
    let pod = world.pod("tcp");
    let mut ports = vec![
        port(Protocol::Tcp, Some("2001:db8:f::2"), 8080, 80),
        port(Protocol::Tcp, Some("192.0.2.2"), 8081, 80),
    ];
    ports.extend((0..200).map(|n| port(Protocol::Tcp, None, 9000 + n, 90)));
    let networks = world.set_up(&pod, "dual", &ports).unwrap();
    let listener = pod.inside(|| listen("[::]:80"));
    let to = |text: &str| text.parse().unwrap();
    talk(&listener, to("[2001:db8:f::2]:8080"), |c| world.in_far(c));
    talk(&listener, to("[2001:db8:f::2]:8080"), |c| pod.inside(c));
    talk(&listener, to("192.0.2.2:8081"), |c| world.in_far(c));
    // The other address does not lead there.
    let refused = std::net::TcpStream::connect("127.0.0.1:8081").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let ninety = pod.inside(|| listen("[::]:90"));
    for number in [9000, 9100, 9199] {
        talk(&ninety, to(&format!("192.0.2.2:{number}")), |c| {
            world.in_far(c)
        });
        talk(&ninety, to(&format!("[2001:db8:f::2]:{number}")), |c| {
            world.in_far(c)
        });
    }
    // What another pod wants must be free.
    let other = world.pod("other");
    for wanted in [
        port(Protocol::Tcp, None, 9100, 1),
        port(Protocol::Tcp, Some("192.0.2.2"), 9100, 1),
        port(Protocol::Tcp, None, 8081, 1),
    ] {
        let error = world
            .set_up(&other, "dual", &[wanted])
            .unwrap_err()
            .to_string();
        assert!(error.contains("in use"), "{error}");
    }
    assert!(!other.dir.join("net").exists());
    end(&world, pod, (networks, listener, ninety));
}

#[test]
fn a_port_in_use_is_refused_before_anything_is_made() {
    let world = World::new();
    let pod = world.pod("late");
    let tcp = listen("0.0.0.0:8080");
    let tcp6 = listen("[2001:db8:f::2]:8082");
    let udp = UdpSocket::bind("127.0.0.1:8081").unwrap();
    for (wanted, word) in [
        (port(Protocol::Tcp, None, 8080, 80), "tcp 8080"),
        (port(Protocol::Tcp, None, 8082, 80), "tcp 8082"),
        (port(Protocol::Udp, None, 8081, 80), "udp 8081"),
        (
            port(Protocol::Udp, Some("127.0.0.1"), 8081, 80),
            "udp 127.0.0.1:8081",
        ),
        (
            port(Protocol::Tcp, Some("198.51.100.1"), 8083, 80),
            "not an address of this host",
        ),
    ] {
        let error = world
            .set_up(&pod, "default", &[wanted])
            .unwrap_err()
            .to_string();
        assert!(error.contains(word), "{error}");
        assert!(!pod.dir.join("net").exists() && world.leases().is_empty());
        assert_eq!(world.leftovers(), "");
    }
    // The same port twice in one pod.
    let twice = [
        port(Protocol::Tcp, None, 8090, 80),
        port(Protocol::Tcp, None, 8090, 81),
    ];
    let error = world
        .set_up(&pod, "default", &twice)
        .unwrap_err()
        .to_string();
    assert!(error.contains("tcp 8090"), "{error}");
    drop((tcp, tcp6, udp));
    world
        .set_up(&pod, "default", &[port(Protocol::Tcp, None, 8080, 80)])
        .unwrap();
    end(&world, pod, ());
}

/// This kernel has no SCTP sockets; its packets go through the rules all the same. A hand-made
/// INIT is sent, and looked for in the pod with its port rewritten.
#[test]
fn sctp_packets_are_forwarded() {
    use rustix::net::{
        AddressFamily, Protocol as Raw, RecvFlags, SendFlags, SocketType, recv, sendto, socket,
    };
    const SCTP: u32 = 132;
    let world = World::new();
    let pod = world.pod("sctp");
    let networks = world
        .set_up(&pod, "default", &[port(Protocol::Sctp, None, 3868, 38)])
        .unwrap();
    let raw = || {
        let protocol = Raw::from_raw(SCTP.try_into().unwrap());
        socket(AddressFamily::INET, SocketType::RAW, Some(protocol)).unwrap()
    };
    let inside = pod.inside(raw);
    rustix::net::sockopt::set_socket_timeout(
        &inside,
        rustix::net::sockopt::Timeout::Recv,
        Some(Duration::from_secs(5)),
    )
    .unwrap();
    let mut packet = Vec::new();
    packet.extend(5000_u16.to_be_bytes());
    packet.extend(3868_u16.to_be_bytes());
    packet.extend([0; 8]);
    // INIT: tag, window, streams out and in, first number.
    packet.extend([1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    let sum = crc32c(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    let outside = world.in_far(raw);
    let to: SocketAddr = "192.0.2.2:0".parse().unwrap();
    sendto(&outside, &packet, SendFlags::empty(), &to).unwrap();
    let mut buffer = [0; 128];
    match recv(&inside, &mut buffer[..], RecvFlags::empty()) {
        Ok((_, length)) => {
            let received = &buffer[20..length];
            assert_eq!(received[2..4], 38_u16.to_be_bytes(), "{received:?}");
        }
        // The rule is there and the address does its work; without the kernel's SCTP tracking the
        // port is beyond it.
        Err(error) => {
            let rules = run("nft", "list ruleset");
            panic!("{error}: {rules}");
        }
    }
    end(&world, pod, (networks, inside));
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !sum
}

#[test]
fn the_network_for_ports_is_the_first_that_masquerades_else_the_last() {
    let world = World::new();
    for (file, name, subnet, masquerade) in [
        ("10-a.conf", "a", "10.71.0.0/24", false),
        ("20-b.conf", "b", "10.72.0.0/24", true),
        ("30-c.conf", "c", "10.73.0.0/24", true),
        ("40-d.conf", "d", "10.74.0.0/24", false),
    ] {
        world.conf(
            file,
            &format!(
                r#"{{"name":"{name}","type":"ptp","ipMasq":{masquerade},"ipam":{{"type":"host-local","subnet":"{subnet}"}}}}"#
            ),
        );
    }
    for (nets, wanted) in [("a,b,c,d", "b"), ("a,d", "d"), ("d,c", "c"), ("all", "b")] {
        let pod = world.pod("chosen");
        let networks = world
            .set_up(&pod, nets, &[port(Protocol::Tcp, None, 8080, 80)])
            .unwrap();
        let with_ports = networks.networks.iter().filter(|n| !n.ports.is_empty());
        let names: Vec<&str> = with_ports.map(|n| n.net_name.as_str()).collect();
        assert_eq!(names, [wanted], "{nets}");
        let listener = pod.inside(|| listen("0.0.0.0:80"));
        talk(&listener, "127.0.0.1:8080".parse().unwrap(), |c| c());
        let interfaces: Vec<&str> = networks
            .networks
            .iter()
            .map(|n| n.if_name.as_str())
            .collect();
        assert_eq!(interfaces[0], "eth0");
        if nets == "all" {
            // The built-in ones come last, by their files' names.
            let names: Vec<&str> = networks
                .networks
                .iter()
                .map(|n| n.net_name.as_str())
                .collect();
            assert_eq!(names, ["a", "b", "c", "d", "default-restricted", "default"]);
            assert_eq!(interfaces.last(), Some(&"eth5"));
            let routes = pod.inside(|| ip("route"));
            assert!(
                routes.contains("default via 172.16.28.1 dev eth5"),
                "{routes}"
            );
        }
        end(&world, pod, (networks, listener));
        std::fs::remove_dir_all(world.dir.join("pods/chosen")).unwrap();
    }
}

#[test]
fn default_restricted_reaches_the_host_and_nothing_else() {
    let world = World::new();
    let pod = world.pod("restricted");
    let networks = world.set_up(&pod, "default-restricted", &[]).unwrap();
    assert!(pod.ip(&networks, 0).to_string().starts_with("172.31."));
    let host = listen("0.0.0.0:8080");
    talk(&host, "172.31.0.1:8080".parse().unwrap(), |c| pod.inside(c));
    let routes = pod.inside(|| ip("route"));
    assert!(!routes.contains("default"), "{routes}");
    let away = pod
        .inside(|| std::net::TcpStream::connect("192.0.2.1:80"))
        .unwrap_err();
    assert_eq!(away.kind(), std::io::ErrorKind::NetworkUnreachable);
    assert_eq!(run("nft", "list ruleset"), "");
    end(&world, pod, networks);
}
