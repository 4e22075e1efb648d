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
use outcome::Fate;

/// The default filter, compiled with rkt.
const DEFAULT_FILTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/default.bpf"));

const BY_OPTION: &str = "switched off by --insecure-options";
const NO_CGROUPS: &str = "the pod runs without control groups";
const NOT_ALONE: &str = "the apps of a pod share it, so it is the pod's to have";
const UNKNOWN: &str = "rkt does not know it";

/// What an app's isolators come to.
#[derive(Debug)]
pub(crate) struct Isolation {
    pub(crate) limits: Limits,
    pub(crate) security: Security,
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
    let seccomp = match (pod.insecure.disable_seccomp, wishes.filter) {
        (true, _) | (_, Filter::Wish(None)) => None,
        (_, Filter::Default) => Some(default_filter(name, capabilities)?),
        (_, Filter::Wish(Some(policy))) => Some(compile(name, &policy)?),
    };
    let security = Security {
        capabilities,
        ambient: wishes.ambient && !pod.insecure.disable_capabilities,
        seccomp,
        no_new_privileges: wishes.no_new_privileges || pod.no_new_privileges,
        oom_score_adj: wishes.oom_score_adj.or(pod.oom_score_adj),
    };
    Ok(Isolation {
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
        let unless = |switched_off| match switched_off {
            true => Fate::changed(BY_OPTION),
            false => Fate::Applied,
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
                    true => Fate::changed("the pod's isolator bounds it"),
                    false => Fate::Applied,
                }
            }
            IsolatorValue::SeccompRetain(wish) => {
                self.filter = Filter::Wish(policy(app, Mode::Retain, wish)?);
                unless(pod.insecure.disable_seccomp)
            }
            IsolatorValue::SeccompRemove(wish) => {
                self.filter = Filter::Wish(policy(app, Mode::Remove, wish)?);
                unless(pod.insecure.disable_seccomp)
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
            _ => labels::fate(value).unwrap_or_else(|| Fate::unsupported(UNKNOWN)),
        })
    }

    /// What becomes of the capabilities that were asked for.
    fn bounded(&self, pod: &PodIsolation) -> Fate {
        if pod.insecure.disable_capabilities {
            return Fate::changed(BY_OPTION);
        }
        match self.capabilities.without(pod.capabilities) {
            Capabilities::EMPTY => Fate::Applied,
            _ => Fate::changed("the pod's isolator bounds it"),
        }
    }
}

/// An app that keeps CAP_SYS_ADMIN may make namespaces by it, so its filter lets it.
fn default_filter(name: &str, capabilities: Capabilities) -> Result<Program, Error> {
    if capabilities.contains("CAP_SYS_ADMIN") {
        return compile(name, &Policy::default().with_namespaces());
    }
    Ok(Program::from_bytes(DEFAULT_FILTER))
}

fn compile(name: &str, policy: &Policy) -> Result<Program, Error> {
    policy
        .compile(Arch::native())
        .map_err(|e| Error::app(name, e.to_string()))
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
