//! What goes through a pod's networks: TCP throughput and round trips, and limits.

use std::process::Command;
use std::time::Duration;

use e2e::{Aci, Lab, Rkt, Running, fixtures};
use serde_json::json;

use super::Programs;
use super::net::output;
use super::podman_net::Podman;
use super::report::Table;
use crate::Result;

/// How often each way is measured, in turns.
const TURNS: usize = 7;
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Makes a command that runs at the way's beginning.
pub(super) type From<'a> = Box<dyn Fn(&str, &[&str]) -> Command + 'a>;

/// A way that packets take: from where, to which address.
pub(super) struct Way<'a> {
    pub(super) name: &'a str,
    pub(super) command: From<'a>,
    pub(super) address: String,
    pub(super) tcp: u16,
    pub(super) udp: u16,
}

/// Beside ways made by hand, and podman's.
pub(super) fn throughput(programs: &Programs, table: &mut Table) -> Result<()> {
    let rkt = Rkt::of(programs.rkt.clone());
    let lab = Lab::new();
    let probe = programs.probe.to_string_lossy().into_owned();
    let dir = rkt.local_config().join("net.d");
    std::fs::create_dir(&dir).map_err(|e| e.to_string())?;
    let conf = r#"{"cniVersion":"1.0.0","name":"bench-bridge","type":"bridge","bridge":"rktbench","isGateway":true,"ipMasq":true,
        "ipam":{"type":"host-local","subnet":"10.87.0.0/24"}}"#;
    std::fs::write(dir.join("10-bench.conf"), conf).map_err(|e| e.to_string())?;
    let ports = json!([
        { "name": "tcp", "protocol": "tcp", "port": 5201 },
        { "name": "udp", "protocol": "udp", "port": 5400 },
    ]);
    let image: Aci =
        fixtures::with_program(fixtures::probe_with(&programs.probe), "/usr/bin/iperf3")
            .dir("/tmp", 0o1777)
            .app("ports", ports);
    let image = rkt.fetch(&image);
    let server = ["--exec=/usr/bin/iperf3", "--name=iperf", "--", "-s", "---"];
    let echo = [
        image.as_str(),
        "--exec=/probe",
        "--name=echo",
        "--",
        "echo",
        "5300",
    ];
    let start = |flags: &[&str]| {
        rkt.start_pod_in(&lab, &[flags, &[image.as_str()], &server, &echo].concat())
    };
    let forwarded = start(&["--net=default", "--port=tcp:15201", "--port=udp:15300"]);
    let bridged = start(&["--net=bench-bridge"]);
    let (mut neighbour, neighbour_uuid) = rkt.start_pod_in(
        &lab,
        &[
            "--net=bench-bridge",
            &image,
            "--exec=/probe",
            "--",
            "echo",
            "1",
        ],
    );
    neighbour.await_stdout("ready");

    // The same by hand: a pair to the host, two ends on a bridge, and a rule.
    let (one, two, three) = (lab.container(), lab.container(), lab.container());
    let pid = |netns: String| netns.split('/').nth(2).unwrap_or_default().to_owned();
    for line in [
        format!(
            "link add hand0 type veth peer name eth0 netns {}",
            pid(one.netns())
        ),
        "addr add 10.88.0.1/24 dev hand0".to_owned(),
        "link set hand0 up".to_owned(),
        "link add handbr type bridge".to_owned(),
        "link set handbr up".to_owned(),
        format!(
            "link add hand1 master handbr type veth peer name eth0 netns {}",
            pid(two.netns())
        ),
        format!(
            "link add hand2 master handbr type veth peer name eth0 netns {}",
            pid(three.netns())
        ),
        "link set hand1 up".to_owned(),
        "link set hand2 up".to_owned(),
    ] {
        lab.ip(&line);
    }
    let mut servers = Vec::new();
    for (container, address) in [
        (&one, "10.88.0.2/24"),
        (&two, "10.89.0.2/24"),
        (&three, "10.89.0.3/24"),
    ] {
        for line in [
            format!("addr add {address} dev eth0"),
            "link set eth0 up".to_owned(),
            "route add default via 10.88.0.1".to_owned(),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            // Those on the bridge have no way to that gateway.
            let _ = container.command("ip", &words).output();
        }
        servers.push(Running::start(container.command("iperf3", &["-s"])));
        servers.push(Running::start(container.command(&probe, &["echo", "5300"])));
    }
    for line in [
        "add table ip hand",
        "add chain ip hand pre { type nat hook prerouting priority -100 ; }",
        "add rule ip hand pre tcp dport 25201 dnat to 10.88.0.2:5201",
        "add rule ip hand pre udp dport 25300 dnat to 10.88.0.2:5300",
    ] {
        lab.run("nft", line);
    }
    // Those by hand and podman's are outside of any container but for their network; so are the
    // ends that are compared with them. The apps' own are shown beside.
    let inside = |uuid: &str, program: &str, args: &[&str]| {
        let mut command = Command::new("nsenter");
        let pid = rkt.status(uuid, "pid").unwrap_or_default();
        command.args(["-n", "-t", &pid, "--", program]).args(args);
        command
    };
    for uuid in [&forwarded.1, &bridged.1] {
        servers.push(Running::start(inside(uuid, &probe, &["echo", "5400"])));
    }
    let host = |program: &str, args: &[&str]| lab.host(program, args);
    let far = |program: &str, args: &[&str]| lab.far(program, args);
    let in_pod = |program: &str, args: &[&str]| inside(&neighbour_uuid, program, args);
    let in_three = |program: &str, args: &[&str]| three.command(program, args);
    let ways = [
        Way {
            name: "host to pod",
            command: Box::new(host),
            address: rkt.ip(&forwarded.1),
            tcp: 5201,
            udp: 5400,
        },
        Way {
            name: "by hand: host to container",
            command: Box::new(host),
            address: "10.88.0.2".into(),
            tcp: 5201,
            udp: 5300,
        },
        Way {
            name: "pod to pod on a bridge",
            command: Box::new(in_pod),
            address: rkt.ip(&bridged.1),
            tcp: 5201,
            udp: 5400,
        },
        Way {
            name: "by hand: on a bridge",
            command: Box::new(in_three),
            address: "10.89.0.2".into(),
            tcp: 5201,
            udp: 5300,
        },
        Way {
            name: "far host through a port",
            command: Box::new(far),
            address: Lab::HOST.into(),
            tcp: 15201,
            udp: 15300,
        },
        Way {
            name: "by hand: through a rule",
            command: Box::new(far),
            address: Lab::HOST.into(),
            tcp: 25201,
            udp: 25300,
        },
    ];
    let apps = [
        Way {
            name: "host to the app in its cgroups",
            command: Box::new(host),
            address: rkt.ip(&forwarded.1),
            tcp: 5201,
            udp: 5300,
        },
        Way {
            name: "pod to the app, on a bridge",
            command: Box::new(in_pod),
            address: rkt.ip(&bridged.1),
            tcp: 5201,
            udp: 5300,
        },
    ];
    let podman = match Podman::start(&lab, &rkt, &programs.probe) {
        Ok(podman) => Some(podman),
        Err(error) => {
            println!("podman is left out: {error}");
            None
        }
    };
    let theirs = podman.as_ref().map(|podman| podman.ways(&lab));
    let shown = apps.iter().chain(theirs.iter().flatten());
    let all: Vec<&Way<'_>> = ways.iter().chain(shown).collect();
    let measured = measure(&all, &probe)?;
    for pair in measured.chunks(2).take(ways.len() / 2) {
        let [ours, hand] = pair else { continue };
        table.at_least(
            &format!("{}, throughput / by hand", ours.0),
            ours.1 / hand.1,
            0.95,
        );
        table.at_least(
            &format!("{}, by hand / round trip", ours.0),
            hand.2 / ours.2,
            0.95,
        );
    }
    for (pod, uuid) in [forwarded, bridged] {
        rkt.ok(&["stop", &uuid]);
        pod.finish();
    }
    Ok(())
}

