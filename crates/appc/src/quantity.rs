//! Quantities of resources, as Kubernetes writes them (specification, ace.md, "Resource
//! Isolators").

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;

/// The smallest unit kept: a billionth.
const NANO: i128 = 1_000_000_000;
/// The largest whole number a quantity stands for; larger ones are held here.
const MAX: i128 = i64::MAX as i128 * NANO;

/// An exact amount: `500m`, `1.5Gi`, `2G`, `1e9`, `250`. What is smaller than a billionth is
/// rounded away from zero, what is larger than 2^63-1 is held there, as Kubernetes does. Equal
/// amounts are equal however they are written; each is written back as it was read.
#[derive(Debug, Clone)]
pub struct Quantity {
    nano: i128,
    text: String,
}

impl Quantity {
    /// Reads a quantity: `[+-]DIGITS[.DIGITS][SUFFIX]`, the suffix one of `n u m k K M G T P E`,
    /// `Ki Mi Gi Ti Pi Ei` or an exponent `e3`, `E-3`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match nano(text) {
            Some(nano) => Ok(Quantity {
                nano,
                text: text.to_owned(),
            }),
            None => Err(Error::value(
                "quantity",
                text,
                "must be a number such as 500m, 1.5Gi, 2G or 1e9",
            )),
        }
    }

    /// A whole number of base units, such as bytes.
    pub fn from_value(value: i64) -> Self {
        Quantity {
            nano: i128::from(value) * NANO,
            text: value.to_string(),
        }
    }

    /// Thousandths of the base unit, such as `500m` of a core.
    pub fn from_milli(milli: i64) -> Self {
        Quantity {
            nano: i128::from(milli) * (NANO / 1000),
            text: format!("{milli}m"),
        }
    }

    /// The amount in whole base units, rounded up.
    pub fn value(&self) -> i64 {
        ceil(self.nano, NANO)
    }

    /// The amount in thousandths, rounded up and held in the range of an `i64`.
    pub fn milli_value(&self) -> i64 {
        ceil(self.nano, NANO / 1000)
    }

    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Division that rounds towards positive infinity, held in the range of the result.
fn ceil(amount: i128, unit: i128) -> i64 {
    let whole = amount.div_euclid(unit) + i128::from(amount.rem_euclid(unit) != 0);
    i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
}

/// The amount in billionths; `None` when the text is not a quantity.
fn nano(text: &str) -> Option<i128> {
    if text.len() > 64 {
        return None;
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (factor, exponent) = scale(suffix)?;
    let digits: Vec<i128> = whole
        .bytes()
        .chain(fraction.bytes())
        .map(|d| i128::from(d - b'0'))
        .collect();
    // A power of ten only moves the point.
    let point = whole.len() as i64 + exponent;
    Some(sign * amount(&digits, point, factor * NANO).min(MAX))
}

/// The number with `digits` and its point before the digit `point`, times `unit`, rounded up.
fn amount(digits: &[i128], point: i64, unit: i128) -> i128 {
    let digit = |i: i64| {
        usize::try_from(i)
            .ok()
            .and_then(|i| digits.get(i))
            .copied()
            .unwrap_or(0)
    };
    let mut whole = 0i128;
    for i in 0..point {
        whole = whole * 10 + digit(i);
        if whole * NANO > MAX {
            return MAX;
        }
    }
    // From the last digit to the point: a floor of floors is the floor of the whole, so the only
    // thing to remember is whether anything was cut off.
    let (mut part, mut cut) = (0i128, false);
    for i in (point..digits.len() as i64).rev() {
        let sum = part + digit(i) * unit;
        cut |= sum % 10 != 0;
        part = sum / 10;
    }
    whole
        .saturating_mul(unit)
        .saturating_add(part + i128::from(cut))
}

/// A suffix as a factor and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i64)> {
    let ten = |power| Some((1, power));
    let two = |power: u32| Some((1i128 << power, 0));
    match suffix {
        "" => ten(0),
        "n" => ten(-9),
        "u" => ten(-6),
        "m" => ten(-3),
        "k" | "K" => ten(3),
        "M" => ten(6),
        "G" => ten(9),
        "T" => ten(12),
        "P" => ten(15),
        "E" => ten(18),
        "Ki" => two(10),
        "Mi" => two(20),
        "Gi" => two(30),
        "Ti" => two(40),
        "Pi" => two(50),
        "Ei" => two(60),
        _ => {
            let power: i64 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            // With at most 64 digits, everything beyond is the largest or the smallest amount.
            ten(power.clamp(-200, 200))
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.text)
    }
}

