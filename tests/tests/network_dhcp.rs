//! Pods with addresses from a DHCP server: the pod's main process keeps the lease.

use std::path::PathBuf;
use std::time::Duration;

use e2e::{Lab, Rkt, Running, fixtures, until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(40);

/// Debian's dnsmasq on the far host.
struct Server {
    _running: Running,
    leases: PathBuf,
    log: PathBuf,
}

impl Server {
    fn start(rkt: &Rkt, lab: &Lab) -> Self {
        let (leases, log) = (rkt.path("dnsmasq.leases"), rkt.path("dnsmasq.log"));
        let flags = [
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--bind-interfaces",
            "--user=root",
            "--pid-file=",
            "--no-ping",
            "--dhcp-authoritative",
            "--interface=far0",
            "--dhcp-range=192.0.2.100,192.0.2.120,255.255.255.0,2m",
            "--dhcp-option=58,2",
            "--dhcp-option=59,4",
            "--dhcp-option=option:dns-server,192.0.2.53",
            &format!("--dhcp-leasefile={}", leases.display()),
            &format!("--log-facility={}", log.display()),
        ];
        let server = Self {
            _running: Running::start(lab.far("dnsmasq", &flags)),
            leases,
            log,
        };
        until(LIMIT, "the DHCP server", || {
            server.log().contains("IP range")
        });
        server
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn has(&self, address: &str) -> bool {
        let leases = std::fs::read_to_string(&self.leases).unwrap_or_default();
        leases.split_whitespace().any(|word| word == address)
    }
}

fn engine(name: &str) -> (Rkt, Lab) {
    let rkt = Rkt::new();
    let dir = rkt.local_config().join("net.d");
    std::fs::create_dir(&dir).unwrap();
    let conf = format!(
        r#"{{"cniVersion":"1.0.0","name":"{name}","type":"macvlan","master":"up0","ipam":{{"type":"dhcp"}}}}"#
    );
    std::fs::write(dir.join("10-lan.conf"), conf).unwrap();
    (rkt, Lab::new())
}

#[test]
fn a_lease_lives_as_long_as_the_pod() {
    let (rkt, lab) = engine("e2e-dhcp-life");
    let server = Server::start(&rkt, &lab);
    let image = rkt.fetch(&fixtures::busybox());
    let script = "cat /etc/resolv.conf; exec sleep 1000";
    let args = [
        "--net=e2e-dhcp-life",
        &image,
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ];
    let (mut pod, uuid) = rkt.start_pod_in(&lab, &args);
    pod.await_stdout("nameserver 192.0.2.53");
    let address = rkt.ip(&uuid);
    assert!(address.starts_with("192.0.2.1"), "{address}");
    assert!(server.has(&address));
    let shown = rkt.ok(&["net", "show", "e2e-dhcp-life"]);
    assert!(
        shown
            .lines()
            .any(|l| l.starts_with(&address) && l.contains(&uuid)),
        "{shown}"
    );
    until(LIMIT, "two renewals", || {
        server
            .log()
            .matches(&format!("DHCPACK(far0) {address}"))
            .count()
            >= 3
    });
    rkt.ok(&["stop", &uuid]);
    pod.finish();
    until(LIMIT, "the lease's return", || !server.has(&address));
    let shown = rkt.ok(&["net", "show", "e2e-dhcp-life"]);
    assert!(!shown.contains(&uuid), "{shown}");
    lab.assert_clean();
    rkt.assert_clean();
}

#[test]
fn a_killed_pods_lease_goes_back_with_the_collector() {
    let (rkt, lab) = engine("e2e-dhcp-kill");
    let server = Server::start(&rkt, &lab);
    let image = rkt.fetch(&fixtures::probe());
    let (pod, uuid) = rkt.start_pod_in(
        &lab,
        &[
            "--net=e2e-dhcp-kill",
            &image,
            "--exec=/probe",
            "--",
            "sleep",
        ],
    );
    let address = rkt.ip(&uuid);
    pod.signal(Signal::KILL);
    pod.finish();
    assert!(server.has(&address));
    rkt.await_state(&uuid, "exited");
    let gc = ["gc", "--grace-period=0s"];
    for _ in 0..2 {
        rkt.run_in(&lab, &gc).expect(0);
    }
    until(LIMIT, "the lease's return", || !server.has(&address));
    lab.assert_clean();
    rkt.assert_clean();
}
