//! Each field of the types and of address management that the other files have no use for.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::os::fd::AsFd;
use std::time::Duration;

use common::{Pod, World, ip, listen, run, talk, until};
use net::{Forward, HostPort, Limits, NetList, PodNetworks, Protocol, Request};
use serde_json::{Value, json};

/// Connects without patience: for what must not get through.
fn is_lost(from: &Pod, to: std::net::SocketAddr) -> bool {
    let limit = Duration::from_millis(400);
    from.inside(|| std::net::TcpStream::connect_timeout(&to, limit))
        .is_err()
}

#[test]
fn macvlan_in_each_of_its_modes() {
    for mode in ["bridge", "private", "vepa", "passthru"] {
        let world = World::new();
        world.conf(
            "10-m.conf",
            &format!(
                r#"{{"cniVersion":"1.0.0","name":"m","type":"macvlan","master":"up0","mode":"{mode}","mtu":1400,
                    "ipam":{{"type":"host-local","subnet":"192.0.2.0/24","rangeStart":"192.0.2.100"}}}}"#
            ),
        );
        let (a, b) = (world.pod("a"), world.pod("b"));
        let mac = "02:00:00:00:aa:01";
        let wish = format!("m:MAC={mac}");
        let networks = match mode {
            "passthru" => {
                let error = world.set_up(&a, &wish, &[]).unwrap_err().to_string();
                assert!(error.contains("passthru"), "{error}");
                world.set_up(&a, "m", &[]).unwrap()
            }
            _ => world.set_up(&a, &wish, &[]).unwrap(),
        };
        let link = a.inside(|| ip("-d link show eth0"));
        assert!(
            link.contains(&format!("macvlan mode {mode} ")) && link.contains("mtu 1400"),
            "{link}"
        );
        assert_eq!(link.contains(mac), mode != "passthru", "{link}");
        net::check(&a.dir, "a", &world.paths, a.netns.as_fd()).unwrap();
        let listener = a.inside(|| listen("0.0.0.0:80"));
        let to = (a.ip(&networks, 0), 80).into();
        // The cable's other end reaches it in every mode.
        talk(&listener, to, |connect| world.in_far(connect));
        if mode == "passthru" {
            // The master is one pod's alone.
            let error = world.set_up(&b, "m", &[]).unwrap_err().to_string();
            assert!(error.contains("eth0"), "{error}");
            assert_eq!(world.leases().len(), 1);
        } else {
            world.set_up(&b, "m", &[]).unwrap();
            // A VEPA needs a switch that sends back what came from it; this cable is none.
            match mode {
                "bridge" => drop(talk(&listener, to, |connect| b.inside(connect))),
                _ => assert!(is_lost(&b, to), "{mode}"),
            }
            world.tear_down(&b);
        }
        world.tear_down(&a);
        drop((a, b, networks, listener));
        world.assert_clean();
    }
}

#[test]
fn tuning_sets_and_checks_each_property() {
    let world = World::new();
    world.conf(
        "10-t.conflist",
        r#"{"cniVersion":"1.0.0","name":"t","plugins":[
            {"type":"ptp","ipam":{"type":"host-local","subnet":"10.31.0.0/24"}},
            {"type":"tuning","promisc":true,"allmulti":true,"txQLen":77,"mtu":1350,"mac":"02:00:00:00:00:31",
             "sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1","net/ipv4/ip_local_port_range":"40000 50000"}}]}"#,
    );
    let pod = world.pod("tuned");
    world.set_up(&pod, "t", &[]).unwrap();
    let link = pod.inside(|| ip("link show eth0"));
    for word in [
        "PROMISC",
        "ALLMULTI",
        "qlen 77",
        "mtu 1350",
        "02:00:00:00:00:31",
    ] {
        assert!(link.contains(word), "{word}: {link}");
    }
    let read = |path: &str| pod.inside(|| std::fs::read_to_string(path).unwrap());
    assert_eq!(read("/proc/sys/net/ipv4/conf/eth0/arp_filter").trim(), "1");
    assert_eq!(
        read("/proc/sys/net/ipv4/ip_local_port_range"),
        "40000\t50000\n"
    );
    let check = || net::check(&pod.dir, "tuned", &world.paths, pod.netns.as_fd());
    check().unwrap();
    for (change, back, word) in [
        ("mtu 1300", "mtu 1350", "MTU 1300"),
        ("promisc off", "promisc on", "promisc"),
        ("allmulticast off", "allmulticast on", "allmulti"),
        (
            "address 02:00:00:00:00:32",
            "address 02:00:00:00:00:31",
            "hardware address",
        ),
    ] {
        pod.inside(|| ip(&format!("link set eth0 {change}")));
        let error = check().unwrap_err().to_string();
        assert!(error.contains(word), "{change}: {error}");
        pod.inside(|| ip(&format!("link set eth0 {back}")));
        check().unwrap();
    }
    pod.inside(|| std::fs::write("/proc/sys/net/ipv4/conf/eth0/arp_filter", "0").unwrap());
    let error = check().unwrap_err().to_string();
    assert!(error.contains("arp_filter"), "{error}");
    world.tear_down(&pod);
    drop(pod);
    world.assert_clean();
}

