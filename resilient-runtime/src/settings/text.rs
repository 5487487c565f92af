//! Durations as text, in the same format as in the attribute.

use std::time::Duration;

const UNITS: [(&str, u64); 8] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoDuration {
    #[error("a duration needs a unit: ns, us, ms, s, m, h or d, as in \"250ms\" or \"1m30s\"")]
    NoUnit,
    #[error("not a duration; write whole numbers with units, as in \"250ms\" or \"1m30s\"")]
    Malformed,
    #[error("the duration is longer than 584 years")]
    TooLong,
}

/// Parses a duration such as `250ms` or `1m30s`: whole numbers, each with a unit.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, NoDuration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(NoDuration::Malformed);
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        if number.is_empty() {
            return Err(NoDuration::Malformed);
        }
        if unit.trim().is_empty() {
            return Err(NoDuration::NoUnit);
        }
        let scale = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, scale)| *scale);
        let scale = scale.ok_or(NoDuration::Malformed)?;
        let span = number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale));
        total = span.and_then(|span| total.checked_add(span)).ok_or(NoDuration::TooLong)?;
        rest = next.trim_start();
    }
    Ok(Duration::from_nanos(total))
}

/// Formats a span so that [`parse_duration`] can read it.
pub(crate) fn duration_text(span: Duration) -> String {
    let mut rest = crate::clock::nanos(span);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, scale) in UNITS.into_iter().filter(|(unit, _)| *unit != "µs" && *unit != "d") {
        if rest >= scale {
            text.push_str(&(rest / scale).to_string());
            text.push_str(unit);
            rest %= scale;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip_as_text() {
        for text in ["250ms", "1m30s", "24h", "1h1ns", "0s", "1s500ms", "7us"] {
            assert_eq!(duration_text(parse_duration(text).unwrap()), text);
        }
        assert_eq!(parse_duration(" 2 d "), Ok(Duration::from_hours(48)));
        assert_eq!(duration_text(Duration::MAX), duration_text(Duration::from_nanos(u64::MAX)));
    }

    #[test]
    fn invalid_durations_are_refused() {
        assert_eq!(parse_duration("100"), Err(NoDuration::NoUnit));
        assert_eq!(parse_duration("1m30"), Err(NoDuration::NoUnit));
        for text in ["", " ", "soon", "-1s", "1.5s", "1x", "s", "1e3s", "\u{661}s"] {
            assert_eq!(parse_duration(text), Err(NoDuration::Malformed), "{text}");
        }
        assert_eq!(parse_duration("99999999999999999999s"), Err(NoDuration::TooLong));
        assert_eq!(parse_duration("18446744073709551615ns1ns"), Err(NoDuration::TooLong));
    }
}
