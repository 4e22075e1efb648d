//! The networks `default`, `none` and `host`, over real packets.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use e2e::{Lab, Rkt, fixtures, until_some};

const LIMIT: Duration = Duration::from_secs(20);

fn connect(address: &str, port: u16) -> String {
    let mut stream = until_some(LIMIT, "an open port", || {
        TcpStream::connect((address, port)).ok()
    });
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_host_reaches_a_pod_of_the_default_network() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let (pod, uuid) = rkt.start_pod(&[&image, "--exec=/probe", "--", "serve", "8000"]);
    let address = rkt.ip(&uuid);
    assert!(address.starts_with("172.16.28."), "{address}");
    assert_eq!(connect(&address, 8000), "pong\n");
    let list = rkt.ok(&["list", "--no-legend"]);
    assert!(list.contains(&format!("default:ip4={address}")), "{list}");
    rkt.ok(&["stop", &uuid]);
    pod.finish();
    assert!(
        !std::path::Path::new(&format!("/var/lib/cni/networks/default/{address}")).exists() || {
            // Another pod may have been given the address since.
            let lease = std::fs::read_to_string(format!("/var/lib/cni/networks/default/{address}"))
                .unwrap_or_default();
            !lease.contains(&uuid)
        }
    );
    rkt.assert_clean();
}

#[test]
fn a_pod_sees_its_interface_route_and_gateway() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let look = "ip -o addr show eth0; ip route; ip -o link show lo";
    let output = rkt
        .run(&["run", &image, "--exec=/bin/sh", "--", "-c", look])
        .expect(0);
    assert!(output.stdout.contains("172.16.28."), "{}", output.all());
    assert!(
        output.stdout.contains("default via 172.16.28.1 dev eth0"),
        "{}",
        output.all()
    );
    assert!(output.stdout.contains("LOOPBACK,UP"), "{}", output.all());
    rkt.assert_clean();
}

#[test]
fn two_pods_have_two_addresses_and_reach_each_other() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::busybox());
    let server = rkt.fetch(&fixtures::probe());
    let (_one, uuid) = rkt.start_pod(&[&server, "--exec=/probe", "--", "serve", "8000"]);
    let address = rkt.ip(&uuid);
    let ask = format!("until nc {address} 8000 </dev/null; do :; done; ip -o addr show eth0");
    let output = rkt
        .run(&["run", &image, "--exec=/bin/sh", "--", "-c", &ask])
        .expect(0);
    assert!(output.stdout.contains("pong"), "{}", output.all());
    assert!(
        !output.stdout.contains(&format!("{address}/")),
        "the same address twice: {}",
        output.stdout
    );
}

#[test]
fn with_none_there_is_only_loopback() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let report = rkt.run(&["run", "--net=none", &image]).expect(0).report();
    assert_eq!(report["interfaces"], serde_json::json!(["lo"]));
}

#[test]
fn with_host_the_pod_shares_the_hosts_network() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let report = rkt.run(&["run", "--net=host", &image]).expect(0).report();
    let host = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(report["namespaces"]["net"], host.to_str().unwrap());
}

#[test]
fn an_unknown_network_is_refused_before_anything_is_made() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let output = rkt.run(&["run", "--net=nowhere", &image]);
    assert_ne!(output.code, 0);
    assert!(output.all().contains("nowhere"), "{}", output.all());
    rkt.assert_clean();
}

