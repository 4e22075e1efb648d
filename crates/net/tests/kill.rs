//! Killed at any moment, a set-up or tear-down leaves nothing after one collection.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod common;

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{World, run};
use net::{Forward, HostPort, NetList, Paths, Protocol, Request};

const DIR: &str = "RKT_NET_TEST_DIR";
const ROUNDS: u32 = 300;

/// Not a test of its own: what the test below kills. Sets a pod's networks up and takes them down
/// again, over and over.
#[test]
fn victim() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let mut paths = Paths::new(&dir.join("etc"), &dir.join("usr"));
    paths.leases = dir.join("leases");
    let forward = Forward {
        from: HostPort {
            protocol: Protocol::Tcp,
            addr: None,
            port: 8080,
        },
        pod_port: 80,
    };
    let nets = NetList::parse("default,br").unwrap();
    let pod_dir = dir.join("pod");
    std::fs::create_dir_all(&pod_dir).unwrap();
    std::io::stdout().write_all(b"!").unwrap();
    std::io::stdout().flush().unwrap();
    loop {
        let netns = sandbox::netns::create().unwrap();
        let plan = net::plan(&Request {
            pod: "victim",
            nets: &nets,
            local_config: &dir.join("etc"),
            ports: &[forward],
            bandwidth: None,
            paths: &paths,
        });
        let networks = net::set_up(&plan.unwrap(), &pod_dir, netns.as_fd()).unwrap();
        drop(networks);
        // As a whole life does, the collection included.
        assert!(net::collect(&pod_dir, "victim", &paths).is_empty());
    }
}

#[test]
fn three_hundred_kills_leave_nothing() {
    let world = World::new();
    world.conf(
        "10-br.conf",
        r#"{"cniVersion":"1.0.0","name":"br","type":"bridge","bridge":"rkt9","isGateway":true,"ipMasq":true,
            "ipam":{"type":"host-local","ranges":[[{"subnet":"10.5.0.0/24"}],[{"subnet":"fd05::/64"}]]}}"#,
    );
    // Another pod lives through it all, and must keep what it has.
    let other = world.pod("other");
    world.set_up(&other, "default", &[]).unwrap();
    let mut moments = 0x2545_f491_4f6c_dd1d_u64;
    let pod_dir = world.dir.join("pod");
    let mut seen = [0; 3];
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture", "--test-threads=1"])
            .env(DIR, &world.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut byte = [0; 1];
        while byte != *b"!" {
            out.read_exact(&mut byte).unwrap();
        }
        moments ^= moments << 13;
        moments ^= moments >> 7;
        moments ^= moments << 17;
        std::thread::sleep(Duration::from_micros(
            moments % if round % 2 == 0 { 8_000 } else { 60_000 },
        ));
        child.kill().unwrap();
        child.wait().unwrap();
        let journal = pod_dir.join("net").exists();
        let info = pod_dir.join(net::NET_INFO).exists();
        seen[usize::from(journal) + usize::from(journal && info)] += 1;
        let errors = net::collect(&pod_dir, "victim", &world.paths);
        assert!(errors.is_empty(), "round {round}: {errors:?}");
        assert_eq!(world.leases(), ["172.16.28.2"], "round {round}");
        let rules = run("nft", "list ruleset");
        assert!(
            !rules.contains("victim") && rules.contains("other/eth0"),
            "round {round}: {rules}"
        );
        assert!(!pod_dir.join("net").exists() && !pod_dir.join("net.down").exists());
        let _ = std::fs::remove_dir_all(&pod_dir);
        let links = run("ip", "-o link");
        assert!(!links.contains("rkt9"), "round {round}: {links}");
        assert_eq!(links.matches(": veth").count(), 1, "round {round}: {links}");
    }
    println!(
        "FIGURE killed: outside {}, during set-up {}, set up {}",
        seen[0], seen[1], seen[2]
    );
    net::check(&other.dir, "other", &world.paths, other.netns.as_fd()).unwrap();
    world.tear_down(&other);
    world.collect(&other);
    assert_eq!(world.leftovers(), "");
}
