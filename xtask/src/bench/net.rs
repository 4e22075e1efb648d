//! What networks cost: a pod's start and end, many pods, and what goes through.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use e2e::{Aci, Lab, Rkt, Running, fixtures, until};
use serde_json::json;

use super::Programs;
use super::measure::median;
use super::report::Table;
use crate::{Result, build};

/// Compares and enters the issue's figures.
pub(crate) fn run(programs: &Programs, table: &mut Table) -> Result<()> {
    starts(programs, table)?;
    throughput(programs, table)
}

fn starts(programs: &Programs, table: &mut Table) -> Result<()> {
    build::cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "net",
        "--example",
        "figures",
    ])?;
    let figures = programs.floor.with_file_name("examples").join("figures");
    let alone = |program: &std::path::Path, args: &[&str]| {
        let mut command = Command::new("unshare");
        command.arg("--net").arg(program).args(args);
        output(command)
    };
    let floor = alone(&programs.floor, &["--measure-veth"])?;
    let floor: f64 = floor
        .trim()
        .parse()
        .map_err(|e| format!("floor: {floor:?}: {e}"))?;
    println!("floor's namespace and veth part: {floor:.0} us");
    let text = alone(&figures, &[])?;
    print!("{text}");
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    let found: BTreeMap<&str, f64> = pairs
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    let get = |name: &str| {
        found
            .get(name)
            .copied()
            .ok_or_else(|| format!("figures has no {name}"))
    };
    for kind in ["ptp", "bridge"] {
        let up = get(&format!("{kind}-up"))?;
        table.at_most(
            &format!("{kind} with masquerading / floor's veth part"),
            up / floor,
            2.0,
            "x",
        );
        let debian = get(&format!("debian-{kind}-up"))?;
        table.at_most(
            &format!("{kind} with masquerading / Debian's plugin"),
            up / debian,
            0.1,
            "x",
        );
        table.at_most(
            &format!("{kind}, tear-down"),
            get(&format!("{kind}-down"))? / 1e3,
            3.0,
            "ms",
        );
    }
    let growth = get("many-last")? / get("many-first")?;
    table.at_most(
        "500 pods on one bridge, last 50 / first 50",
        growth,
        1.3,
        "x",
    );
    let allocation = get("allocate-lots")? / get("allocate-few")?;
    table.at_most(
        "an address with 20,000 in use / with 10",
        allocation,
        1.3,
        "x",
    );
    Ok(())
}

fn output(mut command: Command) -> Result<String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// How often each way is measured, in turns.
const TURNS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes a command that runs at the way's beginning.
type From<'a> = Box<dyn Fn(&str, &[&str]) -> Command + 'a>;

/// A way that packets take: from where, to which address.
struct Way<'a> {
    name: &'a str,
    command: From<'a>,
    address: String,
    tcp: u16,
    udp: u16,
}

fn throughput(programs: &Programs, table: &mut Table) -> Result<()> {
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
        { "name": "udp", "protocol": "udp", "port": 5300 },
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
    let (mut neighbour, _) = rkt.start_pod_in(
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
    let neighbour_pid = neighbour_pid(&rkt)?;
    let host = |program: &str, args: &[&str]| lab.host(program, args);
    let far = |program: &str, args: &[&str]| lab.far(program, args);
    let in_pod = |program: &str, args: &[&str]| {
        let mut command = Command::new("nsenter");
        command
            .args(["-n", "-t", &neighbour_pid, "--", program])
            .args(args);
        command
    };
    let in_three = |program: &str, args: &[&str]| three.command(program, args);
    let ways = [
        Way {
            name: "host to pod",
            command: Box::new(host),
            address: rkt.ip(&forwarded.1),
            tcp: 5201,
            udp: 5300,
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
            udp: 5300,
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
    let measured = measure(&ways, &probe)?;
    for pair in measured.chunks(2) {
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

/// The process of the pod that is only asked from.
fn neighbour_pid(rkt: &Rkt) -> Result<String> {
    let mut found = None;
    until(PATIENCE, "the asking pod", || {
        let processes = rkt.processes();
        found = processes.iter().find_map(|(pid, name)| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (name == "probe" && line.split('\0').eq(["/probe", "echo", "1", ""]))
                .then(|| pid.to_string())
        });
        found.is_some()
    });
    found.ok_or_else(|| "the asking pod is not there".to_owned())
}

/// Medians of bit/s and microseconds, in turns so that a busy moment meets all.
fn measure<'a>(ways: &[Way<'a>], probe: &str) -> Result<Vec<(&'a str, f64, f64)>> {
    let mut figures = vec![(Vec::new(), Vec::new()); ways.len()];
    for _ in 0..TURNS {
        for (way, (rates, times)) in ways.iter().zip(&mut figures) {
            let port = way.tcp.to_string();
            let text = output((way.command)(
                "iperf3",
                &["-c", &way.address, "-p", &port, "-t", "1", "-J"],
            ))?;
            let json: serde_json::Value =
                serde_json::from_str(&text).map_err(|e| format!("iperf3: {e}"))?;
            let rate = json["end"]["sum_received"]["bits_per_second"].as_f64();
            rates.push(rate.ok_or("iperf3 tells no rate")?);
            let to = format!("{}:{}", way.address, way.udp);
            let text = output((way.command)(probe, &["round-trip", &to]))?;
            times.push(
                text.trim()
                    .parse::<f64>()
                    .map_err(|e| format!("round trip {text:?}: {e}"))?,
            );
        }
    }
    let medians = ways.iter().zip(figures).map(|(way, (rates, times))| {
        let (rate, time) = (median(rates), median(times));
        println!("{:<32} {:>8.2} Gbit/s {time:>8.1} us", way.name, rate / 1e9);
        (way.name, rate, time)
    });
    Ok(medians.collect())
}
