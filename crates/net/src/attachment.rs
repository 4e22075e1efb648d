//! One pod's attachment to one network: what every plugin needs to know, and its ways to the
//! kernel.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Network;
use crate::error::{Error, Result};
use crate::ipam::dhcp::Keeper;
use crate::nft::Firewall;
use crate::portmap::Forward;
use crate::rtnl::Rtnl;

/// Where things are on the host.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Leases of `host-local`, a directory for each network.
    pub leases: PathBuf,
    /// Directories with outside plugins, the first one that has it wins.
    pub plugins: Vec<PathBuf>,
    /// How long an outside plugin may take for its answer.
    pub patience: Duration,
}

impl Paths {
    /// The documented places: plugins in `net.d` of the local configuration and under
    /// `system_config`, then where distributions put CNI's.
    #[must_use]
    pub fn new(local_config: &std::path::Path, system_config: &std::path::Path) -> Self {
        Self {
            leases: crate::ipam::host_local::STATE.into(),
            plugins: vec![
                local_config.join("net.d"),
                system_config.join("plugins/net"),
                "/usr/lib/cni".into(),
                "/opt/cni/bin".into(),
            ],
            // DHCP ones wait for a server.
            patience: Duration::from_secs(120),
        }
    }
}

impl Paths {
    /// The file of an outside plugin; `None` where no directory has one that can be executed.
    #[must_use]
    pub fn find_plugin(&self, kind: &str) -> Option<PathBuf> {
        let mut candidates = self.plugins.iter().map(|directory| directory.join(kind));
        candidates.find(|path| {
            let access = rustix::fs::access(path, rustix::fs::Access::EXEC_OK);
            access.is_ok() && path.is_file()
        })
    }
}

/// What the runtime wants of plugins that can do it (CNI's capability arguments).
#[derive(Clone, Debug, Default)]
pub(crate) struct Runtime {
    pub(crate) ips: Vec<String>,
    pub(crate) mac: Option<String>,
    pub(crate) forwards: Vec<Forward>,
    pub(crate) bandwidth: Option<crate::kind::bandwidth::Limits>,
}

/// Sockets into the kernel, opened when first needed.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    host: Option<Rtnl>,
    pod: Option<Rtnl>,
    firewall: Option<Firewall>,
    /// Leases of DHCP servers that were got: to be renewed.
    pub(crate) keepers: Vec<Keeper>,
}

impl Kernel {
    /// Links, addresses and routes of the pod with this namespace.
    pub(crate) fn pod(&mut self, netns: BorrowedFd<'_>) -> Result<&mut Rtnl> {
        match &mut self.pod {
            Some(pod) => Ok(pod),
            none => Ok(none.insert(Rtnl::open_in(netns)?)),
        }
    }
}

impl Kernel {
    /// Closes the sockets after a tear-down.
    pub(crate) fn close(self) {
        if let Some(firewall) = self.firewall {
            firewall.close();
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Attachment<'a> {
    /// The container's id: the pod's UUID.
    pub(crate) container: &'a str,
    /// The network, with all of its plugins.
    pub(crate) network: &'a Network,
    /// The interface's name in the pod.
    pub(crate) ifname: &'a str,
    /// The pod's network namespace; `None` when it is gone.
    pub(crate) netns: Option<BorrowedFd<'a>>,
    /// The namespace is at its end, and takes the interfaces in it along: nobody needs to wait
    /// the 20 ms that the kernel takes for it.
    pub(crate) namespace_ends: bool,
    /// A path to it, for plugins and results.
    pub(crate) netns_path: &'a str,
    pub(crate) args: &'a [(String, String)],
    pub(crate) runtime: &'a Runtime,
    pub(crate) paths: &'a Paths,
    pub(crate) kernel: &'a mut Kernel,
    /// The plugin configuration at work, for delegating.
    pub(crate) conf: &'a serde_json::Map<String, serde_json::Value>,
}

impl<'a> Attachment<'a> {
    /// The same with the interface `ifname` of another namespace.
    pub(crate) fn elsewhere<'b>(
        &'b self,
        netns: BorrowedFd<'b>,
        ifname: &'b str,
        kernel: &'b mut Kernel,
    ) -> Attachment<'b>
    where
        'a: 'b,
    {
        Attachment {
            ifname,
            netns: Some(netns),
            kernel,
            ..*self
        }
    }
}

impl<'a> Attachment<'a> {
    /// The same with another configuration.
    pub(crate) fn configured<'b>(
        &'b mut self,
        conf: &'b serde_json::Map<String, serde_json::Value>,
    ) -> Attachment<'b>
    where
        'a: 'b,
    {
        Attachment {
            conf,
            kernel: self.kernel,
            container: self.container,
            network: self.network,
            ifname: self.ifname,
            netns: self.netns,
            namespace_ends: self.namespace_ends,
            netns_path: self.netns_path,
            args: self.args,
            runtime: self.runtime,
            paths: self.paths,
        }
    }
}

