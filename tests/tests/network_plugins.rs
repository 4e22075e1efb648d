//! rkt's network types as CNI plugins of others: in chains with Debian's plugins, each of ours in
//! the place of one of theirs, and under podman.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use e2e::{Container, Lab, Running, TempDir, fixtures, until};
use serde_json::{Value, json};

const THEIRS: &str = "/usr/lib/cni";

/// A runtime as small as can be: it executes the plugins of a chain as the CNI specification says.
struct Runtime<'a> {
    lab: &'a Lab,
    container: &'a Container,
    id: String,
    /// Where each plugin is looked for, by its type.
    ours: &'a [&'a str],
    links: PathBuf,
    conf: Value,
    runtime: Value,
}

impl Runtime<'_> {
    fn path_of(&self, kind: &str) -> PathBuf {
        match self.ours.contains(&kind) {
            true => self.links.join(kind),
            false => Path::new(THEIRS).join(kind),
        }
    }

    fn call(
        &self,
        command: &str,
        plugin: &Value,
        previous: Option<&Value>,
    ) -> Result<Value, String> {
        use std::io::Write;
        let mut conf = plugin.clone();
        conf["cniVersion"] = self.conf["cniVersion"].clone();
        conf["name"] = self.conf["name"].clone();
        if plugin["capabilities"]["portMappings"] == true {
            conf["runtimeConfig"] = self.runtime.clone();
        }
        if let Some(previous) = previous {
            conf["prevResult"] = previous.clone();
        }
        let kind = plugin["type"].as_str().unwrap();
        let program = self.path_of(kind);
        // Address management is delegated: found by the path, so ours must come first if it is.
        let ipam = plugin["ipam"]["type"]
            .as_str()
            .map(|ipam| self.path_of(ipam));
        let path = ipam.map_or(THEIRS.to_owned(), |ipam| {
            format!("{}:{THEIRS}", ipam.parent().unwrap().display())
        });
        let mut command_line = self.lab.host(program.to_str().unwrap(), &[]);
        let mut child = command_line
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", &self.id)
            .env("CNI_NETNS", self.container.netns())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(conf.to_string().as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(serde_json::from_str(&text).unwrap_or_default()),
            false => Err(format!(
                "{} {command}: {text} {}",
                program.display(),
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    }

    fn plugins(&self) -> &[Value] {
        self.conf["plugins"].as_array().unwrap()
    }

    fn add(&self) -> Value {
        let mut previous = None;
        for plugin in self.plugins() {
            previous = Some(self.call("ADD", plugin, previous.as_ref()).unwrap());
        }
        previous.unwrap()
    }

    /// Their portmap looks for rules of IPv6 where there is none: only ours is asked.
    fn check(&self, result: &Value) -> Result<(), String> {
        let is_asked =
            |plugin: &&Value| plugin["type"] != "portmap" || self.ours.contains(&"portmap");
        self.plugins()
            .iter()
            .filter(is_asked)
            .try_for_each(|plugin| self.call("CHECK", plugin, Some(result)).map(drop))
    }

    fn del(&self, result: &Value) {
        // Twice: the second finds nothing and says nothing.
        for _ in 0..2 {
            for plugin in self.plugins().iter().rev() {
                self.call("DEL", plugin, Some(result)).unwrap();
            }
        }
    }
}

fn links(dir: &TempDir) -> PathBuf {
    let links = dir.join("ours");
    std::fs::create_dir(&links).unwrap();
    for kind in [
        "bandwidth",
        "bridge",
        "dhcp",
        "firewall",
        "flannel",
        "host-local",
        "ipvlan",
        "loopback",
        "macvlan",
        "portmap",
        "ptp",
        "static",
        "tuning",
    ] {
        std::os::unix::fs::symlink(fixtures::program("rkt"), links.join(kind)).unwrap();
    }
    links
}

#[test]
fn each_of_ours_in_the_place_of_one_of_theirs() {
    let dir = TempDir::new();
    let links = links(&dir);
    let first_types = ["ptp", "bridge"];
    let followers = ["tuning", "portmap", "firewall", "bandwidth"];
    for (index, first) in first_types.into_iter().enumerate() {
        let mut casts: Vec<Vec<&str>> = vec![
            vec![],
            vec![first],
            vec!["host-local"],
            vec![first, "host-local"],
        ];
        casts.extend(followers.map(|kind| vec![kind]));
        casts.push([&[first, "host-local"][..], &followers].concat());
        for (number, ours) in casts.iter().enumerate() {
            let lab = Lab::new();
            let container = lab.container();
            let data = dir.join(&format!("leases-{index}-{number}"));
            let runtime = Runtime {
                lab: &lab,
                container: &container,
                id: format!("container-{index}-{number}"),
                ours,
                links: links.clone(),
                conf: json!({ "cniVersion": "1.0.0", "name": "mixed", "plugins": [
                    { "type": first, "bridge": "cni7", "isGateway": true, "ipMasq": true,
                      "ipam": { "type": "host-local", "subnet": "10.85.0.0/24", "dataDir": data,
                                "routes": [{ "dst": "0.0.0.0/0" }] } },
                    { "type": "tuning", "sysctl": { "net.core.somaxconn": "123" } },
                    { "type": "portmap", "capabilities": { "portMappings": true } },
                    { "type": "firewall" },
                    { "type": "bandwidth", "ingressRate": 800_000_000, "ingressBurst": 8_000_000,
                      "egressRate": 800_000_000, "egressBurst": 8_000_000 },
                ] }),
                runtime: json!({ "portMappings": [{ "hostPort": 8888, "containerPort": 80, "protocol": "tcp" }] }),
            };
            let result = runtime.add();
            assert_eq!(
                result["ips"][0]["address"], "10.85.0.2/24",
                "{ours:?}: {result}"
            );
            runtime
                .check(&result)
                .unwrap_or_else(|error| panic!("{ours:?}: {error}"));
            let limit = lab.finish(container.command("cat", &["/proc/sys/net/core/somaxconn"]));
            assert_eq!(limit.stdout.trim(), "123", "{ours:?}");
            let _server = Running::start(container.command(
                fixtures::program("probe").to_str().unwrap(),
                &["serve", "80"],
            ));
            for (command, what) in [
                (
                    lab.far(
                        "bash",
                        &["-c", "exec 3<>/dev/tcp/192.0.2.2/8888 && head -c 4 <&3"],
                    ),
                    "the port, from afar",
                ),
                (
                    lab.host(
                        "bash",
                        &["-c", "exec 3<>/dev/tcp/10.85.0.2/80 && head -c 4 <&3"],
                    ),
                    "the container",
                ),
            ] {
                let command = std::cell::RefCell::new(command);
                until(
                    Duration::from_secs(20),
                    &format!("{what} with {ours:?}"),
                    || {
                        let output = command.borrow_mut().output().unwrap();
                        output.stdout == b"pong"
                    },
                );
            }
            runtime.del(&result);
            let leases = std::fs::read_dir(data.join("mixed")).unwrap().flatten();
            let left: Vec<_> = leases
                .map(|l| l.file_name())
                .filter(|n| n.to_string_lossy().starts_with("10."))
                .collect();
            assert!(left.is_empty(), "{ours:?}: {left:?}");
            let rules = lab.run("nft", "list ruleset");
            assert!(!rules.contains("10.85.0.2"), "{ours:?}: {rules}");
            assert!(!rules.contains(" rkt "), "{ours:?}: {rules}");
        }
    }
}

#[test]
fn loopback_and_static_in_the_place_of_theirs() {
    let dir = TempDir::new();
    let links = links(&dir);
    for ours in [&[][..], &["loopback"], &["static"], &["ptp", "static"]] {
        let lab = Lab::new();
        let container = lab.container();
        let runtime = |name: &str, plugin: Value| Runtime {
            lab: &lab,
            container: &container,
            id: "fixed".to_owned(),
            ours,
            links: links.clone(),
            conf: json!({ "cniVersion": "1.0.0", "name": name, "plugins": [plugin] }),
            runtime: json!({}),
        };
        let lo = runtime("lo", json!({ "type": "loopback" }));
        let fixed = json!({ "type": "ptp", "ipam": { "type": "static",
            "addresses": [{ "address": "10.98.0.5/24", "gateway": "10.98.0.1" }],
            "routes": [{ "dst": "10.99.0.0/16", "gw": "10.98.0.1" }] } });
        let fixed = runtime("fixed", fixed);
        let results = [lo.add(), fixed.add()];
        assert_eq!(results[1]["ips"][0]["address"], "10.98.0.5/24", "{ours:?}");
        let look = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            lab.finish(container.command("ip", &words)).expect(0).stdout
        };
        assert!(look("link show lo").contains(",UP"), "{ours:?}");
        let routes = look("route");
        let route = "10.99.0.0/16 via 10.98.0.1 dev eth0";
        assert!(routes.contains(route), "{ours:?}: {routes}");
        for (runtime, result) in [&lo, &fixed].into_iter().zip(&results) {
            runtime
                .check(result)
                .unwrap_or_else(|error| panic!("{ours:?}: {error}"));
        }
        fixed.del(&results[1]);
        lo.del(&results[0]);
        assert!(look("link show lo").contains("state DOWN"), "{ours:?}");
        assert!(!look("-o link").contains("eth0"), "{ours:?}");
    }
}

#[test]
fn status_gc_and_version() {
    let dir = TempDir::new();
    let lab = Lab::new();
    let links = links(&dir);
    let (kept, lost) = (lab.container(), lab.container());
    let data = dir.join("leases");
    let runtime = |container, id: &str| Runtime {
        lab: &lab,
        container,
        id: id.to_owned(),
        ours: &["ptp"],
        links: links.clone(),
        conf: json!({ "cniVersion": "1.1.0", "name": "collected", "plugins": [
            { "type": "ptp", "ipMasq": true, "ipam": { "type": "host-local", "subnet": "10.86.0.0/24", "dataDir": data } } ] }),
        runtime: json!({}),
    };
    let (first, second) = (runtime(&kept, "kept"), runtime(&lost, "lost"));
    first.add();
    second.add();
    let plugin = first.plugins()[0].clone();
    first.call("STATUS", &plugin, None).unwrap();
    let mut gc = plugin.clone();
    gc["cni.dev/valid-attachments"] = json!([{ "containerID": "kept", "ifname": "eth0" }]);
    first.call("GC", &gc, None).unwrap();
    assert!(
        data.join("collected/10.86.0.2").exists() && !data.join("collected/10.86.0.3").exists()
    );
    let rules = lab.run("nft", "list ruleset");
    assert!(
        rules.contains("kept/eth0") && !rules.contains("lost"),
        "{rules}"
    );
    until(Duration::from_secs(20), "the interface to go", || {
        lab.ip("-o link").matches(": veth").count() == 1
    });
    let version = first.call("VERSION", &plugin, None).unwrap();
    assert_eq!(version["cniVersion"], "1.1.0");
    assert_eq!(version["supportedVersions"].as_array().unwrap().len(), 7);
    // Not ready: code 50 (CNI 1.1, "STATUS").
    let flannel = Runtime {
        ours: &["flannel"],
        ..runtime(&kept, "kept")
    };
    let not_there = json!({ "type": "flannel", "subnetFile": "/nowhere/subnet.env" });
    let error = flannel.call("STATUS", &not_there, None).unwrap_err();
    assert!(
        error.contains("\"code\":50") && error.contains("subnet.env"),
        "{error}"
    );
    first.del(&json!({ "cniVersion": "1.1.0" }));
    lab.assert_clean();
    // By hand it says what it is for.
    let by_hand = lab.finish(lab.host(
        fixtures::program("rkt").to_str().unwrap(),
        &["net-plugin", "ptp"],
    ));
    by_hand.refused(&["CNI_COMMAND"]);
}

#[test]
fn dhcp_as_a_plugin_keeps_its_lease() {
    let dir = TempDir::new();
    let lab = Lab::new();
    let links = links(&dir);
    let (leases, log) = (dir.join("leases"), dir.join("log"));
    let _server = Running::start(lab.far(
        "dnsmasq",
        &[
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--bind-interfaces",
            "--user=root",
            "--pid-file=",
            "--no-ping",
            "--interface=far0",
            "--dhcp-range=192.0.2.100,192.0.2.110,255.255.255.0,2m",
            "--dhcp-option=58,2",
            "--dhcp-option=59,4",
            &format!("--dhcp-leasefile={}", leases.display()),
            &format!("--log-facility={}", log.display()),
            "--log-dhcp",
        ],
    ));
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    until(Duration::from_secs(20), "the server", || {
        read(&log).contains("IP range")
    });
    // Ours alone, and ours as address management of theirs.
    for (number, ours) in [&["macvlan", "dhcp"][..], &["dhcp"]]
        .into_iter()
        .enumerate()
    {
        let container = lab.container();
        let runtime = Runtime {
            lab: &lab,
            container: &container,
            id: format!("leased-{number}"),
            ours,
            links: links.clone(),
            conf: json!({ "cniVersion": "1.0.0", "name": format!("e2e-plugin-dhcp-{number}"), "plugins": [
                { "type": "macvlan", "master": "up0", "ipam": { "type": "dhcp" } } ] }),
            runtime: json!({}),
        };
        let result = runtime.add();
        let address = result["ips"][0]["address"].as_str().unwrap().to_owned();
        let address = address.split('/').next().unwrap();
        let acks = || {
            read(&log)
                .matches(&format!("DHCPACK(far0) {address}"))
                .count()
        };
        let before = acks();
        until(Duration::from_secs(30), "two renewals", || {
            acks() >= before + 2
        });
        runtime.del(&result);
        until(Duration::from_secs(20), "the lease's return", || {
            !read(&leases).contains(address)
        });
        until(Duration::from_secs(60), "the keeper's end", || {
            let ps = std::process::Command::new("pgrep")
                .args(["-f", "net-plugin --keep-lease"])
                .output()
                .unwrap();
            let pids = String::from_utf8(ps.stdout).unwrap();
            pids.lines().all(|pid| {
                !read(Path::new(&format!("/proc/{pid}/environ")))
                    .contains(&format!("leased-{number}"))
            })
        });
    }
}

/// podman's own idea of a network with our plugins: made, forwarded to, and taken down.
#[test]
fn podman_runs_with_our_plugins() {
    let dir = TempDir::new();
    let lab = Lab::new();
    let links = links(&dir);
    for name in ["conf", "root"] {
        std::fs::create_dir(dir.join(name)).unwrap();
    }
    std::fs::copy(fixtures::program("probe"), dir.join("root/probe")).unwrap();
    let chain = json!({ "cniVersion": "0.4.0", "name": "lab", "plugins": [
        { "type": "bridge", "bridge": "cni-lab", "isGateway": true, "ipMasq": true, "hairpinMode": true,
          "ipam": { "type": "host-local", "routes": [{ "dst": "0.0.0.0/0" }],
                    "ranges": [[{ "subnet": "10.91.0.0/24", "gateway": "10.91.0.1" }]] } },
        { "type": "portmap", "capabilities": { "portMappings": true } },
        { "type": "firewall", "backend": "" },
        { "type": "tuning" } ] });
    std::fs::write(dir.join("conf/lab.conflist"), chain.to_string()).unwrap();
    let settings = format!(
        "[network]\nnetwork_backend = \"cni\"\ndefault_network = \"lab\"\ncni_plugin_dirs = [{links:?}]\nnetwork_config_dir = {:?}\n",
        dir.join("conf")
    );
    std::fs::write(dir.join("containers.conf"), settings).unwrap();
    // Its state in memory that goes with its mounts, so that the machine's own podman, if there is
    // one, does not see it.
    let script = format!(
        r#"set -e
        mount -t tmpfs none /run; mount -t tmpfs none /var/lib; mkdir -p /var/lib/containers
        export CONTAINERS_CONF={dir}/containers.conf
        podman="podman --root /var/lib/s --runroot /run/s --tmpdir /run/t --runtime runc --cgroup-manager cgroupfs"
        $podman run -d --name one --cgroup-parent /rkt-e2e-podman-{id} --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 \
            -p 8080:80 --network lab --rootfs {dir}/root /probe serve 80
        for try in $(seq 100); do
            answer=$(bash -c 'exec 3<>/dev/tcp/127.0.0.1/8080 && head -c 4 <&3' 2>/dev/null) && break
            sleep 0.1
        done
        echo "answer=$answer"
        nft list ruleset | grep -c 10.91.0.2
        $podman rm -f -t 0 one
        echo "rules=$(nft list ruleset)"
        ls /var/lib/cni/networks/lab | grep -c 10.91 || true"#,
        dir = dir.path().display(),
        id = std::process::id(),
    );
    let output = lab.finish(lab.host("unshare", &["--mount", "bash", "-c", &script]));
    for group in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        remove_groups(
            &group
                .path()
                .join(format!("rkt-e2e-podman-{}", std::process::id())),
        );
    }
    let output = output.expect(0);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert!(
        lines.contains(&"answer=pong") && lines.contains(&"rules="),
        "{}",
        output.all()
    );
    assert_eq!(lines.last(), Some(&"0"), "leases: {}", output.all());
}

/// Removes a control group and those below it.
fn remove_groups(group: &Path) {
    for inner in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&inner.path());
        }
    }
    // The processes may be a moment in going.
    until(
        Duration::from_secs(20),
        "podman's control groups to go",
        || !group.exists() || std::fs::remove_dir(group).is_ok(),
    );
}
