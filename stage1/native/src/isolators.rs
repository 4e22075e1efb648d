//! An app's isolators as limits and privileges, bounded by its pod's.
//!
//! Every one is applied, or it is told why not; [`outcome`] keeps what became of each.

mod labels;
mod limits;
mod outcome;
mod pod;
mod sysctl;

use appc::{App, IsolatorValue};
use sandbox::caps::Capabilities;
use sandbox::cgroup::Limits;
use sandbox::seccomp::{Arch, Mode, Policy, Program};
use supervisor::Security;

pub(crate) use outcome::Outcomes;
pub(crate) use pod::{Means, PodIsolation, limits_block_devices, of_pod};

use crate::error::Error;
use labels::Labelled;
use outcome::Fate;

/// The default filter, compiled with rkt.
const DEFAULT_FILTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/default.bpf"));

const BY_OPTION: &str = "switched off by --insecure-options";
const BY_POD: &str = "the pod's isolator bounds it";
const NO_CGROUPS: &str = "the pod runs without control groups";
const NOT_ALONE: &str = "the apps of a pod share it, so it is the pod's to have";
const UNKNOWN: &str = "rkt does not know it";

/// What an app's isolators come to.
#[derive(Debug)]
pub(crate) struct Isolation {
    pub(crate) limits: Limits,
    pub(crate) security: Security,
    /// The SELinux context of what is mounted for it.
    pub(crate) file_context: Option<String>,
    /// What became of each.
    pub(crate) outcomes: Outcomes,
}

/// Filter wishes of an app, before they are compiled.
enum Filter {
    Default,
    Wish(Option<Policy>),
}

/// What is gathered from the isolators of an app.
struct Wishes {
    limits: Limits,
    capabilities: Capabilities,
    ambient: bool,
    no_new_privileges: bool,
    oom_score_adj: Option<i32>,
    labels: Labelled,
    filter: Filter,
}

/// Reads the isolators of `app`, an app of `pod`.
pub(crate) fn of_app(name: &str, app: &App, pod: &PodIsolation) -> Result<Isolation, Error> {
    let mut wishes = Wishes {
        limits: Limits::default(),
        capabilities: Capabilities::default(),
        ambient: false,
        no_new_privileges: false,
        oom_score_adj: None,
        labels: Labelled::of_pod(pod),
        filter: Filter::Default,
    };
    let mut outcomes = Outcomes::default();
    for isolator in &app.isolators.0 {
        let value = isolator.decode();
        let value = value.map_err(|e| Error::app(name, e.to_string()))?;
        outcomes.add(isolator, wishes.take(name, &value, pod)?);
    }
    let capabilities = match pod.insecure.disable_capabilities {
        true => Capabilities::ALL,
        false => wishes.capabilities.and(pod.capabilities),
    };
    let seccomp = match pod.insecure.disable_seccomp {
        true => None,
        false => filter(name, wishes.filter, capabilities, pod.filter.as_ref())?,
    };
    let security = Security {
        capabilities,
        ambient: wishes.ambient && !pod.insecure.disable_capabilities,
        seccomp,
        no_new_privileges: wishes.no_new_privileges || pod.no_new_privileges,
        oom_score_adj: wishes.oom_score_adj.or(pod.oom_score_adj),
        apparmor: wishes.labels.apparmor,
        selinux: wishes.labels.process,
    };
    Ok(Isolation {
        file_context: wishes.labels.file,
        limits: wishes.limits,
        security,
        outcomes,
    })
}