impl Attachment<'_> {
    /// An argument of the user's for this network.
    pub(crate) fn arg(&self, name: &str) -> Option<&str> {
        let found = self.args.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The hardware address that was asked for.
    pub(crate) fn wanted_mac(&self) -> Result<Option<[u8; 6]>> {
        let Some(text) = self.arg("MAC").or(self.runtime.mac.as_deref()) else {
            return Ok(None);
        };
        match crate::mac::parse(text) {
            Some(mac) => Ok(Some(mac)),
            None => Err(self.error("mac", format!("{text:?} is not a hardware address"))),
        }
    }

    /// Removes the host's end of the pod's interface, unless it goes by itself.
    pub(crate) fn remove_host_end(&mut self) -> Result<()> {
        if self.namespace_ends {
            return Ok(());
        }
        let name = self.host_ifname();
        self.host()?.delete_link(&name)
    }

    /// Whose the firewall's entries are.
    pub(crate) fn owner(&self) -> String {
        format!("{}/{}", self.container, self.ifname)
    }

    /// The pod's namespace.
    pub(crate) fn need_netns(&self) -> Result<BorrowedFd<'_>> {
        self.netns
            .ok_or_else(|| self.error("netns", "the pod's network namespace is gone"))
    }

    /// An error of a plugin of this attachment.
    pub(crate) fn error(&self, plugin: &str, problem: impl Into<String>) -> Error {
        Error::Plugin {
            network: self.network.name.clone(),
            plugin: plugin.to_owned(),
            problem: problem.into(),
            code: 0,
        }
    }

    /// Links, addresses and routes of the host.
    pub(crate) fn host(&mut self) -> Result<&mut Rtnl> {
        match &mut self.kernel.host {
            Some(host) => Ok(host),
            none => Ok(none.insert(Rtnl::open()?)),
        }
    }

    /// Links, addresses and routes of the pod.
    pub(crate) fn pod(&mut self) -> Result<&mut Rtnl> {
        let netns = self
            .netns
            .ok_or_else(|| self.error("netns", "the namespace is gone"))?;
        self.kernel.pod(netns)
    }

    /// The firewall of the host.
    pub(crate) fn firewall(&mut self) -> Result<&mut Firewall> {
        match &mut self.kernel.firewall {
            Some(firewall) => Ok(firewall),
            none => Ok(none.insert(Firewall::open()?)),
        }
    }

    /// The host's end of the pod's interface.
    pub(crate) fn host_ifname(&self) -> String {
        host_ifname(self.container, self.ifname)
    }
}

/// The host's end of a pod's interface: the same name every time, so that it can be found again
/// without having been written down.
pub(crate) fn host_ifname(container: &str, ifname: &str) -> String {
    // FNV-1a, 64 bits, of which 40 fit the name beside "veth".
    let bytes = container.bytes().chain([0]).chain(ifname.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("veth{:010x}", hash >> 24)
}
