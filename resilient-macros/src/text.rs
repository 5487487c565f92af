//! Durations, shares, and "did you mean".

use syn::{Error, LitStr, Result};

/// The known word that is nearest to `word`, if it is near enough to be meant.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.into_iter().map(|name| (strsim::levenshtein(word, name), name));
    distances.filter(|(distance, name)| *distance <= 1 + name.len() / 4).min().map(|(_, name)| name)
}

const UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

const DAY: u64 = 24 * 3_600_000_000_000;

/// `"250ms"`, `"2s"`, `"1m30s"` to nanoseconds; at most 24 h.
pub(crate) fn duration(lit: &LitStr) -> Result<u64> {
    let text = lit.value();
    let fail = |message: String| Err(Error::new(lit.span(), message));
    let mut rest = text.trim();
    if rest.is_empty() {
        return fail("an empty duration; write a number and a unit, as in `\"250ms\"`".into());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        if number.is_empty() {
            return fail(format!(
                "`{text}` is not a duration; write a whole number and a unit, as in `\"250ms\"`"
            ));
        }
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let unit = unit.trim();
        if unit.is_empty() {
            return fail(format!("`{text}` has no unit; write `\"{text}ms\"` or `\"{text}s\"`"));
        }
        if unit.starts_with('.') {
            return fail(format!("`{text}` has a fraction; write it in a smaller unit, as in `\"1500ms\"`"));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return fail(format!(
                "unknown time unit `{unit}`; expected one of `ns`, `us`, `ms`, `s`, `m`, `h`"
            ));
        };
        let span = number.parse().ok().and_then(|n: u64| n.checked_mul(*scale));
        total = match span.and_then(|span| total.checked_add(span)) {
            Some(sum) if sum <= DAY => sum,
            _ => return fail(format!("`{text}` is more than 24 hours")),
        };
        rest = next.trim_start();
    }
    Ok(total)
}

/// The times of a rate that have a name, in seconds.
const NAMED: [(&str, u64); 7] =
    [("s", 1), ("sec", 1), ("m", 60), ("min", 60), ("h", 3600), ("d", 24 * 3600), ("day", 24 * 3600)];

/// The time of a rate in nanoseconds.
fn per(text: &str) -> Option<u64> {
    match NAMED.iter().find(|(name, _)| *name == text) {
        Some((_, seconds)) => Some(seconds * 1_000_000_000),
        None => duration(&LitStr::new(text, proc_macro2::Span::call_site())).ok(),
    }
}

/// The count and the nanoseconds of what [`rate`] has read.
pub(crate) fn rate_of(text: &str) -> Option<(u64, u64)> {
    let (count, span) = text.split_once('/')?;
    Some((count.parse().ok()?, per(span)?))
}

/// `"100/s"`, `"10/min"`, `"3/250ms"`, as the runtime reads them.
pub(crate) fn rate(lit: &LitStr) -> Result<String> {
    let text = lit.value();
    let fail = |message: String| Err(Error::new(lit.span(), message));
    let malformed = || {
        fail(format!("`{text}` is not a rate; write a count and a time, as in `\"100/s\"` or `\"10/min\"`"))
    };
    let Some((count, per)) = text.split_once('/') else { return malformed() };
    let (count, per) = (count.trim(), per.trim());
    let Ok(number) = count.parse::<u32>() else { return malformed() };
    let Some(nanos) = self::per(per) else { return malformed() };
    if number == 0 || nanos == 0 {
        return fail(format!("a rate of `{text}` would admit no call"));
    }
    if u128::from(number) * 100 > u128::from(nanos) {
        return fail("a rate is at most 10000000 in a second".into());
    }
    Ok(format!("{number}/{per}"))
}

/// `"50%"` to 0.5.
pub(crate) fn percentage(lit: &LitStr) -> Result<f64> {
    let text = lit.value();
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err(Error::new(
            lit.span(),
            "a share is a number from 0 to 1, such as `0.5`, or a percentage, such as `\"50%\"`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> std::result::Result<u64, String> {
        duration(&LitStr::new(text, proc_macro2::Span::call_site())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_duration_is_numbers_with_units() {
        assert_eq!(parse("250ms"), Ok(250_000_000));
        assert_eq!(parse("1m30s"), Ok(90_000_000_000));
        assert_eq!(parse("1h 1ns"), Ok(3_600_000_000_001));
        assert_eq!(parse("24h"), Ok(DAY));
    }

    #[test]
    fn a_rate_is_a_count_and_a_time() {
        let read = |text: &str| rate(&LitStr::new(text, proc_macro2::Span::call_site()));
        assert_eq!(read("100 / s").unwrap(), "100/s");
        assert_eq!(read("3/250ms").unwrap(), "3/250ms");
        assert_eq!(read("1000000/day").unwrap(), "1000000/day");
        assert_eq!(rate_of("1000000/day"), Some((1_000_000, DAY)));
        for (text, part) in [
            ("100", "is not a rate"),
            ("100/", "is not a rate"),
            ("-1/s", "is not a rate"),
            ("NaN/s", "is not a rate"),
            ("1/5", "is not a rate"),
            ("1/ns", "is not a rate"),
            ("1/1ns", "at most 10000000"),
            ("1e3/s", "is not a rate"),
            ("4294967296/s", "is not a rate"),
            ("0/s", "would admit no call"),
            ("5/0s", "would admit no call"),
            ("20000000/s", "at most 10000000"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_duration_is_said() {
        for (text, part) in [
            ("100", "has no unit; write `\"100ms\"`"),
            ("1m30", "has no unit"),
            ("100sec", "unknown time unit `sec`"),
            ("soon", "is not a duration"),
            ("1.5s", "has a fraction"),
            ("", "empty"),
            ("25h", "more than 24 hours"),
            ("99999999999999999999s", "more than 24 hours"),
            ("-1s", "is not a duration"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