impl Wishes {
    fn take(
        &mut self,
        app: &str,
        value: &IsolatorValue,
        pod: &PodIsolation,
    ) -> Result<Fate, Error> {
        if let Some(fate) = limits::take(value, &mut self.limits) {
            return Ok(match pod.cgroups {
                true => fate,
                false => Fate::unsupported(NO_CGROUPS),
            });
        }
        let filtered = || match pod.filter {
            _ if pod.insecure.disable_seccomp => Fate::changed(BY_OPTION),
            Some(_) => Fate::changed(BY_POD),
            None => Fate::Applied,
        };
        Ok(match value {
            IsolatorValue::CapabilitiesRetain(wish) => {
                self.capabilities = names(app, &wish.set)?;
                self.ambient = true;
                self.bounded(pod)
            }
            IsolatorValue::CapabilitiesRemove(wish) => {
                self.capabilities = self.capabilities.without(names(app, &wish.set)?);
                self.bounded(pod)
            }
            IsolatorValue::NoNewPrivileges(wish) => {
                self.no_new_privileges = *wish;
                match pod.no_new_privileges && !wish {
                    true => Fate::changed(BY_POD),
                    false => Fate::Applied,
                }
            }
            IsolatorValue::SeccompRetain(wish) => {
                self.filter = Filter::Wish(policy(app, Mode::Retain, wish)?);
                filtered()
            }
            IsolatorValue::SeccompRemove(wish) => {
                self.filter = Filter::Wish(policy(app, Mode::Remove, wish)?);
                filtered()
            }
            IsolatorValue::OomScoreAdj(score) => {
                self.oom_score_adj = Some(i32::from(*score));
                Fate::Applied
            }
            // The pod's networks are limited, see `network`, and its namespaces set, see `pod`.
            IsolatorValue::NetworkBandwidth(_) if pod.alone => pod.bandwidth(),
            IsolatorValue::Sysctl(_) if pod.alone => Fate::Applied,
            IsolatorValue::NetworkBandwidth(_) | IsolatorValue::Sysctl(_) => {
                Fate::unsupported(NOT_ALONE)
            }
            _ => (self.labels)
                .take(value, pod.labels.as_ref())
                .unwrap_or_else(|| Fate::unsupported(UNKNOWN)),
        })
    }

    /// What becomes of the capabilities that were asked for.
    fn bounded(&self, pod: &PodIsolation) -> Fate {
        if pod.insecure.disable_capabilities {
            return Fate::changed(BY_OPTION);
        }
        match self.capabilities.without(pod.capabilities) {
            Capabilities::EMPTY => Fate::Applied,
            _ => Fate::changed(BY_POD),
        }
    }
}

/// The filter of an app with these capabilities, by its wish and within its pod's.
fn filter(
    app: &str,
    wish: Filter,
    capabilities: Capabilities,
    bound: Option<&Policy>,
) -> Result<Option<Program>, Error> {
    let policy = match wish {
        // An app that keeps CAP_SYS_ADMIN may make namespaces by it, so its filter lets it.
        Filter::Default if capabilities.contains("CAP_SYS_ADMIN") => {
            Some(Policy::default().with_namespaces())
        }
        Filter::Default if bound.is_none() => {
            return Ok(Some(Program::from_bytes(DEFAULT_FILTER)));
        }
        Filter::Default => Some(Policy::default()),
        Filter::Wish(policy) => policy,
    };
    let compiled = match (&policy, bound) {
        (None, None) => return Ok(None),
        (Some(policy), Some(bound)) => policy.compile_within(bound, Arch::native()),
        (Some(only), None) | (None, Some(only)) => only.compile(Arch::native()),
    };
    compiled
        .map(Some)
        .map_err(|e| Error::app(app, e.to_string()))
}

fn names(app: &str, set: &[String]) -> Result<Capabilities, Error> {
    Capabilities::from_names(set.iter().map(String::as_str))
        .map_err(|unknown| Error::app(app, format!("unknown capability {unknown:?}")))
}

fn policy(app: &str, mode: Mode, wish: &appc::SyscallSet) -> Result<Option<Policy>, Error> {
    let errno = match wish.errno() {
        None => None,
        Some(name) => Some(
            sandbox::seccomp::errno_number(name)
                .ok_or_else(|| Error::app(app, format!("unknown error name {name:?}")))?,
        ),
    };
    let names: Vec<&str> = wish.set.iter().map(String::as_str).collect();
    Ok(Policy::new(mode, &names, errno))
}
