//! One look at what pods use.

use std::time::{Duration, SystemTime};

use pod::Pod;
use sandbox::cgroup::{self, Usage};
use serde::Serialize;

use crate::commands::running;
use crate::failure::{Doing, Failure};

/// What a pod uses.
#[derive(Debug, Serialize)]
pub(super) struct PodStats {
    pub(super) uuid: String,
    /// Nanoseconds since 1970.
    time: u64,
    #[serde(flatten)]
    pub(super) used: Used,
    /// Interfaces of the pod's own network namespace; absent where it shares the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) network: Option<Vec<Interface>>,
    pub(super) apps: Vec<AppStats>,
}

/// What an app of a pod uses.
#[derive(Debug, Serialize)]
pub(super) struct AppStats {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) used: Used,
}

/// Numbers of a cgroup; `null` is what the host does not count.
#[derive(Debug, Serialize)]
pub(super) struct Used {
    /// Nanoseconds of processor time.
    pub(super) cpu_time: Option<u64>,
    /// Of one processor since the sample before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_percent: Option<f64>,
    /// Bytes.
    pub(super) memory: Option<u64>,
    /// Bytes; `null` is no limit of its own.
    pub(super) memory_limit: Option<u64>,
    /// Bytes.
    pub(super) io_read: Option<u64>,
    /// Bytes.
    pub(super) io_written: Option<u64>,
    /// Processes and threads.
    pub(super) processes: Option<u64>,
    /// Nanoseconds in which a process waited for a processor; absent where nobody counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_pressure: Option<u64>,
    /// The same for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_pressure: Option<u64>,
    /// The same for a disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    io_pressure: Option<u64>,
}

/// Counters of a network interface, since it was made.
#[derive(Debug, Serialize)]
pub(super) struct Interface {
    name: String,
    pub(super) received_bytes: u64,
    received_packets: u64,
    received_dropped: u64,
    pub(super) sent_bytes: u64,
    sent_packets: u64,
    sent_dropped: u64,
}

impl From<Usage> for Used {
    fn from(usage: Usage) -> Self {
        let [cpu_pressure, memory_pressure, io_pressure] = usage.stalled;
        Self {
            cpu_time: usage.cpu,
            cpu_percent: None,
            memory: usage.memory,
            memory_limit: usage.memory_limit,
            io_read: usage.read,
            io_written: usage.written,
            processes: usage.tasks,
            cpu_pressure,
            memory_pressure,
            io_pressure,
        }
    }
}

impl Used {
    fn compare(&mut self, before: &Self, passed: Duration) {
        if let (Some(now), Some(then)) = (self.cpu_time, before.cpu_time) {
            let used = now.saturating_sub(then) as f64;
            let percent = 100.0 * used / passed.as_nanos().max(1) as f64;
            self.cpu_percent = Some((percent * 100.0).round() / 100.0);
        }
    }
}

impl PodStats {
    /// Looks at a running pod.
    pub(super) fn of(pod: &Pod) -> Result<Self, Failure> {
        let problem = || format!("cannot read what pod {:?} uses", pod.uuid());
        let directories = pod.cgroups().doing_with(problem)?;
        if directories.is_empty() {
            return Err(Failure::new(format!(
                "{}: its stage1 has no cgroups of its own",
                problem()
            )));
        }
        let manifest = pod.manifest().doing_with(problem)?;
        let apps = manifest.iter().flat_map(|m| &m.apps).map(|app| AppStats {
            name: app.name.to_string(),
            used: cgroup::usage(&directories, Some(app.name.as_str())).into(),
        });
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Ok(Self {
            uuid: pod.uuid().to_owned(),
            time: since.map_or(0, |t| t.as_nanos() as u64),
            apps: apps.collect(),
            used: cgroup::usage(&directories, None).into(),
            network: network(running::pid(pod)?),
        })
    }

    /// Notes how busy the processors were since an earlier sample of the same pod.
    pub(super) fn compare(&mut self, before: &Self) {
        let passed = Duration::from_nanos(self.time.saturating_sub(before.time));
        self.used.compare(&before.used, passed);
        for app in &mut self.apps {
            if let Some(before) = before.apps.iter().find(|b| b.name == app.name) {
                app.used.compare(&before.used, passed);
            }
        }
    }
}

/// The interfaces that a process sees; `None` if they are the host's, or it has ended.
fn network(pid: u32) -> Option<Vec<Interface>> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    if namespace(&pid.to_string())? == namespace("self")? {
        return None;
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    Some(text.lines().filter_map(interface).collect())
}

/// A line of `/proc/PID/net/dev`; its two title lines are none.
fn interface(line: &str) -> Option<Interface> {
    let (name, counters) = line.split_once(':')?;
    let counters: Vec<u64> = counters
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let counter = |n: usize| counters.get(n).copied();
    Some(Interface {
        name: name.trim().to_owned(),
        received_bytes: counter(0)?,
        received_packets: counter(1)?,
        received_dropped: counter(3)?,
        sent_bytes: counter(8)?,
        sent_packets: counter(9)?,
        sent_dropped: counter(11)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read() {
        let line = "  eth0: 1000 10 0 1 0 0 0 0 2000 20 0 2 0 0 0 0";
        let eth0 = interface(line).unwrap();
        assert_eq!((eth0.received_bytes, eth0.sent_bytes), (1000, 2000));
        assert_eq!((eth0.received_dropped, eth0.sent_dropped), (1, 2));
        assert!(interface("Inter-|   Receive  |  Transmit").is_none());
        assert!(interface(" face |bytes packets|bytes").is_none());
    }

    #[test]
    fn two_samples_tell_how_busy_a_processor_was() {
        let used = |cpu| {
            Used::from(Usage {
                cpu: Some(cpu),
                ..Usage::default()
            })
        };
        let mut now = used(1_500_000_000);
        now.compare(&used(1_000_000_000), Duration::from_secs(2));
        assert_eq!(now.cpu_percent, Some(25.0));
    }
}
