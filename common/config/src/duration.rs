//! Durations as Go writes them (`metav1.Duration`): `90s`, `1m30s`, `1.5h`, `0`.

use std::time::Duration;

/// Nanoseconds of each unit, longer names first so that `ms` is not read as `m`.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration of zero or more. `None` for anything else, for negative ones and for
/// those beyond the 292 years that Go can hold.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (nanos, after) = component(rest)?;
        total = total.checked_add(nanos).filter(|t| i64::try_from(*t).is_ok())?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_nanos(total))
}

/// One number with its unit, and what follows.
fn component(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(end);
    let (unit, after) = UNITS.iter().find_map(|(name, nanos)| Some((*nanos, rest.strip_prefix(name)?)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    Some((whole.checked_mul(unit)?.checked_add(part_of(unit, fraction))?, after))
}

/// `fraction` decimal digits of a unit, cut off below a nanosecond.
fn part_of(unit: u64, fraction: &str) -> u64 {
    let mut nanos: u128 = 0;
    let mut scale: u128 = 1;
    // Beyond 20 digits nothing adds a nanosecond even to an hour.
    for digit in fraction.bytes().take(20) {
        scale *= 10;
        nanos = nanos * 10 + u128::from(digit - b'0');
    }
    u64::try_from(nanos * u128::from(unit) / scale).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        let table = [
            ("0", 0),
            ("0s", 0),
            ("90s", 90_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("100ms", 100_000_000),
            ("2us3ns", 2_003),
            ("2µs", 2_000),
            ("1h0m0s", 3_600_000_000_000),
        ];
        for (text, nanos) in table {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn nonsense_is_no_duration() {
        for text in
            ["", "90", "s", ".s", "-1s", "+1s", "1.2.3s", "1 s", "1d", "99999999999h", "1sm", "1s ", "１s"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_text_of_the_right_letters_is_read_or_refused(text in "[0-9.nuµmsh]{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn whole_seconds_read_back(seconds in 0_u64..1_000_000_000) {
            prop_assert_eq!(parse(&format!("{seconds}s")), Some(Duration::from_secs(seconds)));
        }
    }
}
