//! Times and sizes as people read them.

use std::time::SystemTime;

use jiff::{Timestamp, tz::TimeZone};

/// How long ago a time was, in the words of the original ("2 minutes ago", "1 week from now").
pub(crate) fn ago(time: SystemTime, now: SystemTime) -> String {
    let (seconds, direction) = match now.duration_since(time) {
        Ok(age) => (age.as_secs(), "ago"),
        Err(ahead) => (ahead.duration().as_secs(), "from now"),
    };
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const WEEK: u64 = 7 * DAY;
    const MONTH: u64 = 30 * DAY;
    const YEAR: u64 = 12 * MONTH;
    let counted = |n: u64, unit: &str| format!("{n} {unit} {direction}");
    match seconds {
        0 => "now".to_owned(),
        1 => counted(1, "second"),
        2..MINUTE => counted(seconds, "seconds"),
        MINUTE..120 => counted(1, "minute"),
        120..HOUR => counted(seconds / MINUTE, "minutes"),
        HOUR..7200 => counted(1, "hour"),
        7200..DAY => counted(seconds / HOUR, "hours"),
        _ if seconds < 2 * DAY => counted(1, "day"),
        _ if seconds < WEEK => counted(seconds / DAY, "days"),
        _ if seconds < 2 * WEEK => counted(1, "week"),
        _ if seconds < MONTH => counted(seconds / WEEK, "weeks"),
        _ if seconds < 2 * MONTH => counted(1, "month"),
        _ if seconds < YEAR => counted(seconds / MONTH, "months"),
        _ if seconds < 18 * MONTH => counted(1, "year"),
        _ if seconds < 2 * YEAR => counted(2, "years"),
        _ if seconds < 37 * YEAR => counted(seconds / YEAR, "years"),
        _ => format!("a long while {direction}"),
    }
}

/// A time in the local zone, as Go's layout `2006-01-02 15:04:05.999 -0700 MST` writes it:
/// milliseconds without trailing zeros.
pub(crate) fn local(time: SystemTime) -> String {
    in_zone(time, TimeZone::system())
}

/// A time in the local zone as logs show it: `Nov 25 20:15:00`.
pub(crate) fn log_time(time: SystemTime) -> String {
    match Timestamp::try_from(time) {
        Ok(stamp) => {
            let zoned = stamp.to_zoned(TimeZone::system());
            zoned.strftime("%b %d %H:%M:%S").to_string()
        }
        Err(_) => "-".to_owned(),
    }
}

fn in_zone(time: SystemTime, zone: TimeZone) -> String {
    let Ok(stamp) = Timestamp::try_from(time) else {
        return "-".to_owned();
    };
    let zoned = stamp.to_zoned(zone);
    let millis = zoned.millisecond();
    let fraction = match millis {
        0 => String::new(),
        n => format!(".{n:03}").trim_end_matches('0').to_owned(),
    };
    format!(
        "{}{fraction} {}",
        zoned.strftime("%Y-%m-%d %H:%M:%S"),
        zoned.strftime("%z %Z")
    )
}

/// A number of bytes in binary units with two significant digits below ten ("5.4 MiB").
pub(crate) fn bytes(size: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if size < 10 {
        return format!("{size} B");
    }
    let mut power = 0;
    while power + 1 < UNITS.len() && size >> (10 * (power + 1)) > 0 {
        power += 1;
    }
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    let value = (size as f64 / (1u64 << (10 * power)) as f64 * 10.0 + 0.5).floor() / 10.0;
    match value < 10.0 {
        true => format!("{value:.1} {}", UNITS[power]),
        false => format!("{value:.0} {}", UNITS[power]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn ages() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (seconds, words) in [
            (0, "now"),
            (1, "1 second ago"),
            (41, "41 seconds ago"),
            (60, "1 minute ago"),
            (125, "2 minutes ago"),
            (3600, "1 hour ago"),
            (86_400 * 6, "6 days ago"),
            (86_400 * 7, "1 week ago"),
        ] {
            assert_eq!(ago(now - Duration::from_secs(seconds), now), words);
        }
        assert_eq!(
            ago(now + Duration::from_secs(125), now),
            "2 minutes from now"
        );
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes(7), "7 B");
        assert_eq!(bytes(1000), "1000 B");
        assert_eq!(bytes(5_662_310), "5.4 MiB");
        assert_eq!(bytes(12 << 20), "12 MiB");
    }

    #[test]
    fn times_have_the_original_layout() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_453_821_814_630);
        assert_eq!(
            in_zone(time, TimeZone::UTC),
            "2016-01-26 15:23:34.63 +0000 UTC"
        );
        let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(1_453_821_814);
        assert_eq!(
            in_zone(whole, TimeZone::UTC),
            "2016-01-26 15:23:34 +0000 UTC"
        );
    }
}