#[test]
fn a_users_network_replaces_the_built_in_one_of_its_name() {
    let rkt = Rkt::new();
    let dir = rkt.local_config().join("net.d");
    std::fs::create_dir(&dir).unwrap();
    // A range of this test's own; leases are kept by the network's name, so it needs another.
    let conf = r#"{"name": "default", "type": "ptp", "ipMasq": true,
        "ipam": {"type": "host-local", "subnet": "10.213.77.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}"#;
    std::fs::write(dir.join("10-default.conf"), conf).unwrap();
    let image = rkt.fetch(&fixtures::busybox());
    let output = rkt
        .run(&[
            "run",
            &image,
            "--exec=/bin/sh",
            "--",
            "-c",
            "ip -o addr show eth0",
        ])
        .expect(0);
    assert!(output.stdout.contains("10.213.77."), "{}", output.all());
    rkt.assert_clean();
}

/// `--net` used several times, `all`, arguments, lists of plugins; interfaces in the order of the
/// files' names, whatever the order on the command line.
#[test]
fn networks_are_selected_in_all_ways() {
    let (rkt, lab) = (Rkt::new(), Lab::new());
    let dir = rkt.local_config().join("net.d");
    std::fs::create_dir(&dir).unwrap();
    let front = r#"{"name":"e2e-front","type":"bridge","bridge":"rktfront","isGateway":true,
        "ipam":{"type":"host-local","ranges":[[{"subnet":"10.96.0.0/24"}],[{"subnet":"fd96::/64"}]]},"cniVersion":"0.4.0"}"#;
    let back = r#"{"cniVersion":"1.0.0","name":"e2e-back","plugins":[
        {"type":"ptp","ipam":{"type":"host-local","subnet":"10.97.0.0/24"}},
        {"type":"tuning","sysctl":{"net.core.somaxconn":"97"}}]}"#;
    std::fs::write(dir.join("20-front.conf"), front).unwrap();
    std::fs::write(dir.join("30-back.conflist"), back).unwrap();
    let image = rkt.fetch(&fixtures::busybox());
    let script = "ip -o -4 addr | awk '/eth/ {print $2, $4}'; ip -o -6 addr show dev eth0; \
        cat /proc/sys/net/core/somaxconn";
    let seen = |flags: &[&str]| -> Vec<String> {
        let app = [image.as_str(), "--exec=/bin/sh", "--", "-c", script];
        let args = [&["run"], flags, &app].concat();
        let output = rkt.run_in(&lab, &args).expect(0);
        let lines = output.app_lines();
        lines.iter().map(|line| (*line).to_owned()).collect()
    };
    let both = seen(&[
        "--net=e2e-back:IP=10.97.0.7",
        "--net=e2e-front:IP=10.96.0.9;IP=fd96::9",
    ]);
    assert_eq!(both[..2], ["eth0 10.96.0.9/24", "eth1 10.97.0.7/24"]);
    assert!(both[2].contains("fd96::9/64"), "{both:?}");
    assert_eq!(both.last().map(String::as_str), Some("97"));
    let three = seen(&["--net=e2e-back", "--net"]);
    assert!(three[0].starts_with("eth0 10.97.0."), "{three:?}");
    assert!(three[1].starts_with("eth1 172.16.28."), "{three:?}");
    let all = seen(&["--net=all", "--net=e2e-back:IP=10.97.0.20"]);
    for (line, start) in all.iter().zip([
        "eth0 10.96.0.",
        "eth1 10.97.0.20/24",
        "eth2 172.31.",
        "eth3 172.16.28.",
    ]) {
        assert!(line.starts_with(start), "{all:?}");
    }
    for (flags, word) in [
        (&["--net=e2e-back", "--net=e2e-back"][..], "more than once"),
        (&["--net=none", "--net=e2e-back"], "cannot be combined"),
        (&["--net=e2e-back:IP"], "NAME=VALUE"),
        (&["--net=e2e-back:IP=10.1.1.1"], "not in its ranges"),
    ] {
        let args = [&["run"], flags, &[&image]].concat();
        rkt.run_in(&lab, &args).refused(&[word]);
    }
    lab.assert_clean();
    rkt.assert_clean();
}

/// Starts at the same moment; each waits until all addresses have been seen.
#[test]
fn concurrent_starts_never_share_an_address() {
    const PODS: usize = 12;
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let mut pods: Vec<_> = (0..PODS)
        .map(|n| {
            let save = format!("--uuid-file-save={}", rkt.path(&format!("u{n}")).display());
            rkt.start(&["run", &save, &image, "--exec=/probe", "--", "sleep"])
        })
        .collect();
    for pod in &mut pods {
        pod.await_stdout("ready");
    }
    let mut addresses = BTreeSet::new();
    for n in 0..PODS {
        let uuid = std::fs::read_to_string(rkt.path(&format!("u{n}"))).unwrap();
        addresses.insert(rkt.ip(uuid.trim()));
    }
    assert_eq!(addresses.len(), PODS, "{addresses:?}");
    let uuids = rkt.pods();
    let mut stop = vec!["stop"];
    stop.extend(uuids.iter().map(String::as_str));
    rkt.ok(&stop);
    for pod in pods {
        pod.finish();
    }
    rkt.assert_clean();
}

/// A start executes no program it does not need: no `ip`, `iptables` or `nft`.
#[test]
fn no_network_program_is_executed() {
    let rkt = Rkt::new();
    let image = rkt.fetch(&fixtures::probe());
    let traps = rkt.path("traps");
    std::fs::create_dir(&traps).unwrap();
    for name in [
        "ip",
        "iptables",
        "nft",
        "iptables-nft",
        "brctl",
        "sysctl",
        "modprobe",
    ] {
        let script = format!("#!/bin/sh\ntouch {}/executed-{name}\n", traps.display());
        std::fs::write(traps.join(name), script).unwrap();
        Command::new("chmod")
            .arg("755")
            .arg(traps.join(name))
            .status()
            .unwrap();
    }
    let mut command = rkt.command(&["run", &image, "--exec=/probe", "--", "true"]);
    command.env("PATH", &traps);
    e2e::Running::start(command).finish().expect(0);
    let names: Vec<_> = std::fs::read_dir(&traps)
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert!(
        names
            .iter()
            .all(|name| !name.to_string_lossy().starts_with("executed")),
        "{names:?}"
    );
}
