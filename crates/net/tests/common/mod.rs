//! A small world for the tests: a "host" in a network namespace of its own, which the test's
//! thread moves into, and a "far host" behind its uplink.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use net::{Forward, NetList, Paths, PodNetworks, Request};
use sandbox::clone::{Namespaces, unshare};
use sandbox::netns;

pub struct World {
    pub dir: PathBuf,
    pub paths: Paths,
    pub host: OwnedFd,
    pub far: OwnedFd,
    children: Vec<Child>,
}

/// The far host's addresses, which have no route back to pods.
pub const FAR: &str = "192.0.2.1";
pub const FAR6: &str = "2001:db8:f::1";

impl World {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("rkt-net-it-{}-{number}", std::process::id()));
        std::fs::create_dir_all(dir.join("etc/net.d")).unwrap();
        unshare(Namespaces::NET).unwrap();
        let far = netns::create().unwrap();
        let mut paths = Paths::new(&dir.join("etc"), &dir.join("usr"));
        paths.leases = dir.join("leases");
        let mut world = Self {
            dir,
            paths,
            host: netns::current().unwrap(),
            far,
            children: Vec::new(),
        };
        let holder = netns::within(world.far.as_fd(), || {
            Command::new("sleep")
                .arg("1000")
                .stdin(Stdio::null())
                .spawn()
                .unwrap()
        })
        .unwrap();
        ip("link set lo up");
        ip(&format!(
            "link add up0 type veth peer name far0 netns {}",
            holder.id()
        ));
        world.children.push(holder);
        ip("addr add 192.0.2.2/24 dev up0");
        ip("addr add 2001:db8:f::2/64 dev up0 nodad");
        ip("link set up0 up");
        world.in_far(|| {
            ip("link set lo up");
            ip("addr add 192.0.2.1/24 dev far0");
            ip("addr add 2001:db8:f::1/64 dev far0 nodad");
            ip("link set far0 up");
        });
        world
    }

    pub fn in_far<T>(&self, work: impl FnOnce() -> T) -> T {
        netns::within(self.far.as_fd(), work).unwrap()
    }

    pub fn conf(&self, name: &str, text: &str) {
        std::fs::write(self.dir.join("etc/net.d").join(name), text).unwrap();
    }

    /// A plugin that is a shell script.
    pub fn script(&self, name: &str, text: &str) {
        let path = self.dir.join("etc/net.d").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
    }

    /// A pod's directory and namespace, no networks yet.
    pub fn pod(&self, uuid: &str) -> Pod {
        let dir = self.dir.join("pods").join(uuid);
        std::fs::create_dir_all(&dir).unwrap();
        Pod {
            uuid: uuid.to_owned(),
            dir,
            netns: netns::create().unwrap(),
        }
    }

    pub fn plan(&self, pod: &Pod, nets: &str, ports: &[Forward]) -> net::Result<net::Plan> {
        let nets = NetList::parse(nets)?;
        let local_config = self.dir.join("etc");
        net::plan(&Request {
            pod: &pod.uuid,
            nets: &nets,
            local_config: &local_config,
            ports,
            bandwidth: None,
            paths: &self.paths,
        })
    }

    pub fn set_up(&self, pod: &Pod, nets: &str, ports: &[Forward]) -> net::Result<PodNetworks> {
        let plan = self.plan(pod, nets, ports)?;
        net::set_up(&plan, &pod.dir, pod.netns.as_fd())
    }

    pub fn tear_down(&self, pod: &Pod) {
        let errors = net::tear_down(&pod.dir, &pod.uuid, &self.paths, Some(pod.netns.as_fd()));
        assert!(errors.is_empty(), "{errors:?}");
    }

    pub fn collect(&self, pod: &Pod) {
        let errors = net::collect(&pod.dir, &pod.uuid, &self.paths);
        assert!(errors.is_empty(), "{errors:?}");
        for name in ["net", "net.down"] {
            assert!(!pod.dir.join(name).exists());
        }
    }

    /// Nothing of any pod is left on the host. The kernel removes dead namespaces in its own
    /// time, so this waits for it.
    pub fn assert_clean(&self) {
        let mut left = String::new();
        for _ in 0..500 {
            left = self.leftovers();
            if left.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("left behind: {left}");
    }

    pub fn leftovers(&self) -> String {
        let mut left = String::new();
        for line in run("ip", "-o link").lines() {
            if ["veth", "rifb", "rkt"]
                .iter()
                .any(|name| line.contains(&format!(": {name}")))
            {
                left.push_str(line);
            }
        }
        left.push_str(&run("nft", "list ruleset"));
        left.push_str(&self.leases().join(" "));
        left
    }

    /// Addresses with a lease.
    pub fn leases(&self) -> Vec<String> {
        let mut found = Vec::new();
        for network in std::fs::read_dir(&self.paths.leases)
            .into_iter()
            .flatten()
            .flatten()
        {
            for lease in std::fs::read_dir(network.path()).unwrap().flatten() {
                let name = lease.file_name().into_string().unwrap();
                if name.parse::<IpAddr>().is_ok() {
                    found.push(name);
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A DHCP server: Debian's dnsmasq in the calling thread's namespace.
pub struct DhcpServer {
    child: Child,
    pub leases: PathBuf,
    pub log: PathBuf,
}

impl DhcpServer {
    /// Serves `range` (`first,last,mask`) on an interface; clients renew after two seconds.
    pub fn start(dir: &Path, name: &str, interface: &str, range: &str, more: &[&str]) -> Self {
        let (leases, log) = (
            dir.join(format!("{name}.leases")),
            dir.join(format!("{name}.log")),
        );
        let child = Command::new("dnsmasq")
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--port=0",
                "--bind-interfaces",
            ])
            .args([
                "--user=root",
                "--pid-file=",
                "--no-ping",
                "--dhcp-authoritative",
                "--log-dhcp",
            ])
            .arg(format!("--interface={interface}"))
            .arg(format!("--dhcp-range={range},2m"))
            .args(["--dhcp-option=58,2", "--dhcp-option=59,4"])
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .arg(format!("--log-facility={}", log.display()))
            .args(more)
            .stdin(Stdio::null())
            .spawn()
            .expect("dnsmasq: `cargo xtask setup test` installs it");
        let server = Self { child, leases, log };
        until("the DHCP server", || {
            server.log().contains("DHCP, IP range")
        });
        server
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its leases, a line each.
    pub fn given(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.leases).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for DhcpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits, at most half a minute.
#[track_caller]
pub fn until(what: &str, mut look: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !look() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub struct Pod {
    pub uuid: String,
    pub dir: PathBuf,
    pub netns: OwnedFd,
}

impl Pod {
    pub fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        netns::within(self.netns.as_fd(), work).unwrap()
    }

    pub fn ip(&self, networks: &PodNetworks, index: usize) -> IpAddr {
        networks.networks[index].ip().unwrap()
    }
}

pub fn run(program: &str, args: &str) -> String {
    let output = Command::new(program)
        .args(args.split_whitespace())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn ip(args: &str) -> String {
    run("ip", args)
}

/// A listener in the calling thread's namespace.
pub fn listen(addr: &str) -> TcpListener {
    TcpListener::bind(addr).unwrap()
}

/// Connects from wherever `from` runs it, sends a word, and returns the address that the
/// listener saw.
pub fn talk<T>(
    listener: &TcpListener,
    to: SocketAddr,
    from: impl FnOnce(&dyn Fn() -> std::io::Result<TcpStream>) -> T,
) -> IpAddr
where
    T: Into<std::io::Result<TcpStream>>,
{
    let connect = || TcpStream::connect_timeout(&to, Duration::from_secs(5));
    let mut client = from(&connect)
        .into()
        .unwrap_or_else(|error| panic!("connect to {to}: {error}"));
    let (mut server, peer) = listener.accept().unwrap();
    client.write_all(b"word").unwrap();
    let mut word = [0; 4];
    server.read_exact(&mut word).unwrap();
    server.write_all(&word).unwrap();
    client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"word");
    peer.ip()
}

/// How long `work` takes.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

pub fn exists(path: &Path) -> bool {
    path.exists()
}