/// The bit/s that an iperf3 received.
fn rate(command: Command) -> Result<f64> {
    let text = output(command)?;
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| format!("iperf3: {e}"))?;
    let rate = json["end"]["sum_received"]["bits_per_second"].as_f64();
    rate.ok_or_else(|| "iperf3 tells no rate".to_owned())
}

/// The best of each in bit/s and microseconds, in turns so that a busy moment meets all: what else
/// runs on the machine, and on which processors the two ends happen to be, only takes away.
fn measure<'a>(ways: &[&Way<'a>], probe: &str) -> Result<Vec<(&'a str, f64, f64)>> {
    let mut figures = vec![(Vec::new(), Vec::new()); ways.len()];
    for _ in 0..TURNS {
        for (way, (rates, times)) in ways.iter().zip(&mut figures) {
            let port = way.tcp.to_string();
            let args = ["-c", &way.address, "-p", &port, "-t", "1", "-J"];
            rates.push(rate((way.command)("iperf3", &args))?);
            let to = format!("{}:{}", way.address, way.udp);
            let text = output((way.command)(probe, &["round-trip", &to]))?;
            times.push(
                text.trim()
                    .parse::<f64>()
                    .map_err(|e| format!("round trip {text:?}: {e}"))?,
            );
        }
    }
    let best = ways.iter().zip(figures).map(|(way, (rates, times))| {
        let rate = rates.into_iter().fold(0.0, f64::max);
        let time = times.into_iter().fold(f64::INFINITY, f64::min);
        println!("{:<32} {:>8.2} Gbit/s {time:>8.1} us", way.name, rate / 1e9);
        (way.name, rate, time)
    });
    Ok(best.collect())
}