#[test]
fn static_addresses_of_both_families_or_as_the_arguments_say() {
    let world = World::new();
    world.conf(
        "10-s.conf",
        r#"{"cniVersion":"1.0.0","name":"s","type":"bridge","bridge":"rkts","ipam":{"type":"static",
            "addresses":[{"address":"10.32.0.9/24","gateway":"10.32.0.1"},{"address":"fd32::9/64"}],
            "routes":[{"dst":"10.99.0.0/16"},{"dst":"fd99::/64","gw":"fd32::1"}],
            "dns":{"nameservers":["10.32.0.53"]}}}"#,
    );
    let (a, b) = (world.pod("a"), world.pod("b"));
    let networks = world.set_up(&a, "s", &[]).unwrap();
    let ips: Vec<String> = networks.networks[0]
        .ips()
        .map(|ip| ip.to_string())
        .collect();
    assert_eq!(ips, ["10.32.0.9", "fd32::9"]);
    let routes = a.inside(|| ip("route")) + &a.inside(|| ip("-6 route"));
    assert!(
        routes.contains("10.99.0.0/16 via 10.32.0.1") && routes.contains("fd99::/64 via fd32::1"),
        "{routes}"
    );
    let (network, dns) = networks.dns.clone().unwrap();
    assert!(dns.resolv_conf(&network).contains("nameserver 10.32.0.53"));
    world
        .set_up(
            &b,
            "s:IP=10.32.0.77/24;IP=fd32::77/64;GATEWAY=10.32.0.1",
            &[],
        )
        .unwrap();
    let listener = b.inside(|| listen("10.32.0.77:80"));
    let to = "10.32.0.77:80".parse().unwrap();
    let seen = talk(&listener, to, |connect| a.inside(connect));
    assert_eq!(seen.to_string(), "10.32.0.9");
    let c = world.pod("c");
    let error = world.set_up(&c, "s:IP=10.32.0.78", &[]).unwrap_err();
    assert!(error.to_string().contains("10.32.0.78"), "{error}");
    for pod in [&a, &b] {
        world.tear_down(pod);
        world.collect(pod);
    }
    drop((listener, networks));
    assert_eq!(world.leftovers(), "");
}

/// Two ranges in one set follow each other; each set gives one address.
#[test]
fn ranges_in_a_set_and_sets_of_ranges() {
    let world = World::new();
    world.conf(
        "10-r.conf",
        r#"{"cniVersion":"1.0.0","name":"r","type":"bridge","bridge":"rktr","isGateway":true,"ipam":{"type":"host-local",
            "ranges":[[{"subnet":"10.33.0.0/30"},{"subnet":"10.33.1.0/30","gateway":"10.33.1.1"}],
                      [{"subnet":"fd33::/64","rangeStart":"fd33::10","rangeEnd":"fd33::12"}]]}}"#,
    );
    let pods = ["a", "b", "c"].map(|name| world.pod(name));
    let ips = |networks: &PodNetworks| -> Vec<String> {
        let ips = networks.networks[0].ips();
        ips.map(|ip| ip.to_string()).collect()
    };
    let first = world
        .set_up(&pods[0], "r:IP=10.33.1.2;IP=fd33::11", &[])
        .unwrap();
    assert_eq!(ips(&first), ["10.33.1.2", "fd33::11"]);
    let second = world.set_up(&pods[1], "r", &[]).unwrap();
    // In turn: the one after that which was given last.
    assert_eq!(ips(&second), ["10.33.0.2", "fd33::12"]);
    let error = world.set_up(&pods[2], "r", &[]).unwrap_err().to_string();
    assert!(error.contains("no address is left"), "{error}");
    // The bridge is a gateway in each of the subnets.
    let addresses = ip("-o addr show dev rktr");
    for gateway in ["10.33.0.1/30", "10.33.1.1/30", "fd33::1/64"] {
        assert!(addresses.contains(gateway), "{gateway}: {addresses}");
    }
    assert_eq!(world.leases().len(), 4);
    world.tear_down(&pods[0]);
    let third = world.set_up(&pods[2], "r", &[]).unwrap();
    assert_eq!(ips(&third), ["10.33.1.2", "fd33::10"]);
    for (wish, word) in [("fd33::99", "not in"), ("nonsense", "nonsense")] {
        let error = world
            .set_up(&pods[0], &format!("r:IP={wish}"), &[])
            .unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    world.tear_down(&pods[1]);
    world.tear_down(&pods[2]);
    pods.iter().for_each(|pod| world.collect(pod));
    assert_eq!(world.leftovers(), "");
}

