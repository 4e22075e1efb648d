//! Networks of a pod as `list` and `status` print them.

use pod::{Network, Pod};

/// `name:ip4=IP, …`, in the order of the interfaces.
pub(super) fn describe(networks: &[Network]) -> String {
    let one = |n: &Network| format!("{}:ip4={}", n.name, n.ip);
    networks.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The networks of a pod that has, or had, any. Unreadable ones are said on standard error by the
/// caller.
pub(super) fn of(pod: &Pod) -> Result<Vec<Network>, pod::Error> {
    match pod.state() {
        pod::State::Running => pod.networks(),
        state if state.is_exited() => pod.networks(),
        _ => Ok(Vec::new()),
    }
}
