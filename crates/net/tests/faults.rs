//! What goes wrong, and what is left then: nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::time::{Duration, Instant};

use common::{World, ip, listen, run, talk, until};
use net::{Forward, HostPort, Protocol};

#[test]
fn a_plugin_that_hangs_is_killed_with_what_it_started() {
    let mut world = World::new();
    world.paths.plugins = vec![world.dir.join("etc/net.d")];
    world.paths.patience = Duration::from_millis(500);
    let mark = world.dir.join("pid");
    world.script(
        "hangs",
        &format!("sleep 987 & echo $! > {}; wait", mark.display()),
    );
    // An endless answer, and one that never reads its input.
    world.script(
        "floods",
        "while :; do echo 0123456789012345678901234567890123456789; done",
    );
    world.script("deaf", "exec <&-; exec sleep 987");
    for (kind, word) in [
        ("hangs", "did not answer"),
        ("floods", ""),
        ("deaf", "did not answer"),
    ] {
        world.conf("10-x.conf", &format!(r#"{{"name":"x","type":"{kind}"}}"#));
        let pod = world.pod(kind);
        let start = Instant::now();
        let error = world
            .set_up(&pod, "x,default", &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(kind) && error.contains(word) && error.contains("killed"),
            "{error}"
        );
        assert!(start.elapsed() < Duration::from_secs(60));
        assert_eq!(world.leases(), Vec::<String>::new());
    }
    let pid = std::fs::read_to_string(mark).unwrap();
    let status = format!("/proc/{}/cmdline", pid.trim());
    until("the plugin's own child to go", || {
        // Gone, or a zombie that the init process has not looked at yet.
        std::fs::read(&status).map_or(true, |line| line.is_empty())
    });
    world.assert_clean();
}

/// Each line is a set-up that fails at a later step than the one before.
#[test]
fn a_failure_at_any_step_is_undone() {
    let world = World::new();
    let ipam = r#""ipam":{"type":"host-local","subnet":"10.41.0.0/24"}"#;
    let ptp = format!(r#"{{"type":"ptp","ipMasq":true,{ipam}}}"#);
    let bad_route = r#""ipam":{"type":"host-local","subnet":"10.41.0.0/24","routes":[{"dst":"10.99.0.0/16","gw":"10.77.0.1"}]}"#;
    let steps = [
        (
            "no master",
            format!(r#"{{"type":"macvlan","master":"nowhere",{ipam}}}"#),
            "nowhere",
        ),
        (
            "mtu above the master's",
            format!(r#"{{"type":"macvlan","master":"up0","mtu":9000,{ipam}}}"#),
            "mtu",
        ),
        (
            "not a bridge",
            format!(r#"{{"type":"bridge","bridge":"up0",{ipam}}}"#),
            "no bridge",
        ),
        (
            "an mtu that the kernel refuses",
            format!(r#"{{"type":"ptp","mtu":7,{ipam}}}"#),
            "",
        ),
        (
            "a route through nowhere",
            format!(r#"{{"type":"ptp",{bad_route}}}"#),
            "10.99.0.0/16",
        ),
        (
            "the same on a bridge",
            format!(r#"{{"type":"bridge","bridge":"rktf",{bad_route}}}"#),
            "10.99.0.0/16",
        ),
        (
            "the same on macvlan",
            format!(r#"{{"type":"macvlan","master":"up0",{bad_route}}}"#),
            "10.99.0.0/16",
        ),
        (
            "no such parameter",
            format!(r#"{ptp},{{"type":"tuning","sysctl":{{"net.core.nonsense":"1"}}}}"#),
            "nonsense",
        ),
        (
            "nothing to limit",
            format!(
                r#"{{"type":"macvlan","master":"up0",{ipam}}},{{"type":"bandwidth","ingressRate":8000000}}"#
            ),
            "no interface on the host",
        ),
        (
            "a plugin at the end",
            format!(r#"{ptp},{{"type":"bandwidth","egressRate":8000000}},{{"type":"fails"}}"#),
            "exit status: 9",
        ),
    ];
    world.script("fails", "[ $CNI_COMMAND = DEL ] || exit 9");
    for (what, plugins, word) in steps {
        let conf = format!(r#"{{"cniVersion":"1.0.0","name":"x","plugins":[{plugins}]}}"#);
        world.conf("10-x.conflist", &conf);
        let pod = world.pod("failing");
        let error = match world.set_up(&pod, "x,default", &[]) {
            Ok(_) => panic!("{what}: it worked"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(word), "{what}: {error}");
        assert!(
            !pod.dir.join("net").exists() && !pod.dir.join(net::NET_INFO).exists(),
            "{what}"
        );
        assert_eq!(world.leases(), Vec::<String>::new(), "{what}");
        let links = pod.inside(|| ip("-o link"));
        assert!(!links.contains("eth0"), "{what}: {links}");
        // A bridge that was made for it has none left; the collector takes such.
        if plugins.contains("rktf") {
            ip("link del rktf");
        }
        assert_eq!(world.leftovers(), "", "{what}");
        std::fs::remove_dir_all(&pod.dir).unwrap();
    }
}

#[test]
fn a_host_that_is_not_as_expected() {
    let world = World::new();
    world.conf(
        "10-x.conf",
        r#"{"name":"x","type":"ptp","ipMasq":true,"ipam":{"type":"host-local","subnet":"10.41.0.0/24"}}"#,
    );
    let nothing_left = |pod: &common::Pod| {
        assert!(!pod.dir.join("net").exists());
        assert!(!ip("-o link").contains(": veth"));
        assert_eq!(world.leases(), Vec::<String>::new());
    };
    // Somebody else's table of our name: it is not touched, and not fallen over.
    run("nft", "add table ip rkt");
    run("nft", "add chain ip rkt mine");
    let before = run("nft", "list ruleset");
    let pod = world.pod("p");
    let error = world.set_up(&pod, "x", &[]).unwrap_err().to_string();
    assert!(error.contains("netfilter"), "{error}");
    assert_eq!(run("nft", "list ruleset"), before);
    nothing_left(&pod);
    run("nft", "delete table ip rkt");
    // The pod's directory and the leases' cannot be written.
    std::fs::create_dir(pod.dir.join(".net-info.json.new")).unwrap();
    let error = world.set_up(&pod, "x", &[]).unwrap_err().to_string();
    assert!(error.contains("net-info.json"), "{error}");
    nothing_left(&pod);
    std::fs::remove_dir(pod.dir.join(".net-info.json.new")).unwrap();
    let leases = &world.paths.leases;
    std::fs::remove_dir_all(leases).unwrap();
    std::fs::write(leases, "").unwrap();
    let error = world.set_up(&pod, "x", &[]).unwrap_err().to_string();
    assert!(error.contains("leases"), "{error}");
    std::fs::remove_file(leases).unwrap();
    // Leases that are rubbish: in use as long as they are there, and never an end of the world.
    std::fs::create_dir_all(leases.join("x")).unwrap();
    std::fs::write(leases.join("x/10.41.0.2"), [0xff; 5000]).unwrap();
    std::fs::create_dir(leases.join("x/10.41.0.3")).unwrap();
    std::fs::write(leases.join("x/last_reserved_ip.0"), "\0\0\0").unwrap();
    let networks = world.set_up(&pod, "x", &[]).unwrap();
    assert_eq!(pod.ip(&networks, 0).to_string(), "10.41.0.4");
    world.tear_down(&pod);
    std::fs::remove_dir_all(leases.join("x")).unwrap();
    // The host's interfaces vanish while the pod runs.
    world.conf(
        "20-y.conf",
        r#"{"name":"y","type":"bridge","bridge":"rkty","isGateway":true,"ipMasq":true,"ipam":{"type":"host-local","subnet":"10.42.0.0/24"}}"#,
    );
    let other = world.pod("q");
    let port = Forward {
        from: HostPort {
            protocol: Protocol::Tcp,
            addr: None,
            port: 8080,
        },
        pod_port: 80,
    };
    let networks = world.set_up(&other, "x,y", &[port]).unwrap();
    for link in ip("-o link")
        .lines()
        .filter(|line| line.contains(": veth") || line.contains(": rkty"))
    {
        let name = link.split(": ").nth(1).unwrap().split('@').next().unwrap();
        let _ = std::process::Command::new("ip")
            .args(["link", "del", name])
            .status();
    }
    run("nft", "flush ruleset");
    world.tear_down(&other);
    drop(networks);
    world.collect(&other);
    world.collect(&pod);
    drop((pod, other));
    world.assert_clean();
}

#[test]
fn two_networks_with_one_subnet_never_share_an_address() {
    let world = World::new();
    for (file, name, kind) in [
        ("10-a.conf", "a", r#""type":"ptp""#),
        ("20-b.conf", "b", r#""type":"ptp""#),
        (
            "30-c.conf",
            "c",
            r#""type":"bridge","bridge":"rktc","isGateway":true"#,
        ),
        (
            "40-d.conf",
            "d",
            r#""type":"bridge","bridge":"rktd","isGateway":true"#,
        ),
    ] {
        let ipam = r#""ipam":{"type":"host-local","subnet":"10.9.0.0/24"}"#;
        world.conf(
            file,
            &format!(r#"{{"name":"{name}",{kind},"ipMasq":true,{ipam}}}"#),
        );
    }
    let (one, two) = (world.pod("one"), world.pod("two"));
    let networks = world.set_up(&one, "a", &[]).unwrap();
    let error = world.set_up(&two, "b", &[]).unwrap_err().to_string();
    assert!(
        error.contains("10.9.0.2 is in use in another network"),
        "{error}"
    );
    assert!(!two.dir.join("net").exists());
    // The first keeps what it has.
    let listener = one.inside(|| listen("10.9.0.2:80"));
    talk(&listener, (one.ip(&networks, 0), 80).into(), |c| c());
    let rules = run("nft", "list ruleset");
    assert!(
        rules.contains("one/eth0") && !rules.contains("two/"),
        "{rules}"
    );
    world.tear_down(&one);
    drop((networks, listener));
    world.collect(&one);
    world.set_up(&one, "c", &[]).unwrap();
    let error = world.set_up(&two, "d", &[]).unwrap_err().to_string();
    assert!(
        error.contains("10.9.0.0/24 is on another interface"),
        "{error}"
    );
    let neighbour = world.pod("three");
    world.set_up(&neighbour, "c", &[]).unwrap();
    for pod in [&one, &neighbour] {
        world.tear_down(pod);
        world.collect(pod);
    }
    ip("link del rktd");
    assert_eq!(world.leftovers(), "");
}

/// The host's own rules, made with nft and with iptables-nft, are untouched, also in their order.
#[test]
fn a_hosts_own_firewall_is_left_alone() {
    let world = World::new();
    for command in [
        "add table inet mine",
        "add chain inet mine input { type filter hook input priority 0 ; policy accept ; }",
        "add rule inet mine input tcp dport 22 accept",
        "add table ip mynat",
        "add chain ip mynat post { type nat hook postrouting priority 100 ; }",
        "add rule ip mynat post oifname nowhere masquerade",
        // What firewalld has: accept what comes back, pods' forwarded packets, drop the rest.
        "add table inet fw",
        "add chain inet fw forward { type filter hook forward priority 10 ; policy drop ; }",
        "add rule inet fw forward ct state established,related accept",
        "add rule inet fw forward ct status dnat accept",
        "add rule inet fw forward ip saddr 10.43.0.0/24 accept",
    ] {
        run("nft", command);
    }
    run("iptables-nft", "-A INPUT -p tcp --dport 23 -j ACCEPT");
    run(
        "iptables-nft",
        "-t nat -A PREROUTING -p tcp --dport 24 -j RETURN",
    );
    let before = run("nft", "list ruleset");
    let saved = run("iptables-nft-save", "");
    world.conf(
        "10-x.conf",
        r#"{"name":"x","type":"ptp","ipMasq":true,"ipam":{"type":"host-local","subnet":"10.43.0.0/24","routes":[{"dst":"0.0.0.0/0"}]}}"#,
    );
    let port = Forward {
        from: HostPort {
            protocol: Protocol::Tcp,
            addr: None,
            port: 8080,
        },
        pod_port: 80,
    };
    let pods = [world.pod("a"), world.pod("b")];
    let first = world.set_up(&pods[0], "x", &[port]).unwrap();
    let second = world.set_up(&pods[1], "x", &[]).unwrap();
    let during = run("nft", "list ruleset");
    assert!(during.contains("table ip rkt"));
    assert!(
        during.starts_with(before.trim_end()) || before.lines().all(|line| during.contains(line))
    );
    let rules = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with(['#', ':']));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(rules(&run("iptables-nft-save", "")), rules(&saved));
    let listener = pods[0].inside(|| listen("0.0.0.0:80"));
    talk(&listener, "192.0.2.2:8080".parse().unwrap(), |c| {
        world.in_far(c)
    });
    let far = world.in_far(|| listen("192.0.2.1:80"));
    let seen = talk(&far, "192.0.2.1:80".parse().unwrap(), |c| pods[1].inside(c));
    assert_eq!(seen.to_string(), "192.0.2.2");
    // Rules that come and go meanwhile.
    run("nft", "add rule inet mine input tcp dport 25 accept");
    run("iptables-nft", "-A INPUT -p tcp --dport 26 -j ACCEPT");
    run("iptables-nft", "-D INPUT -p tcp --dport 26 -j ACCEPT");
    let mine = run("nft", "list table inet mine");
    for pod in &pods {
        world.tear_down(pod);
    }
    assert_eq!(run("nft", "list table inet mine"), mine);
    let handle = run("nft", "-a list chain inet mine input");
    let handle = handle
        .lines()
        .find(|line| line.contains("dport 25"))
        .unwrap();
    let handle = handle.rsplit(' ').next().unwrap();
    run(
        "nft",
        &format!("delete rule inet mine input handle {handle}"),
    );
    assert_eq!(run("nft", "list ruleset"), before);
    drop((first, second, listener, far));
    pods.iter().for_each(|pod| world.collect(pod));
}

/// Who drops forwarded packets with iptables-nft decides what passes; forwarded ports and pods pass
/// as soon as that host's own rules let them.
#[test]
fn a_host_that_drops_forwarded_packets_decides_itself() {
    let world = World::new();
    world.conf(
        "10-x.conf",
        r#"{"name":"x","type":"ptp","ipMasq":true,"ipam":{"type":"host-local","subnet":"10.44.0.0/24","routes":[{"dst":"0.0.0.0/0"}]}}"#,
    );
    run("iptables-nft", "-P FORWARD DROP");
    run(
        "iptables-nft",
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    );
    let port = Forward {
        from: HostPort {
            protocol: Protocol::Tcp,
            addr: None,
            port: 8080,
        },
        pod_port: 80,
    };
    let pod = world.pod("dropped");
    let networks = world.set_up(&pod, "x", &[port]).unwrap();
    let listener = pod.inside(|| listen("0.0.0.0:80"));
    let far = world.in_far(|| listen("192.0.2.1:80"));
    let (to_port, to_far) = (
        "192.0.2.2:8080".parse().unwrap(),
        "192.0.2.1:80".parse().unwrap(),
    );
    let connect =
        |to| std::net::TcpStream::connect_timeout(&to, Duration::from_millis(400)).is_ok();
    assert!(!world.in_far(|| connect(to_port)), "its policy holds");
    assert!(!pod.inside(|| connect(to_far)), "its policy holds");
    // Nothing is forwarded between the host itself and the pod.
    talk(&listener, "127.0.0.1:8080".parse().unwrap(), |c| c());
    run(
        "iptables-nft",
        "-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT",
    );
    run("iptables-nft", "-A FORWARD -s 10.44.0.0/24 -j ACCEPT");
    talk(&listener, to_port, |c| world.in_far(c));
    let seen = talk(&far, to_far, |c| pod.inside(c));
    assert_eq!(seen.to_string(), "192.0.2.2");
    let saved = run("iptables-nft", "-S FORWARD");
    world.tear_down(&pod);
    assert_eq!(run("iptables-nft", "-S FORWARD"), saved);
    drop((networks, listener, far));
    world.collect(&pod);
}
