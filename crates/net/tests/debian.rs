//! Debian's `containernetworking-plugins` under rkt: each one alone or in a chain.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::process::{Command, Stdio};

use common::{DhcpServer, World, ip, listen, run, talk, until};
use net::{Forward, HostPort, Protocol};

/// A world in which `their-NAME` is Debian's plugin NAME, and not the built-in type.
fn world() -> World {
    let mut world = World::new();
    let plugins = world.dir.join("their");
    std::fs::create_dir(&plugins).unwrap();
    let theirs = std::fs::read_dir("/usr/lib/cni")
        .expect("containernetworking-plugins: `cargo xtask setup test` installs it");
    for plugin in theirs.flatten() {
        let name = format!("their-{}", plugin.file_name().to_str().unwrap());
        std::os::unix::fs::symlink(plugin.path(), plugins.join(name)).unwrap();
    }
    world.paths.plugins.insert(0, plugins);
    world
}

fn ipam(world: &World) -> String {
    format!(
        r#""ipam":{{"type":"their-host-local","subnet":"10.6.0.0/24","dataDir":{:?},"routes":[{{"dst":"0.0.0.0/0"}}]}}"#,
        world.paths.leases
    )
}

fn port() -> Forward {
    Forward {
        from: HostPort {
            protocol: Protocol::Tcp,
            addr: None,
            port: 8080,
        },
        pod_port: 80,
    }
}

/// Sets a pod up in the network, has `look` look at it, takes it down and sees everything gone.
fn try_out(
    world: &World,
    conf: &str,
    ports: &[Forward],
    look: impl FnOnce(&common::Pod, &net::PodNetworks),
) {
    let name = if conf.contains("\"plugins\"") {
        "10-x.conflist"
    } else {
        "10-x.conf"
    };
    world.conf(name, conf);
    let pod = world.pod("tried");
    let networks = world
        .set_up(&pod, "x", ports)
        .unwrap_or_else(|e| panic!("{conf}: {e}"));
    look(&pod, &networks);
    // Their sbr moves the routes away that their ptp looks for; their portmap looks for rules of
    // IPv6 where there is none.
    if !conf.contains("sbr") && !conf.contains("their-portmap") {
        let netns = std::os::fd::AsFd::as_fd(&pod.netns);
        net::check(&pod.dir, "tried", &world.paths, netns)
            .unwrap_or_else(|e| panic!("{conf}: {e}"));
    }
    world.tear_down(&pod);
    drop(networks);
    assert_eq!(world.leases(), Vec::<String>::new(), "{conf}");
    world.collect(&pod);
    std::fs::remove_dir_all(&pod.dir).unwrap();
    std::fs::remove_file(world.dir.join("etc/net.d").join(name)).unwrap();
    drop(pod);
    // Their interfaces go with the namespace, in the kernel's own time.
    until("their interfaces to go", || {
        !ip("-o link").contains(": veth")
    });
}

fn reaches(pod: &common::Pod, networks: &net::PodNetworks) {
    let addr = pod.ip(networks, 0);
    let listener = pod.inside(|| listen(&format!("{addr}:80")));
    talk(&listener, (addr, 80).into(), |connect| connect());
}