/// A plugin that notes what it is told, and hands the result before it on.
const NOTES: &str = r#"input=$(cat)
printf '%s' "$input" > "${0%/*}/noted-$CNI_COMMAND"
env | grep ^CNI_ > "${0%/*}/noted-environment-$CNI_COMMAND"
[ $CNI_COMMAND = ADD ] || exit 0
printf '%s' "$input" | perl -0777 -ne 'print $1 if /"prevResult":(\{(?:[^{}]++|(?1))*\})/'"#;

fn noted(world: &World, command: &str) -> Value {
    let path = world.dir.join("etc/net.d").join(format!("noted-{command}"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn set_up_limited(
    world: &World,
    pod: &Pod,
    nets: &str,
    ports: &[Forward],
    limits: Limits,
) -> PodNetworks {
    let local_config = world.dir.join("etc");
    let plan = net::plan(&Request {
        pod: &pod.uuid,
        nets: &NetList::parse(nets).unwrap(),
        local_config: &local_config,
        ports,
        bandwidth: Some(limits),
        paths: &world.paths,
    });
    net::set_up(&plan.unwrap(), &pod.dir, pod.netns.as_fd()).unwrap()
}

const LIMITS: Limits = Limits {
    ingress_rate: 8_000_000,
    ingress_burst: 0,
    egress_rate: 16_000_000,
    egress_burst: 0,
};

#[test]
fn outside_plugins_are_told_what_they_can_do_something_with() {
    let world = World::new();
    world.script("notes", NOTES);
    let ptp =
        r#"{"type":"ptp","ipMasq":true,"ipam":{"type":"host-local","subnet":"10.34.0.0/24"}}"#;
    let conf = |capabilities: &str| {
        world.conf(
            "10-n.conflist",
            &format!(
                r#"{{"cniVersion":"1.0.0","name":"n","plugins":[{ptp},{{"type":"notes","own":[1]{capabilities}}}]}}"#
            ),
        );
    };
    let port = Forward {
        from: HostPort {
            protocol: Protocol::Udp,
            addr: Some("192.0.2.2".parse().unwrap()),
            port: 5353,
        },
        pod_port: 53,
    };
    let nets = "n:IP=10.34.0.9;MAC=02:00:00:00:34:09;OTHER=thing";
    conf(r#","capabilities":{"portMappings":true,"bandwidth":true,"ips":true,"mac":true}"#);
    let pod = world.pod("told");
    let networks = set_up_limited(&world, &pod, nets, &[port], LIMITS);
    let told = noted(&world, "ADD");
    assert_eq!(
        told["runtimeConfig"],
        json!({
            "portMappings": [{ "hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "192.0.2.2" }],
            "bandwidth": { "ingressRate": 8_000_000, "ingressBurst": 0, "egressRate": 16_000_000, "egressBurst": 0 },
            "ips": ["10.34.0.9"],
            "mac": "02:00:00:00:34:09",
        }),
        "{told}"
    );
    assert_eq!(
        (&told["name"], &told["cniVersion"], &told["own"]),
        (&json!("n"), &json!("1.0.0"), &json!([1]))
    );
    assert_eq!(told["prevResult"]["ips"][0]["address"], "10.34.0.9/24");
    assert!(told.get("capabilities").is_none(), "{told}");
    let environment = world.dir.join("etc/net.d/noted-environment-ADD");
    let environment = std::fs::read_to_string(environment).unwrap();
    for line in [
        "CNI_COMMAND=ADD",
        "CNI_CONTAINERID=told",
        "CNI_IFNAME=eth0",
        "CNI_ARGS=IP=10.34.0.9;MAC=02:00:00:00:34:09;OTHER=thing",
    ] {
        assert!(environment.lines().any(|l| l == line), "{environment}");
    }
    // It takes care of the limits, so rkt does not.
    assert!(!run("tc", "qdisc").contains("tbf"));
    world.tear_down(&pod);
    assert_eq!(
        noted(&world, "DEL")["prevResult"]["ips"][0]["address"],
        "10.34.0.9/24"
    );
    drop((pod, networks));
    // One that can do nothing is told nothing, and rkt limits the pod itself.
    conf("");
    let pod = world.pod("untold");
    let networks = set_up_limited(&world, &pod, nets, &[port], LIMITS);
    assert!(noted(&world, "ADD").get("runtimeConfig").is_none());
    assert!(run("tc", "qdisc").contains("tbf"));
    world.tear_down(&pod);
    drop((pod, networks));
    world.assert_clean();
}

#[test]
fn the_lower_of_the_networks_and_the_pods_limit_holds() {
    let world = World::new();
    world.conf(
        "10-l.conflist",
        r#"{"cniVersion":"1.0.0","name":"l","plugins":[
            {"type":"ptp","ipam":{"type":"host-local","subnet":"10.35.0.0/24"}},
            {"type":"bandwidth","ingressRate":4000000,"ingressBurst":400000,"egressRate":64000000,"egressBurst":400000}]}"#,
    );
    let pod = world.pod("limited");
    let networks = set_up_limited(&world, &pod, "l", &[], LIMITS);
    let rates = run("tc", "qdisc");
    assert!(
        rates.contains("rate 4Mbit") && rates.contains("rate 16Mbit"),
        "{rates}"
    );
    world.tear_down(&pod);
    drop((pod, networks));
    world.assert_clean();
}

/// Of several versions the newest that the plugin speaks is taken, and kept for the way down.
#[test]
fn the_version_is_agreed_on_with_the_plugins() {
    let world = World::new();
    let speaks = |versions: &str| {
        let answer = format!(r#"{{"cniVersion":"1.1.0","supportedVersions":{versions}}}"#);
        let script =
            format!("[ $CNI_COMMAND = VERSION ] && {{ echo '{answer}'; exit 0; }}\n{NOTES}");
        world.script("notes", &script);
    };
    let ptp = r#"{"type":"ptp","ipam":{"type":"host-local","subnet":"10.36.0.0/24"}}"#;
    world.conf(
        "10-v.conflist",
        &format!(
            r#"{{"cniVersion":"0.3.1","cniVersions":["0.4.0","1.0.0","1.1.0","9.0.0"],"name":"v","plugins":[{ptp},{{"type":"notes"}}]}}"#
        ),
    );
    for (spoken, wanted) in [
        (r#"["0.1.0","0.4.0"]"#, "0.4.0"),
        (r#"["0.3.0","0.3.1"]"#, "0.3.1"),
        (r#"["1.0.0","1.1.0","9.0.0"]"#, "1.1.0"),
    ] {
        speaks(spoken);
        let pod = world.pod(&format!("speaks-{wanted}"));
        world.set_up(&pod, "v", &[]).unwrap();
        assert_eq!(noted(&world, "ADD")["cniVersion"], wanted, "{spoken}");
        // By then it speaks others; what was begun is ended in the same.
        speaks(r#"["0.2.0"]"#);
        world.tear_down(&pod);
        assert_eq!(noted(&world, "DEL")["cniVersion"], wanted, "{spoken}");
        world.collect(&pod);
    }
    for (versions, word) in [(r#"["0.2.0"]"#, "speaks CNI 0.2.0"), ("7", "does not tell")] {
        speaks(versions);
        let pod = world.pod("unheard");
        let error = world.plan(&pod, "v", &[]).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("notes"), "{error}");
    }
    // Debian's, which end at 1.0.0.
    world.conf(
        "10-v.conflist",
        &format!(
            r#"{{"cniVersion":"1.0.0","cniVersions":["1.1.0"],"name":"v","plugins":[
                {{"type":"their","ipam":{{"type":"host-local","subnet":"10.36.0.0/24","dataDir":{:?}}}}}]}}"#,
            world.paths.leases
        ),
    );
    let link = world.dir.join("etc/net.d/their");
    std::os::unix::fs::symlink("/usr/lib/cni/ptp", link).unwrap();
    let pod = world.pod("their");
    world.set_up(&pod, "v", &[]).unwrap();
    world.tear_down(&pod);
    let text = std::fs::read_to_string(world.dir.join("etc/net.d/10-v.conflist")).unwrap();
    let newest = text.replace(r#""1.0.0","cniVersions":["1.1.0"]"#, r#""1.1.0""#);
    world.conf("10-v.conflist", &newest);
    let other = world.pod("other");
    let error = world.set_up(&other, "v", &[]).unwrap_err().to_string();
    assert!(
        error.contains("their") && error.contains("1.1.0"),
        "{error}"
    );
    drop((pod, other));
    until("their interfaces to go", || {
        !ip("-o link").contains(": veth")
    });
}
