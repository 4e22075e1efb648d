//! A pod's own isolators: they bound what its apps may have.

use std::collections::BTreeMap;

use appc::{IsolatorValue, PodManifest};
use sandbox::caps::Capabilities;
use sandbox::cgroup::Limits;
use sandbox::seccomp::{Arch, Mode, Policy};
use stage1_abi::{InsecureOptions, Labels, RunArgs, annotation};

use super::outcome::{Fate, Outcomes};
use super::{BY_OPTION, NO_CGROUPS, UNKNOWN, labels, limits, names, policy, sysctl};
use crate::error::Error;
use crate::manifest;

/// Processes and threads of a pod, so that one that forks without end leaves the host some: as many
/// as systemd gives a machine.
const PROCESSES: u64 = 16_384;

/// What a pod's isolators come to, and what its apps' depend on.
#[derive(Debug)]
pub(crate) struct PodIsolation {
    /// Limits of all apps together.
    pub(crate) limits: Limits,
    /// Kernel parameters of the pod's namespaces.
    pub(crate) sysctls: Vec<(String, String)>,
    /// What became of each.
    pub(crate) outcomes: Outcomes,
    /// What is not to be had is refused.
    pub(crate) strict: bool,
    pub(super) insecure: InsecureOptions,
    /// No app has others.
    pub(super) capabilities: Capabilities,
    pub(super) no_new_privileges: bool,
    /// No app makes a system call that this denies.
    pub(super) filter: Option<Policy>,
    /// Of the apps that have none.
    pub(super) oom_score_adj: Option<i32>,
    /// Limits can be applied.
    pub(super) cgroups: bool,
    /// The pod has interfaces that rkt made and can limit.
    pub(super) network: bool,
    /// What the host's SELinux knows the pod by.
    pub(crate) labels: Option<Labels>,
    /// The SELinux context of the apps that have none of their own.
    pub(super) context: Option<String>,
    /// The pod has one app and stays so: what the pod's namespaces hold may be the app's to say.
    pub(super) alone: bool,
}

/// What there is to isolate a pod with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Means {
    /// Control groups.
    pub(crate) cgroups: bool,
    /// A network stack of the pod's own.
    pub(crate) own_network: bool,
}

/// Reads the pod's isolators, and what an only app says about the pod's namespaces.
pub(crate) fn of_pod(
    manifest: &PodManifest,
    args: &RunArgs,
    means: Means,
    labels: Option<&Labels>,
) -> Result<PodIsolation, Error> {
    let strict = manifest.annotations.get(annotation::STRICT_ISOLATORS) == Some("true");
    let mut pod = PodIsolation {
        limits: Limits {
            pids: Some(PROCESSES),
            ..Limits::default()
        },
        sysctls: Vec::new(),
        outcomes: Outcomes::default(),
        strict: strict || args.strict_isolators,
        insecure: args.insecure,
        capabilities: Capabilities::ALL,
        no_new_privileges: false,
        filter: None,
        oom_score_adj: None,
        cgroups: means.cgroups,
        // An ordinary user's is made by `pasta`, which limits nothing.
        network: means.own_network && args.net != "none" && sandbox::ids::is_hosts(),
        labels: labels.cloned(),
        context: labels.map(|labels| labels.process.clone()),
        alone: manifest.apps.len() == 1 && !args.mutable,
    };
    let namespaces = sysctl::Namespaces {
        network: means.own_network,
        ipc: args.ipc.as_deref() != Some("parent"),
    };
    let mut sysctls = BTreeMap::new();
    for isolator in &manifest.isolators.0 {
        let value = isolator.decode().map_err(|e| {
            Error::Unsupported(format!("the pod's isolator {}: {e}", isolator.name))
        })?;
        let fate = match value {
            IsolatorValue::Sysctl(wish) => {
                namespaces.check("the pod", &wish)?;
                sysctls.extend(wish);
                Fate::Applied
            }
            value => pod.take(&value)?,
        };
        pod.outcomes.add(isolator, fate);
    }
    if pod.alone {
        for runtime in &manifest.apps {
            for isolator in &manifest::app_of(runtime)?.isolators.0 {
                if let Ok(IsolatorValue::Sysctl(wish)) = isolator.decode() {
                    namespaces.check(&format!("app {:?}", runtime.name.as_str()), &wish)?;
                    // The pod's own word bounds the app's.
                    for (key, value) in wish {
                        sysctls.entry(key).or_insert(value);
                    }
                }
            }
        }
    }
    pod.sysctls = sysctls.into_iter().collect();
    Ok(pod)
}