#[test]
fn types_that_make_an_interface() {
    let world = world();
    let ipam = ipam(&world);
    let versions = ["0.2.0", "0.3.1", "0.4.0", "1.0.0"];
    for version in versions {
        let conf = format!(
            r#"{{"cniVersion":"{version}","name":"x","type":"their-ptp","ipMasq":true,{ipam}}}"#
        );
        try_out(&world, &conf, &[], reaches);
        let conf = format!(
            r#"{{"cniVersion":"{version}","name":"x","type":"their-bridge","bridge":"rkt6","isGateway":true,{ipam}}}"#
        );
        try_out(&world, &conf, &[], reaches);
        // Ours with their address management.
        let conf = format!(r#"{{"cniVersion":"{version}","name":"x","type":"ptp",{ipam}}}"#);
        try_out(&world, &conf, &[], reaches);
    }
    ip("link del rkt6");
    let of_the_uplink = r#""ipam":{"type":"their-static","addresses":[{"address":"192.0.2.77/24","gateway":"192.0.2.1"}]}"#;
    let far = world.in_far(|| listen("192.0.2.1:80"));
    let from_afar = |pod: &common::Pod, _: &net::PodNetworks| {
        let seen = talk(&far, "192.0.2.1:80".parse().unwrap(), |c| pod.inside(c));
        assert_eq!(seen.to_string(), "192.0.2.77");
    };
    let conf = format!(
        r#"{{"cniVersion":"1.0.0","name":"x","type":"their-macvlan","master":"up0",{of_the_uplink}}}"#
    );
    try_out(&world, &conf, &[], from_afar);
    let conf = format!(
        r#"{{"cniVersion":"1.0.0","name":"x","type":"macvlan","master":"up0",{of_the_uplink}}}"#
    );
    try_out(&world, &conf, &[], from_afar);
    let conf = format!(
        r#"{{"cniVersion":"1.0.0","name":"x","type":"their-vlan","master":"up0","vlanId":5,{of_the_uplink}}}"#
    );
    if kernel_has("vlan", "link up0 name try0 type vlan id 9") {
        try_out(&world, &conf, &[], |pod, _| {
            let links = pod.inside(|| ip("-d link show eth0"));
            assert!(links.contains("vlan protocol 802.1Q id 5"), "{links}");
        });
    }
    let conf = format!(
        r#"{{"cniVersion":"1.0.0","name":"x","type":"their-ipvlan","master":"up0",{of_the_uplink}}}"#
    );
    if kernel_has("ipvlan", "link up0 name try0 type ipvlan") {
        try_out(&world, &conf, &[], from_afar);
        try_out(
            &world,
            &conf.replace("their-ipvlan", "ipvlan"),
            &[],
            from_afar,
        );
    }
    ip("link add hd0 type veth peer name hd1");
    let conf = format!(
        r#"{{"cniVersion":"1.0.0","name":"x","type":"their-host-device","device":"hd0",{of_the_uplink}}}"#
    );
    try_out_device(&world, &conf);
    let conf = r#"{"cniVersion":"1.0.0","name":"x","type":"their-loopback"}"#;
    try_out(&world, conf, &[], |pod, _| {
        assert!(pod.inside(|| ip("link show lo")).contains("UP"));
    });
    nothing_of_ours();
}

/// Their tables stay when their entries are gone, which is their own way. Of the pods nothing does.
fn nothing_of_ours() {
    for line in run("nft", "list ruleset").lines() {
        assert!(!line.contains("10.6.0.") && !line.contains("rkt"), "{line}");
    }
}

/// Whether the kernel has a type of interface; the plugins for those that it has not are not
/// tested here, which is said.
fn kernel_has(kind: &str, link: &str) -> bool {
    let made = Command::new("ip")
        .args(["link", "add"])
        .args(link.split(' '))
        .output()
        .unwrap();
    if !made.status.success() {
        println!("NOT TESTED: this kernel has no {kind}");
        return false;
    }
    ip("link del try0");
    true
}

/// A device that goes into the pod comes back by their DEL, which needs the pod's namespace.
fn try_out_device(world: &World, conf: &str) {
    world.conf("10-x.conf", conf);
    let pod = world.pod("device");
    world.set_up(&pod, "x", &[]).unwrap();
    assert!(
        pod.inside(|| ip("-o addr show eth0"))
            .contains("192.0.2.77/24")
    );
    assert!(!ip("-o link").contains(": hd0"));
    world.tear_down(&pod);
    world.collect(&pod);
    assert!(
        ip("-o link").contains(": hd0"),
        "the device is the host's again"
    );
    ip("link del hd0");
}

#[test]
fn types_that_follow_others() {
    let world = world();
    let ipam = ipam(&world);
    let first = format!(r#"{{"type":"ptp","ipMasq":true,{ipam}}}"#);
    let their_first = format!(r#"{{"type":"their-ptp","ipMasq":true,{ipam}}}"#);
    let forwarded = |pod: &common::Pod, networks: &net::PodNetworks| {
        let addr = pod.ip(networks, 0);
        let listener = pod.inside(|| listen(&format!("{addr}:80")));
        talk(&listener, "192.0.2.2:8080".parse().unwrap(), |c| {
            world.in_far(c)
        });
        talk(&listener, "127.0.0.1:8080".parse().unwrap(), |c| c());
    };
    for first in [&first, &their_first] {
        let chain = |rest: &str| {
            format!(r#"{{"cniVersion":"1.0.0","name":"x","plugins":[{first},{rest}]}}"#)
        };
        let conf =
            chain(r#"{"type":"their-tuning","sysctl":{"net.core.somaxconn":"321"},"mtu":1300}"#);
        try_out(&world, &conf, &[], |pod, networks| {
            let read = || std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
            assert_eq!(pod.inside(read).trim(), "321");
            assert!(pod.inside(|| ip("link show eth0")).contains("mtu 1300"));
            reaches(pod, networks);
        });
        let conf = chain(r#"{"type":"their-portmap","capabilities":{"portMappings":true}}"#);
        try_out(&world, &conf, &[port()], forwarded);
        let conf = chain(r#"{"type":"their-firewall"}"#);
        try_out(&world, &conf, &[], reaches);
        let conf = chain(r#"{"type":"their-sbr"}"#);
        try_out(&world, &conf, &[], reaches);
        let conf = chain(
            r#"{"type":"their-bandwidth","ingressRate":8000000,"ingressBurst":800000,"egressRate":8000000,"egressBurst":800000}"#,
        );
        try_out(&world, &conf, &[], |pod, networks| {
            assert!(run("tc", "qdisc").contains("tbf"));
            reaches(pod, networks);
        });
        // All of them, and ours mixed in.
        let conf = chain(
            r#"{"type":"their-tuning","sysctl":{"net.core.somaxconn":"77"}},
               {"type":"portmap","capabilities":{"portMappings":true}},
               {"type":"their-firewall"},
               {"type":"bandwidth","ingressRate":800000000,"ingressBurst":8000000}"#,
        );
        try_out(&world, &conf, &[port()], forwarded);
    }
    nothing_of_ours();
}

#[test]
fn their_dhcp_with_its_daemon() {
    let world = world();
    ip("link add rktd type bridge");
    ip("addr add 10.20.0.1/24 dev rktd");
    ip("link set rktd up");
    let server = DhcpServer::start(
        &world.dir,
        "near",
        "rktd",
        "10.20.0.50,10.20.0.60,255.255.255.0",
        &[],
    );
    let socket = world.dir.join("dhcp.sock");
    let mut daemon = Command::new("/usr/lib/cni/dhcp")
        .arg("daemon")
        .arg(format!("-socketpath={}", socket.display()))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    until("their daemon", || socket.exists());
    let conf = format!(
        r#"{{"cniVersion":"1.0.0","name":"x","type":"bridge","bridge":"rktd",
            "ipam":{{"type":"their-dhcp","daemonSocketPath":{socket:?}}}}}"#
    );
    // It asks over the pod's interface, which our bridge has to make before.
    world.conf("10-x.conf", &conf);
    let pod = world.pod("tried");
    let networks = world.set_up(&pod, "x", &[]).unwrap();
    assert_eq!(server.given().len(), 1);
    reaches(&pod, &networks);
    world.tear_down(&pod);
    world.collect(&pod);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    ip("link del rktd");
}