/// How near a pod's traffic comes to its limit: an isolator's, and that of the plugin `bandwidth`.
pub(super) fn limits(programs: &Programs, table: &mut Table) -> Result<()> {
    const LIMIT: f64 = 80e6;
    let rkt = Rkt::of(programs.rkt.clone());
    let lab = Lab::new();
    let dir = rkt.local_config().join("net.d");
    std::fs::create_dir(&dir).map_err(|e| e.to_string())?;
    let chain = r#"{"cniVersion":"1.0.0","name":"bench-limited","plugins":[
        {"type":"bridge","bridge":"rktlimit","isGateway":true,"ipam":{"type":"host-local","subnet":"10.86.0.0/24"}},
        {"type":"bandwidth","ingressRate":80000000,"egressRate":80000000}]}"#;
    std::fs::write(dir.join("10-limited.conflist"), chain).map_err(|e| e.to_string())?;
    let plain = || {
        fixtures::with_program(fixtures::probe_with(&programs.probe), "/usr/bin/iperf3")
            .dir("/tmp", 0o1777)
    };
    let isolated = plain().isolator(
        "resource/network-bandwidth",
        json!({ "default": true, "limit": "10M" }),
    );
    for (what, image, net) in [
        ("isolator", isolated, "--net=default"),
        ("plugin", plain(), "--net=bench-limited"),
    ] {
        let image = rkt.fetch(&image);
        let server = [
            net,
            &image,
            "--exec=/usr/bin/iperf3",
            "--",
            "-s",
            "--forceflush",
        ];
        let (mut pod, uuid) = rkt.start_pod_in(&lab, &server);
        pod.await_stdout("listening");
        let address = rkt.ip(&uuid);
        for (direction, flag) in [("in", "-N"), ("out", "-R")] {
            let args = ["-c", &address, "-t", "5", "-O", "1", "-J", flag];
            let off = rate(lab.host("iperf3", &args))? / LIMIT - 1.0;
            let row = format!(
                "bandwidth {what}, {direction}: off by ({:+.1} %)",
                off * 100.0
            );
            table.at_most(&row, off.abs() * 100.0, 5.0, "%");
        }
        rkt.ok(&["stop", &uuid]);
        pod.finish();
    }
    Ok(())
}
