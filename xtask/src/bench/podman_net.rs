//! Two of podman's containers on its bridge, with Debian's plugins, for packets to go to.

use std::fs;
use std::path::Path;
use std::process::Command;

use e2e::{Lab, Rkt, Running, until};
use serde_json::json;

use super::through::{PATIENCE, Way};
use crate::Result;

/// The containers. They and podman's state go with the process that started them.
pub(super) struct Podman {
    _running: Vec<Running>,
    address: String,
    /// The process of the one that asks.
    asking: String,
}

/// Its state in memory that goes with the mounts, so that the machine's own podman, if there is
/// one, does not see it. Says where both containers are, and takes them away at its end.
const SCRIPT: &str = r#"set -e
mount -t tmpfs none /run; mount -t tmpfs none /var/lib; mkdir -p /var/lib/containers
podman="podman --root /var/lib/s --runroot /run/s --tmpdir /run/t --runtime runc --cgroup-manager cgroupfs"
trap 'kill $sleep; $podman rm -f -t 0 serving asking >/dev/null 2>&1' EXIT
trap 'exit 0' TERM
run() {
    $podman run -d --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 --network bench "$@" >&2
}
run --name serving -p 35201:5201 -p 35300:5300/udp --rootfs ROOT /probe sleep
run --name asking --rootfs ROOT /probe sleep
pid() { $podman inspect --format '{{.State.Pid}}' $1; }
echo "started $(pid serving) $(pid asking) $($podman inspect --format '{{.NetworkSettings.Networks.bench.IPAddress}}' serving)"
sleep infinity &
sleep=$!
wait"#;

impl Podman {
    /// Starts them on the laboratory's host.
    pub(super) fn start(lab: &Lab, rkt: &Rkt, probe: &Path) -> Result<Self> {
        let (root, conf) = (rkt.path("podman-root"), rkt.path("podman-conf"));
        let write = || {
            fs::create_dir(&root)?;
            fs::create_dir(&conf)?;
            fs::copy(probe, root.join("probe"))?;
            let chain = json!({ "cniVersion": "0.4.0", "name": "bench", "plugins": [
                { "type": "bridge", "bridge": "cni-bench", "isGateway": true, "ipMasq": true, "hairpinMode": true,
                  "ipam": { "type": "host-local", "routes": [{ "dst": "0.0.0.0/0" }],
                            "ranges": [[{ "subnet": "10.90.0.0/24", "gateway": "10.90.0.1" }]] } },
                { "type": "portmap", "capabilities": { "portMappings": true } },
                { "type": "firewall", "backend": "" },
                { "type": "tuning" } ] });
            fs::write(conf.join("bench.conflist"), chain.to_string())?;
            let settings = format!(
                "[network]\nnetwork_backend = \"cni\"\ndefault_network = \"bench\"\n\
                 cni_plugin_dirs = [\"/usr/lib/cni\"]\nnetwork_config_dir = {conf:?}\n"
            );
            fs::write(conf.join("containers.conf"), settings)
        };
        write().map_err(|e| e.to_string())?;
        let script = SCRIPT.replace("ROOT", &root.to_string_lossy());
        let mut command = lab.host("unshare", &["--mount", "bash", "-c", &script]);
        command.env("CONTAINERS_CONF", conf.join("containers.conf"));
        let mut main = Running::start(command);
        until(PATIENCE, "podman's containers", || {
            main.stdout().contains("started") || main.try_status().is_some()
        });
        let text = main.stdout();
        let words: Vec<&str> = text.split_whitespace().collect();
        let ["started", serving, asking, address] = words[..] else {
            return Err(main.stderr());
        };
        let inside = |program: &str, args: &[&str]| {
            let mut command = enter(serving, program);
            command.args(args);
            Running::start(command)
        };
        let probe = probe.to_string_lossy();
        let servers = [inside("iperf3", &["-s"]), inside(&probe, &["echo", "5300"])];
        let (address, asking) = (address.to_owned(), asking.to_owned());
        Ok(Self {
            _running: servers.into_iter().chain([main]).collect(),
            address,
            asking,
        })
    }

    /// The ways to them, as the others have them.
    pub(super) fn ways<'a>(&'a self, lab: &'a Lab) -> [Way<'a>; 3] {
        let in_container = |program: &str, args: &[&str]| {
            let mut command = enter(&self.asking, program);
            command.args(args);
            command
        };
        [
            Way {
                name: "podman: host to container",
                command: Box::new(|program, args| lab.host(program, args)),
                address: self.address.clone(),
                tcp: 5201,
                udp: 5300,
            },
            Way {
                name: "podman: on its bridge",
                command: Box::new(in_container),
                address: self.address.clone(),
                tcp: 5201,
                udp: 5300,
            },
            Way {
                name: "podman: far host, through a port",
                command: Box::new(|program, args| lab.far(program, args)),
                address: Lab::HOST.into(),
                tcp: 35201,
                udp: 35300,
            },
        ]
    }
}

/// A program in a process's network.
fn enter(pid: &str, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-n", "-t", pid, "--", program]);
    command
}
