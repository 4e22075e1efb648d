//! Timestamps (types.md, "Timestamps Type").

use crate::Error;
use crate::json::text_type;

/// A timestamp as RFC 3339 writes it, with `T` between date and time: kept as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Date(String);

text_type!(Date);

impl Date {
    /// Checks a timestamp: shape, calendar and offset. A leap second is accepted.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match fields(text) {
            Some(_) => Ok(Date(text.to_owned())),
            None => Err(Error::value(
                "date",
                text,
                "must be an RFC 3339 timestamp such as 2015-05-18T13:49:28-04:00",
            )),
        }
    }

    /// The UTC timestamp of a Unix time: whole seconds and nanoseconds since 1970. Years outside
    /// 0 to 9999 are held at the nearest one that the format can write.
    pub fn from_unix(seconds: i64, nanoseconds: u32) -> Self {
        let seconds = seconds.clamp(-62_167_219_200, 253_402_300_799);
        let (day, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, date) = civil(day);
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        let mut text = format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}");
        let nanoseconds = nanoseconds.min(999_999_999);
        if nanoseconds > 0 {
            let fraction = format!(".{nanoseconds:09}");
            text.push_str(fraction.trim_end_matches('0'));
        }
        text.push('Z');
        Date(text)
    }

    /// Whole seconds since 1970 and the nanoseconds above them.
    pub fn unix(&self) -> (i64, u32) {
        fields(&self.0).unwrap_or_default()
    }
}

/// Reads the timestamp into Unix seconds and nanoseconds; `None` when it is not one.
fn fields(text: &str) -> Option<(i64, u32)> {
    let bytes = text.as_bytes();
    if bytes.len() > 64 || !text.is_ascii() || bytes.len() < 20 {
        return None;
    }
    let shape = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if shape
        .iter()
        .any(|&(at, byte)| bytes[at].to_ascii_uppercase() != byte)
    {
        return None;
    }
    let (year, month, day) = (
        digits(text, 0, 4)?,
        digits(text, 5, 2)?,
        digits(text, 8, 2)?,
    );
    let (hour, minute) = (digits(text, 11, 2)?, digits(text, 14, 2)?);
    let second = digits(text, 17, 2)?;
    let in_calendar = (1..=12).contains(&month) && (1..=month_days(year, month)).contains(&day);
    if !in_calendar || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanoseconds, zone) = fraction(&text[19..])?;
    let local = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((local - offset(zone)?, nanoseconds))
}

fn digits(text: &str, from: usize, count: usize) -> Option<i64> {
    let part = text.get(from..from + count)?;
    part.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| part.parse().ok())?
}

/// Splits `.123…` from the zone; digits beyond nanoseconds are dropped.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    if end == 0 {
        return None;
    }
    let nano = format!("{:0<9.9}", &rest[..end]).parse().ok()?;
    Some((nano, &rest[end..]))
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.as_bytes() {
        [b'+', _, _, b':', _, _] => 1,
        [b'-', _, _, b':', _, _] => -1,
        _ => return None,
    };
    let (hours, minutes) = (digits(zone, 1, 2)?, digits(zone, 4, 2)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01, in the Gregorian calendar reckoned from a March that starts the year, so
/// that the leap day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The inverse of [`days`]: year, month, day.
fn civil(day: i64) -> (i64, i64, i64) {
    // An estimate that is never too late, corrected by the exact formula.
    let longest = if day < 0 { 365 } else { 366 };
    let mut year = 1970 + day.div_euclid(longest) - 1;
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let mut month = 12;
    while days(year, month, 1) > day {
        month -= 1;
    }
    (year, month, day - days(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        for good in [
            "2014-10-27T19:32:27.67021798Z",
            "2015-05-18T13:49:28.351729952-04:00",
            "2016-02-29t00:00:00z",
            "2016-12-31T23:59:60Z",
        ] {
            assert_eq!(Date::parse(good).unwrap(), good);
        }
        for bad in [
            "",
            "2015-05-18",
            "2015-05-18 13:49:28Z",
            "2015-02-29T00:00:00Z",
            "2015-13-01T00:00:00Z",
            "2015-05-18T24:00:00Z",
            "2015-05-18T13:49:28",
            "2015-05-18T13:49:28.Z",
            "2015-05-18T13:49:28+0400",
            "+015-05-18T13:49:28Z",
        ] {
            assert!(Date::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn unix_time_and_back() {
        assert_eq!(
            Date::parse("2015-05-18T13:49:28.351729952-04:00")
                .unwrap()
                .unix(),
            (1_431_971_368, 351_729_952)
        );
        assert_eq!(
            Date::from_unix(1_431_971_368, 351_729_950),
            "2015-05-18T17:49:28.35172995Z"
        );
        assert_eq!(Date::from_unix(0, 0), "1970-01-01T00:00:00Z");
        for seconds in (-62_167_219_200i64..253_402_300_799).step_by(86_400 * 37 + 12_345) {
            let date = Date::from_unix(seconds, 0);
            assert_eq!(Date::parse(&date).unwrap().unix().0, seconds, "{date}");
        }
    }
}
