//! What a pod's network costs, beside the least that it could. The figures are printed
//! (`--nocapture`); only gross slowness fails.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::attachment::Paths;
use crate::cidr::Cidr;
use crate::pod::{Request, collect, plan, set_up, tear_down};
use crate::rtnl::{Changes, LOOPBACK, LinkKind, NewLink, RouteSpec, Rtnl};
use crate::select::NetList;
use crate::testing::{TempDir, isolate};

const ROUNDS: usize = 31;

/// One measurement at a time.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// The median, with pauses between the rounds: in a tight loop the kernel's waits are hidden.
fn median(mut round: impl FnMut(usize) -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|number| {
            std::thread::sleep(Duration::from_millis(30));
            round(number)
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// The least: a veth pair with an address at each end, and two routes.
fn floor(netns: std::os::fd::BorrowedFd<'_>) {
    let (mut host, mut pod) = (Rtnl::open().unwrap(), Rtnl::open_in(netns).unwrap());
    let mut changes = Changes::new();
    changes.new_link(&NewLink {
        name: "floor0",
        kind: LinkKind::Veth {
            peer: "eth0",
            netns,
            peer_mac: None,
        },
        mtu: 0,
        mac: None,
        master: None,
        group: 0,
    });
    changes.read_link("floor0");
    let link = host.apply_and_read(changes).unwrap().remove(0);
    let cidr = |text: &str| -> Cidr { text.parse().unwrap() };
    let mut changes = Changes::new();
    let peer = link.peer.unwrap();
    changes
        .link_up(LOOPBACK)
        .link_up(peer)
        .address(peer, cidr("10.0.0.2/32"), false);
    changes.route(&RouteSpec::new(cidr("10.0.0.1/32"), peer));
    changes.route(&RouteSpec::new(cidr("0.0.0.0/0"), peer).via(cidr("10.0.0.1/32").addr));
    pod.apply(changes).unwrap();
    let mut changes = Changes::new();
    changes.address(link.index, cidr("10.0.0.1/32"), true);
    changes.route(&RouteSpec::new(cidr("10.0.0.2/32"), link.index));
    host.apply(changes).unwrap();
}

struct Bench {
    dir: TempDir,
    paths: Paths,
}

impl Bench {
    fn new() -> Self {
        isolate();
        let dir = TempDir::in_memory();
        let mut paths = Paths::new(dir.path(), dir.path());
        paths.leases = dir.path().join("leases");
        std::fs::create_dir(dir.path().join("net.d")).unwrap();
        Self { dir, paths }
    }

    /// One pod's life: the times of set-up and tear-down.
    fn life(&self, net: &str, number: usize) -> (Duration, Duration) {
        let pod_dir = self.dir.path().join(format!("pod-{net}-{number}"));
        std::fs::create_dir(&pod_dir).unwrap();
        let netns = sandbox::netns::create().unwrap();
        let nets = NetList::parse(net).unwrap();
        let name = format!("pod-{number}");
        let (_, up) = timed(|| {
            let request = Request {
                pod: &name,
                nets: &nets,
                local_config: self.dir.path(),
                ports: &[],
                bandwidth: None,
                paths: &self.paths,
            };
            set_up(&plan(&request).unwrap(), &pod_dir, netns.as_fd()).unwrap()
        });
        let (errors, down) = timed(|| tear_down(&pod_dir, &name, &self.paths, None));
        assert!(errors.is_empty());
        assert!(collect(&pod_dir, &name, &self.paths).is_empty());
        (up, down)
    }
}

#[test]
fn a_default_network_beside_the_least_and_the_reference_plugin() {
    let _alone = ALONE.lock();
    let bench = Bench::new();
    let floor = median(|_| {
        let netns = sandbox::netns::create().unwrap();
        let ((), time) = timed(|| floor(netns.as_fd()));
        Rtnl::open().unwrap().delete_link("floor0").unwrap();
        time
    });
    let ups = median(|number| bench.life("default", number).0);
    let downs = median(|number| bench.life("default", ROUNDS + number).1);
    let plain = median(|number| bench.life("default-restricted", number).0);
    println!(
        "FIGURE veth alone {floor:?}; default network {ups:?}, down {downs:?}; without masquerading {plain:?}"
    );
    assert!(ups < Duration::from_secs(1), "{ups:?} against {floor:?}");
    if Path::new("/usr/lib/cni/ptp").exists() {
        let reference = median(|number| reference(&bench, number));
        println!("FIGURE the reference plugin ptp with masquerading {reference:?}");
    }
}

#[test]
fn five_hundred_pods_on_one_bridge() {
    const PODS: usize = 500;
    let _alone = ALONE.lock();
    let bench = Bench::new();
    let conf = r#"{"cniVersion":"1.0.0","name":"many","type":"bridge","bridge":"rkt4","isGateway":true,
        "ipMasq":true,"ipam":{"type":"host-local","subnet":"10.2.0.0/16"}}"#;
    std::fs::write(bench.dir.path().join("net.d/10-many.conf"), conf).unwrap();
    let nets = NetList::parse("many").unwrap();
    let mut times = Vec::new();
    let mut namespaces = Vec::new();
    for number in 0..PODS {
        let pod_dir = bench.dir.path().join(format!("many-{number}"));
        std::fs::create_dir(&pod_dir).unwrap();
        let netns = sandbox::netns::create().unwrap();
        let pod = format!("many-{number}");
        let request = Request {
            pod: &pod,
            nets: &nets,
            local_config: bench.dir.path(),
            ports: &[],
            bandwidth: None,
            paths: &bench.paths,
        };
        let set_up = || set_up(&plan(&request).unwrap(), &pod_dir, netns.as_fd()).unwrap();
        times.push(timed(set_up).1);
        namespaces.push((pod_dir, pod, netns));
    }
    let middle = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort();
        times[times.len() / 2]
    };
    let (first, last) = (middle(&times[1..51]), middle(&times[PODS - 50..]));
    let (_, down) = timed(|| {
        for (pod_dir, pod, _) in &namespaces {
            assert!(tear_down(pod_dir, pod, &bench.paths, None).is_empty());
        }
    });
    println!("FIGURE 500 pods on a bridge: first {first:?}, last {last:?}; all down in {down:?}");
    // The ratio is a figure, printed above: on a busy machine it says nothing. What must hold
    // anywhere is that the five hundredth pod does not wait for the others.
    assert!(last < Duration::from_secs(1), "{first:?}, {last:?}");
}

/// The reference plugin's set-up.
fn reference(bench: &Bench, number: usize) -> Duration {
    let netns = sandbox::netns::create().unwrap();
    let conf = format!(
        r#"{{"cniVersion":"1.0.0","name":"r","type":"ptp","ipMasq":true,"ipam":{{"type":"host-local",
            "subnet":"10.3.0.0/16","dataDir":{:?},"routes":[{{"dst":"0.0.0.0/0"}}]}}}}"#,
        bench.paths.leases
    );
    let path = bench.dir.path().join("conf");
    std::fs::write(&path, conf).unwrap();
    let number_of = std::os::fd::AsRawFd::as_raw_fd(&netns);
    let call = |command: &str| {
        let status = Command::new("/usr/lib/cni/ptp")
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", format!("r{number}"))
            .env(
                "CNI_NETNS",
                format!("/proc/{}/fd/{number_of}", std::process::id()),
            )
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/usr/lib/cni")
            .stdin(std::fs::File::open(&path).unwrap())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    };
    let ((), time) = timed(|| call("ADD"));
    call("DEL");
    time
}
