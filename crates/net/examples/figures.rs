//! What a pod's network costs, for `cargo xtask bench net`, which runs it in a network namespace of
//! its own. Prints `name microseconds` lines: medians of rounds with pauses between them, since in
//! a tight loop the kernel's waits are hidden.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it measures, and may end at once"
)]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use net::{NetList, Paths, Request};

const ROUNDS: usize = 31;
const PAUSE: Duration = Duration::from_millis(30);
const PODS: usize = 500;

fn main() {
    let bench = Bench::new();
    bench.networks();
    bench.many();
    bench.allocation();
    for kind in ["ptp", "bridge"] {
        bench.reference(kind);
    }
    let _ = std::fs::remove_dir_all(&bench.dir);
}

struct Bench {
    dir: PathBuf,
    paths: Paths,
}

/// A pod, set up.
struct Pod {
    dir: PathBuf,
    name: String,
    netns: OwnedFd,
    up: Duration,
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn print(name: &str, time: Duration) {
    println!("{name} {:.1}", micros(time));
}

impl Bench {
    /// In memory, so that no disk is measured.
    fn new() -> Self {
        let dir = Path::new("/dev/shm").join(format!("rkt-net-figures-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("net.d")).unwrap();
        let mut paths = Paths::new(&dir, &dir);
        paths.leases = dir.join("leases");
        for (name, bridge, subnet) in [
            ("one", "rktf1", "10.2.0.0/16"),
            ("many", "rktf2", "10.3.0.0/16"),
        ] {
            let conf = format!(
                r#"{{"cniVersion":"1.0.0","name":"{name}","type":"bridge","bridge":"{bridge}","isGateway":true,
                    "ipMasq":true,"ipam":{{"type":"host-local","subnet":"{subnet}"}}}}"#
            );
            std::fs::write(dir.join(format!("net.d/10-{name}.conf")), conf).unwrap();
        }
        Self { dir, paths }
    }

    /// Makes the namespace and sets the pod up in it, which is what is measured.
    fn start(&self, net: &str, number: usize) -> Pod {
        let name = format!("pod-{net}-{number}");
        let dir = self.dir.join(&name);
        std::fs::create_dir(&dir).unwrap();
        let nets = NetList::parse(net).unwrap();
        let request = Request {
            pod: &name,
            nets: &nets,
            local_config: &self.dir,
            ports: &[],
            bandwidth: None,
            paths: &self.paths,
        };
        let start = Instant::now();
        let netns = sandbox::netns::create().unwrap();
        net::set_up(&net::plan(&request).unwrap(), &dir, netns.as_fd()).unwrap();
        let up = start.elapsed();
        Pod {
            dir,
            name,
            netns,
            up,
        }
    }

    fn end(&self, pod: Pod) -> Duration {
        let start = Instant::now();
        let errors = net::tear_down(&pod.dir, &pod.name, &self.paths, None);
        let down = start.elapsed();
        assert!(errors.is_empty(), "{errors:?}");
        std::fs::remove_dir_all(&pod.dir).unwrap();
        drop(pod.netns);
        down
    }

    fn networks(&self) {
        // A bridge exists before most pods that use it.
        let first = self.start("one", ROUNDS);
        for (net, name) in [
            ("default", "ptp"),
            ("default-restricted", "ptp-plain"),
            ("one", "bridge"),
        ] {
            let (mut ups, mut downs) = (Vec::new(), Vec::new());
            for number in 0..ROUNDS {
                std::thread::sleep(PAUSE);
                let pod = self.start(net, number);
                ups.push(pod.up);
                std::thread::sleep(PAUSE);
                downs.push(self.end(pod));
            }
            print(&format!("{name}-up"), median(ups));
            print(&format!("{name}-down"), median(downs));
        }
        self.end(first);
    }

    /// Pods on one bridge, all alive. Without pauses: it is the growth that is looked for. Several
    /// times, as the kernel ends other work of its own meanwhile.
    fn many(&self) {
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let pods: Vec<Pod> = (0..PODS).map(|number| self.start("many", number)).collect();
            let times = |pods: &[Pod]| pods.iter().map(|pod| pod.up).collect::<Vec<_>>();
            first.extend(times(&pods[1..51]));
            last.extend(times(&pods[PODS - 50..]));
            for pod in pods {
                self.end(pod);
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        print("many-first", median(first));
        print("many-last", median(last));
    }

    /// Addresses out of a network with few and with many in use.
    fn allocation(&self) {
        for (name, used) in [("few", 10_u32), ("lots", 20_000)] {
            let leases = self.dir.join(format!("leases/alloc-{name}"));
            std::fs::create_dir_all(&leases).unwrap();
            for number in 2..used {
                let addr = std::net::Ipv4Addr::from(0x0a04_0000 + number);
                std::fs::write(leases.join(addr.to_string()), "somebody\r\neth0").unwrap();
            }
            std::fs::write(
                leases.join("last_reserved_ip.0"),
                std::net::Ipv4Addr::from(0x0a04_0000 + used - 1).to_string(),
            )
            .unwrap();
            let times = (0..ROUNDS).map(|number| {
                let conf = format!(
                    r#"{{"cniVersion":"1.0.0","name":"alloc-{name}","type":"host-local",
                        "ipam":{{"type":"host-local","subnet":"10.4.0.0/16"}}}}"#
                );
                let id = format!("a{number}");
                let environment = |variable: &str| match variable {
                    "CNI_COMMAND" => Some("ADD".to_owned()),
                    "CNI_CONTAINERID" => Some(id.clone()),
                    "CNI_IFNAME" => Some("eth0".to_owned()),
                    "CNI_NETNS" => Some("/proc/self/ns/net".to_owned()),
                    _ => None,
                };
                let start = Instant::now();
                let answer = net::plugin(None, environment, conf.as_bytes(), &self.paths);
                assert_eq!(answer.status, 0, "{}", answer.output);
                start.elapsed()
            });
            print(&format!("allocate-{name}"), median(times.collect()));
        }
    }

    /// Debian's plugin with masquerading.
    fn reference(&self, kind: &str) {
        let program = Path::new("/usr/lib/cni").join(kind);
        let conf = format!(
            r#"{{"cniVersion":"1.0.0","name":"r-{kind}","type":"{kind}","bridge":"cnif","isGateway":true,"ipMasq":true,
                "ipam":{{"type":"host-local","subnet":"10.5.0.0/16","dataDir":{:?},"routes":[{{"dst":"0.0.0.0/0"}}]}}}}"#,
            self.paths.leases
        );
        let path = self.dir.join("conf");
        std::fs::write(&path, conf).unwrap();
        let (mut ups, mut downs) = (Vec::new(), Vec::new());
        for number in 0..ROUNDS {
            std::thread::sleep(PAUSE);
            let netns = sandbox::netns::create().unwrap();
            let call = |command: &str| {
                let start = Instant::now();
                let status = Command::new(&program)
                    .env("CNI_COMMAND", command)
                    .env("CNI_CONTAINERID", format!("r{number}"))
                    .env(
                        "CNI_NETNS",
                        format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd()),
                    )
                    .env("CNI_IFNAME", "eth0")
                    .env("CNI_PATH", "/usr/lib/cni")
                    .stdin(std::fs::File::open(&path).unwrap())
                    .stdout(Stdio::null())
                    .status()
                    .unwrap();
                assert!(status.success());
                start.elapsed()
            };
            ups.push(call("ADD"));
            downs.push(call("DEL"));
        }
        print(&format!("debian-{kind}-up"), median(ups));
        print(&format!("debian-{kind}-down"), median(downs));
    }
}