impl std::str::FromStr for Quantity {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Quantity::parse(text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    /// A string; a bare number too, as the original accepted.
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a quantity: a string or a number")]
        enum Written {
            Text(String),
            Number(serde_json::Number),
        }
        let text = match Written::deserialize(reader)? {
            Written::Text(text) => text,
            Written::Number(number) => number.to_string(),
        };
        Quantity::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(text: &str) -> Quantity {
        Quantity::parse(text).unwrap()
    }

    #[test]
    fn suffixes_of_the_specification() {
        for same in [
            "128974848",
            "125952Ki",
            "123Mi",
            "128974848e0",
            "0.128974848G",
            "128974848000m",
        ] {
            assert_eq!(q(same).value(), 128_974_848, "{same}");
            assert_eq!(q(same), q("123Mi"));
            assert_eq!(q(same).to_string(), same);
        }
        assert_eq!(q("300m").milli_value(), 300);
        assert_eq!(q("0.3"), q("300m"));
        assert_eq!(q("1.5Gi").value(), 3 << 29);
        assert_eq!(q("1K").value(), 1000);
        assert_eq!(q("1E").value(), 1_000_000_000_000_000_000);
        assert_eq!(q("1E3").value(), 1000);
        assert_eq!(q("+.5e1").value(), 5);
        assert_eq!(q("5.").value(), 5);
    }

    #[test]
    fn values_round_up() {
        assert_eq!(q("1m").value(), 1);
        assert_eq!(q("-1m").value(), 0);
        assert_eq!(q("-1001m").value(), -1);
        assert_eq!(q("1u").milli_value(), 1);
        assert_eq!(q("0.0000000001"), q("1n"));
        assert_eq!(q("1e-300"), q("1n"));
        assert_eq!(q("0e300").value(), 0);
        // 2^60 * 0.1 has a remainder below a billionth that must not be lost.
        assert_eq!(q("0.1Ei").value(), (1i64 << 60) / 10 + 1);
        assert_eq!(q("0.00000000000000000000000000000001Ei"), q("1n"));
    }

    #[test]
    fn large_amounts_are_held() {
        for large in [
            "8Ei",
            "9223372036854775807",
            "9223372036854775808",
            "1e300",
            "99999999999999999999E",
            "7.99999999999999999999999999999Ei",
        ] {
            assert_eq!(q(large).value(), i64::MAX, "{large}");
            assert_eq!(q(large).milli_value(), i64::MAX, "{large}");
        }
        assert_eq!(q("-1e300").value(), -i64::MAX);
        assert_eq!(q("9223372036854775806").value(), i64::MAX - 1);
    }

    #[test]
    fn what_is_not_a_quantity() {
        for bad in [
            "",
            "-",
            ".",
            "G",
            "1.2.3",
            "1 G",
            "1g",
            "1KiB",
            "1e",
            "1e1.5",
            "0x10",
            "1Ki2",
            "--1",
            "１",
            &"1".repeat(65),
        ] {
            assert!(Quantity::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn json_takes_strings_and_numbers() {
        assert_eq!(
            serde_json::from_str::<Quantity>("\"1Ki\"").unwrap().value(),
            1024
        );
        assert_eq!(
            serde_json::from_str::<Quantity>("1024").unwrap().value(),
            1024
        );
        assert!(serde_json::from_str::<Quantity>("[]").is_err());
    }
}
