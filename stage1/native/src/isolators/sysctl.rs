//! Which kernel parameters a pod may set: those of namespaces that are its own. All others are the
//! host's, and refused.

use std::collections::BTreeMap;

use crate::error::Error;

/// The namespaces with parameters that a pod has of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Namespaces {
    pub(super) network: bool,
    pub(super) ipc: bool,
}

/// Parameters of an IPC namespace (ipc_namespaces(7)).
const IPC: [&str; 9] = [
    "kernel.auto_msgmni",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];
/// POSIX message queues are of the IPC namespace, too.
const QUEUES: &str = "fs.mqueue.";
/// Parameters of a network namespace. The kernel hides those below `net` that are the host's.
const NETWORK: &str = "net.";
/// Parameters of a UTS namespace; the host name has a flag of its own.
const UTS: [&str; 1] = ["kernel.domainname"];

impl Namespaces {
    /// Refuses what is not the pod's.
    pub(super) fn check(
        self,
        whose: &str,
        parameters: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        for key in parameters.keys() {
            let name = key.replace('/', ".");
            let fail = |reason: &str| {
                Err(Error::Unsupported(format!(
                    "{whose}: isolator os/unix/sysctl: {key:?} {reason}"
                )))
            };
            let ipc = name.starts_with(QUEUES) || IPC.contains(&name.as_str());
            match () {
                () if name.starts_with(NETWORK) && !self.network => {
                    return fail("is the host's, as the pod runs with --net=host");
                }
                () if ipc && !self.ipc => {
                    return fail("is the host's, as the pod runs with --ipc=parent");
                }
                () if name.starts_with(NETWORK) || ipc || UTS.contains(&name.as_str()) => {}
                () => return fail("is a parameter of the whole host, which no pod may set"),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_pods_own() {
        let own = |key: &str, network, ipc| {
            let wish = BTreeMap::from([(key.to_owned(), "1".to_owned())]);
            Namespaces { network, ipc }.check("the pod", &wish).is_ok()
        };
        for key in ["net.ipv4.ip_forward", "net/core/somaxconn"] {
            assert!(own(key, true, false) && !own(key, false, true), "{key}");
        }
        for key in ["kernel.shmmax", "fs.mqueue.msg_max"] {
            assert!(own(key, false, true) && !own(key, true, false), "{key}");
        }
        for key in [
            "kernel.core_pattern",
            "vm.overcommit_memory",
            "fs.file-max",
            "network.x",
        ] {
            assert!(!own(key, true, true), "{key}");
        }
        assert!(own("kernel.domainname", false, false));
    }
}
