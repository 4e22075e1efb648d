//! The isolators that control groups apply, for an app or for a pod.

use appc::{IsolatorValue, Quantity, Resource};
use sandbox::cgroup::Limits;

use super::outcome::Fate;

/// Thousandths of a processor below which the kernel takes no quota.
const LEAST_MILLIS: u64 = 10;

/// Puts an isolator into the limits; `None` if it is not one of control groups.
pub(super) fn take(value: &IsolatorValue, limits: &mut Limits) -> Option<Fate> {
    Some(match value {
        IsolatorValue::Memory(memory) => {
            limits.memory = amount(memory.limit.as_ref());
            limits.memory_request = reserved(memory).and_then(|q| amount(Some(q)));
            has_effect(limits.memory.or(limits.memory_request))
        }
        IsolatorValue::Cpu(cpu) => processor(cpu, limits),
        IsolatorValue::CpuShares(shares) => {
            limits.cpu_shares = Some(u64::from(*shares));
            Fate::Applied
        }
        IsolatorValue::BlockBandwidth(most) => {
            limits.block_bandwidth = amount(most.limit.as_ref());
            has_effect(limits.block_bandwidth)
        }
        IsolatorValue::BlockIops(most) => {
            limits.block_iops = amount(most.limit.as_ref());
            has_effect(limits.block_iops)
        }
        _ => return None,
    })
}

/// A processor's request is a share beside others, its limit a quota.
fn processor(cpu: &Resource, limits: &mut Limits) -> Fate {
    let millis = |q: &Quantity| Some(q.milli_value() as u64).filter(|m| *m > 0);
    limits.cpu_millis = cpu.limit.as_ref().and_then(millis);
    let request = reserved(cpu).and_then(millis);
    if let Some(request) = request {
        // One processor is the usual weight. Shares that are given have the last word.
        let shares = (request * 1024 / 1000).clamp(2, 262_144);
        limits.cpu_shares.get_or_insert(shares);
    }
    match limits.cpu_millis {
        Some(millis) if millis < LEAST_MILLIS => Fate::changed(format!(
            "{millis}m is raised to {LEAST_MILLIS}m, the least that the kernel takes"
        )),
        other => has_effect(other.or(request)),
    }
}

/// A request of its own. One that is the limit, as `--memory` writes it, reserves nothing: all
/// pods with limits would hold all of the host's memory.
fn reserved(resource: &Resource) -> Option<&Quantity> {
    let request = resource.request.as_ref();
    request.filter(|r| resource.limit.as_ref() != Some(r))
}

fn amount(quantity: Option<&Quantity>) -> Option<u64> {
    let value = quantity?.value();
    u64::try_from(value).ok().filter(|v| *v > 0)
}

fn has_effect(amount: Option<u64>) -> Fate {
    match amount {
        Some(_) => Fate::Applied,
        None => Fate::unsupported("it has no amount above zero"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn limits(isolators: &[(&str, serde_json::Value)]) -> (Limits, Vec<Fate>) {
        let mut limits = Limits::default();
        let fates = isolators.iter().map(|(name, value)| {
            let isolator = appc::Isolator {
                name: appc::AcIdentifier::parse(name).unwrap(),
                value: value.clone(),
                extra: appc::Extra::new(),
            };
            take(&isolator.decode().unwrap(), &mut limits).unwrap()
        });
        let fates = fates.collect();
        (limits, fates)
    }

    #[test]
    fn requests_and_limits() {
        let (found, fates) = limits(&[
            ("resource/memory", json!({"request": "1M", "limit": "2M"})),
            ("resource/cpu", json!({"request": "500m", "limit": "2"})),
            (
                "resource/block-iops",
                json!({"default": true, "limit": "7"}),
            ),
            (
                "resource/block-bandwidth",
                json!({"default": true, "limit": "1k"}),
            ),
        ]);
        let wanted = Limits {
            memory: Some(2_000_000),
            memory_request: Some(1_000_000),
            cpu_millis: Some(2000),
            cpu_shares: Some(512),
            block_bandwidth: Some(1000),
            block_iops: Some(7),
            pids: None,
        };
        assert_eq!(found, wanted);
        assert!(fates.iter().all(|f| *f == Fate::Applied), "{fates:?}");
    }

    #[test]
    fn what_a_flag_writes_reserves_nothing() {
        let (found, _) = limits(&[
            ("resource/memory", json!({"request": "2M", "limit": "2M"})),
            ("os/linux/cpu-shares", json!(9)),
            ("resource/cpu", json!({"request": "3"})),
        ]);
        assert_eq!(found.memory_request, None);
        assert_eq!((found.cpu_millis, found.cpu_shares), (None, Some(9)));
    }

    #[test]
    fn nothing_is_passed_over() {
        let (_, fates) = limits(&[
            ("resource/memory", json!({"limit": "0"})),
            ("resource/cpu", json!({"limit": "3m"})),
        ]);
        assert!(matches!(fates[0], Fate::Unsupported(_)), "{fates:?}");
        assert!(matches!(fates[1], Fate::Changed(_)), "{fates:?}");
    }
}