impl PodIsolation {
    fn take(&mut self, value: &IsolatorValue) -> Result<Fate, Error> {
        if let Some(fate) = limits::take(value, &mut self.limits) {
            return Ok(match self.cgroups {
                true => fate,
                false => Fate::unsupported(NO_CGROUPS),
            });
        }
        let capabilities = |pod: &mut Self, wish| {
            if pod.insecure.disable_capabilities {
                return Fate::changed(BY_OPTION);
            }
            pod.capabilities = wish;
            Fate::Applied
        };
        Ok(match value {
            IsolatorValue::CapabilitiesRetain(wish) => {
                let set = names("of the pod", &wish.set)?;
                capabilities(self, set)
            }
            IsolatorValue::CapabilitiesRemove(wish) => {
                let set = names("of the pod", &wish.set)?;
                capabilities(self, Capabilities::ALL.without(set))
            }
            IsolatorValue::NoNewPrivileges(wish) => {
                self.no_new_privileges = *wish;
                Fate::Applied
            }
            IsolatorValue::OomScoreAdj(score) => {
                self.oom_score_adj = Some(i32::from(*score));
                Fate::Applied
            }
            IsolatorValue::NetworkBandwidth(_) => self.bandwidth(),
            IsolatorValue::SeccompRetain(wish) => self.filtered(Mode::Retain, wish)?,
            IsolatorValue::SeccompRemove(wish) => self.filtered(Mode::Remove, wish)?,
            IsolatorValue::SelinuxContext(wish) if labels::selinux_is_active() => {
                self.context = Some(wish.to_string());
                Fate::Applied
            }
            _ => labels::fate(value).unwrap_or_else(|| Fate::unsupported(UNKNOWN)),
        })
    }

    /// A filter of system calls for all apps, each beside its own.
    fn filtered(&mut self, mode: Mode, wish: &appc::SyscallSet) -> Result<Fate, Error> {
        let whose = "of the pod";
        self.filter = policy(whose, mode, wish)?;
        if let Some(filter) = &self.filter {
            // A pod may have no app yet that would find out what is wrong with it.
            filter
                .compile(Arch::native())
                .map_err(|e| Error::app(whose, e.to_string()))?;
        }
        Ok(match self.insecure.disable_seccomp {
            true => Fate::changed(BY_OPTION),
            false => Fate::Applied,
        })
    }

    /// What becomes of a limit of the pod's interfaces, see `network`.
    pub(super) fn bandwidth(&self) -> Fate {
        match self.network {
            true => Fate::Applied,
            false => Fate::unsupported("rkt makes no interface of the pod that it could limit"),
        }
    }
}

/// Whether the pod, or an app of it, wants its block devices limited.
pub(crate) fn limits_block_devices(manifest: &PodManifest) -> Result<bool, Error> {
    let block = |isolators: &appc::Isolators| {
        let mut names = isolators.0.iter().map(|i| i.name.as_str());
        names.any(|name| name.starts_with("resource/block-"))
    };
    if block(&manifest.isolators) {
        return Ok(true);
    }
    for runtime in &manifest.apps {
        let wants = match &runtime.app {
            Some(app) => block(&app.isolators),
            None => block(&manifest::app_of(runtime)?.isolators),
        };
        if wants {
            return Ok(true);
        }
    }
    Ok(false)
}
