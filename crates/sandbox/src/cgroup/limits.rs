//! What a cgroup may use at most, and what it keeps when others want it.

/// Limits of one cgroup; absent ones are not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory that the kernel takes from others first when it runs short: `memory.low`,
    /// or the soft limit of version 1.
    pub memory_request: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_millis: Option<u64>,
    /// Relative weight, 1024 being the default (cgroup v1's scale).
    pub cpu_shares: Option<u64>,
    /// Bytes a second that are read, and that are written, on each block device. Version 1 counts
    /// writes that go past the page cache only.
    pub block_bandwidth: Option<u64>,
    /// Operations a second, likewise.
    pub block_iops: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

impl Limits {
    /// Whether block devices are limited.
    pub fn limits_block_devices(&self) -> bool {
        self.block_bandwidth.is_some() || self.block_iops.is_some()
    }

    /// Bytes from which on the kernel takes memory back and slows down whoever allocates more, if a
    /// request says that the app can live with less than its limit. A limit alone is a promise, kept
    /// to the last byte.
    ///
    /// How long a hog is slowed before it is killed grows with the third power of this zone: a tenth
    /// of the way up, as others have it, is a minute for each GiB, a thirty-second two seconds.
    pub(super) fn memory_high(&self) -> Option<u64> {
        let (limit, request) = (self.memory?, self.memory_request?);
        let zone = limit.checked_sub(request)? / 32;
        (zone > 0).then_some(limit - zone)
    }
}

/// Quota in microseconds of processor time in each `PERIOD_US`.
pub(super) fn cpu_quota(millis: u64) -> u64 {
    // The kernel refuses quotas under a millisecond.
    (millis.saturating_mul(PERIOD_US) / 1000).max(1000)
}

pub(super) const PERIOD_US: u64 = 100_000;

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn only_a_request_below_the_limit_makes_a_zone() {
        let high = |memory, memory_request| {
            let limits = Limits {
                memory,
                memory_request,
                ..Limits::default()
            };
            limits.memory_high()
        };
        assert_eq!(high(Some(64), None), None);
        assert_eq!(high(None, Some(64)), None);
        assert_eq!(high(Some(64), Some(64)), None);
        assert_eq!(high(Some(64), Some(65)), None);
        assert_eq!(high(Some(66), Some(65)), None);
        assert_eq!(high(Some(64_000_000), Some(8_000_000)), Some(62_250_000));
    }
}
