//! An app's isolators as limits and privileges.

use appc::{App, IsolatorValue, Quantity, Resource};
use sandbox::caps::Capabilities;
use sandbox::cgroup::Limits;
use sandbox::seccomp::{Arch, Mode, Policy, Program};
use stage1_abi::InsecureOptions;
use supervisor::Security;

use crate::error::Error;

/// The default filter, compiled with rkt.
const DEFAULT_FILTER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/default.bpf"));

/// What an app's isolators come to.
#[derive(Debug)]
pub(crate) struct Isolation {
    pub(crate) limits: Limits,
    pub(crate) security: Security,
}

/// Filter wishes of an app, before they are compiled.
enum Filter {
    Default,
    Wish(Option<Policy>),
}

/// Reads the isolators of `app`. One that this stage1 cannot apply is told on standard error.
pub(crate) fn of_app(name: &str, app: &App, insecure: InsecureOptions) -> Result<Isolation, Error> {
    let mut limits = Limits::default();
    let mut capabilities = Capabilities::default();
    let (mut ambient, mut no_new_privileges) = (false, false);
    let mut oom_score_adj = None;
    let mut filter = Filter::Default;
    for isolator in &app.isolators.0 {
        match isolator
            .decode()
            .map_err(|e| Error::app(name, e.to_string()))?
        {
            IsolatorValue::Memory(memory) => {
                limits.memory = quantity(&memory).map(|q| q.value() as u64)
            }
            IsolatorValue::Cpu(cpu) => {
                limits.cpu_millis = quantity(&cpu).map(|q| q.milli_value() as u64)
            }
            IsolatorValue::CpuShares(shares) => limits.cpu_shares = Some(u64::from(shares)),
            IsolatorValue::CapabilitiesRetain(wish) => {
                capabilities = names(name, &wish.set)?;
                ambient = true;
            }
            IsolatorValue::CapabilitiesRemove(wish) => {
                capabilities = capabilities.without(names(name, &wish.set)?);
            }
            IsolatorValue::NoNewPrivileges(wish) => no_new_privileges = wish,
            IsolatorValue::SeccompRetain(wish) => {
                filter = Filter::Wish(policy(name, Mode::Retain, &wish)?)
            }
            IsolatorValue::SeccompRemove(wish) => {
                filter = Filter::Wish(policy(name, Mode::Remove, &wish)?)
            }
            IsolatorValue::OomScoreAdj(score) => oom_score_adj = Some(i32::from(score)),
            // The pod's networks are limited, see `network`.
            IsolatorValue::NetworkBandwidth(_) => {}
            _ => eprintln!(
                "rkt: app {name:?}: isolator {} is not applied",
                isolator.name
            ),
        }
    }
    if insecure.disable_capabilities {
        (capabilities, ambient) = (Capabilities::ALL, false);
    }
    let seccomp = match (insecure.disable_seccomp, filter) {
        (true, _) | (_, Filter::Wish(None)) => None,
        (_, Filter::Default) => Some(default_filter(name, capabilities)?),
        (_, Filter::Wish(Some(policy))) => Some(compile(name, &policy)?),
    };
    let security = Security {
        capabilities,
        ambient,
        seccomp,
        no_new_privileges,
        oom_score_adj,
    };
    Ok(Isolation { limits, security })
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

fn quantity(resource: &Resource) -> Option<&Quantity> {
    resource.limit.as_ref().filter(|q| q.value() > 0)
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
