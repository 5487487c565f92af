//! Parsing of durations, rates and percentages, and "did you mean".

use syn::{Error, LitStr, Result};

/// Returns the known word that is closest to `word`, if it is close enough to be a typo.
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
    ("d", DAY),
];

const DAY: u64 = 24 * 3_600_000_000_000;

/// Parses `"250ms"`, `"2s"` or `"1m30s"` to nanoseconds; at most 24 h.
fn duration(lit: &LitStr) -> Result<u64> {
    duration_up_to(lit, DAY)
}

/// Parses a duration of at most `longest` nanoseconds, or at most a day if `longest` is less.
///
/// The range check of the option gives a better message for durations below a day.
pub(crate) fn duration_up_to(lit: &LitStr, longest: u64) -> Result<u64> {
    let longest = longest.max(DAY);
    let text = lit.value();
    let fail = |message: String| Err(Error::new(lit.span(), message));
    let mut rest = text.trim();
    if rest.is_empty() {
        return fail("the duration is empty; write a whole number and a unit, as in `\"250ms\"`".into());
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
            return fail(format!("`{text}` has a fraction; use a smaller unit, as in `\"1500ms\"`"));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return fail(format!(
                "unknown time unit `{unit}`; expected one of `ns`, `us`, `ms`, `s`, `m`, `h`, `d`"
            ));
        };
        let span = number.parse().ok().and_then(|n: u64| n.checked_mul(*scale));
        total = match span.and_then(|span| total.checked_add(span)) {
            Some(sum) if sum <= longest => sum,
            _ if longest == DAY => return fail(format!("`{text}` is more than the maximum of 24 hours")),
            _ => return fail(format!("`{text}` is more than the maximum of {} days", longest / DAY)),
        };
        rest = next.trim_start();
    }
    Ok(total)
}

/// Named units of time of a rate, in seconds.
const NAMED: [(&str, u64); 7] =
    [("s", 1), ("sec", 1), ("m", 60), ("min", 60), ("h", 3600), ("d", 24 * 3600), ("day", 24 * 3600)];

/// Parses the unit of time of a rate to nanoseconds.
fn per(text: &str) -> Option<u64> {
    match NAMED.iter().find(|(name, _)| *name == text) {
        Some((_, seconds)) => Some(seconds * 1_000_000_000),
        None => duration(&LitStr::new(text, proc_macro2::Span::call_site())).ok(),
    }
}

/// Returns the count and the nanoseconds of a rate that [`rate`] has accepted.
pub(crate) fn rate_of(text: &str) -> Option<(u64, u64)> {
    let (count, span) = text.split_once('/')?;
    Some((count.parse().ok()?, per(span)?))
}

/// Checks a rate such as `"100/s"`, `"10/min"` or `"3/250ms"` and returns it in the form that the runtime parses.
pub(crate) fn rate(lit: &LitStr) -> Result<String> {
    let text = lit.value();
    let fail = |message: String| Err(Error::new(lit.span(), message));
    let malformed = || {
        fail(format!(
            "`{text}` is not a rate; write a number of calls and a unit of time, as in `\"100/s\"` or `\"10/min\"`"
        ))
    };
    let Some((count, per)) = text.split_once('/') else { return malformed() };
    let (count, per) = (count.trim(), per.trim());
    let Ok(number) = count.parse::<u32>() else { return malformed() };
    let Some(nanos) = self::per(per) else { return malformed() };
    if number == 0 || nanos == 0 {
        return fail(format!("the rate `{text}` admits no calls; it must be greater than zero"));
    }
    if u128::from(number) * 100 > u128::from(nanos) {
        return fail("the rate is too high; the maximum is 10000000 per second".into());
    }
    Ok(format!("{number}/{per}"))
}

/// Kind of quantity that a string contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// `"100/s"`
    Rate,
    /// `"3"`
    Count,
    /// `"50%"`
    Share,
    /// `"250ms"`
    Time,
    /// `"p95"`
    Percentile,
}

const TIMES: [&str; 26] = [
    "ns",
    "us",
    "µs",
    "ms",
    "s",
    "m",
    "h",
    "sec",
    "secs",
    "second",
    "seconds",
    "min",
    "mins",
    "minute",
    "minutes",
    "hr",
    "hrs",
    "hour",
    "hours",
    "milli",
    "millis",
    "millisecond",
    "milliseconds",
    "micros",
    "nanos",
    "msec",
];
const DAYS: [&str; 3] = ["d", "day", "days"];
const COUNTS: [&str; 11] = [
    "x", "times", "retries", "attempts", "tries", "calls", "requests", "permits", "threads", "failures",
    "errors",
];

/// Returns the kind of quantity if a string in the position of a name is a number followed by a unit.
pub(crate) fn quantity(text: &str) -> Option<Quantity> {
    let text = text.trim().to_lowercase();
    if text.strip_prefix('p').and_then(|rank| rank.parse::<f64>().ok()).is_some_and(|rank| rank <= 100.0) {
        return Some(Quantity::Percentile);
    }
    let text = text.trim_start_matches(['+', '-', '<', '>', '=', '~', ' ']);
    let is_digit = |c: char| c.is_ascii_digit() || matches!(c, '_' | ',' | '.');
    let digits = text.find(|c: char| !is_digit(c)).unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim());
    if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !number.contains(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    let is_time = |unit: &str| TIMES.contains(&unit) || DAYS.contains(&unit);
    let per = unit.split_once('/').or_else(|| unit.split_once("per "));
    if let Some((what, per)) = per {
        let per = per.trim().trim_start_matches(is_digit).trim();
        let is_rate = what.trim().chars().all(char::is_alphabetic) && is_time(per);
        return is_rate.then_some(Quantity::Rate);
    }
    if unit.is_empty() || COUNTS.contains(&unit) {
        return Some(Quantity::Count);
    }
    if matches!(unit, "%" | "percent") {
        return Some(Quantity::Share);
    }
    if matches!(unit, "rps" | "qps" | "tps" | "rpm" | "hz") {
        return Some(Quantity::Rate);
    }
    // `1m30s` has several units.
    let mut units =
        unit.split(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').filter(|unit| !unit.is_empty());
    units.all(|unit| TIMES.contains(&unit)).then_some(Quantity::Time)
}

/// Parses `"50%"` to 0.5.
pub(crate) fn percentage(lit: &LitStr) -> Result<f64> {
    let text = lit.value();
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err(Error::new(
            lit.span(),
            "expected a number from 0 to 1, such as `0.5`, or a percentage, such as `\"50%\"`",
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
    fn a_duration_is_one_or_more_numbers_with_units() {
        assert_eq!(parse("250ms"), Ok(250_000_000));
        assert_eq!(parse("1m30s"), Ok(90_000_000_000));
        assert_eq!(parse("1h 1ns"), Ok(3_600_000_000_001));
        assert_eq!(parse("24h"), Ok(DAY));
    }

    #[test]
    fn a_rate_is_a_number_and_a_unit_of_time() {
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
            ("1/1ns", "the maximum is 10000000"),
            ("1e3/s", "is not a rate"),
            ("4294967296/s", "is not a rate"),
            ("0/s", "admits no calls"),
            ("5/0s", "admits no calls"),
            ("20000000/s", "the maximum is 10000000"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn quantities_are_distinguished_from_names() {
        for (text, what) in [
            ("100/s", Quantity::Rate),
            ("100 / 5 s", Quantity::Rate),
            ("100 per second", Quantity::Rate),
            ("100req/min", Quantity::Rate),
            ("1_000/day", Quantity::Rate),
            ("50rps", Quantity::Rate),
            ("3", Quantity::Count),
            ("-3", Quantity::Count),
            ("1,000", Quantity::Count),
            ("0.5", Quantity::Count),
            ("3x", Quantity::Count),
            ("3 retries", Quantity::Count),
            ("50%", Quantity::Share),
            ("50 %", Quantity::Share),
            ("250ms", Quantity::Time),
            ("1m30s", Quantity::Time),
            ("2 seconds", Quantity::Time),
            ("1.5s", Quantity::Time),
            ("p95", Quantity::Percentile),
            ("p99.9", Quantity::Percentile),
        ] {
            assert_eq!(quantity(text), Some(what), "{text}");
        }
        for name in [
            "payment",
            "s3",
            "3ds",
            "2fa",
            "24/7",
            "1password",
            "db-1",
            "eu/s",
            "p",
            "pg",
            "v2",
            "http/2",
            "a/s",
            "10.0.0.1:80",
            "100/eu",
            "4chan",
            "_",
            ".",
            "%",
            "inf",
            "nan",
            "5xx",
            "3d",
        ] {
            assert_eq!(quantity(name), None, "{name}");
        }
    }

    #[test]
    fn duration_errors_explain_the_problem() {
        for (text, part) in [
            ("100", "has no unit; write `\"100ms\"`"),
            ("1m30", "has no unit"),
            ("100sec", "unknown time unit `sec`"),
            ("soon", "is not a duration"),
            ("1.5s", "has a fraction"),
            ("", "empty"),
            ("25h", "more than the maximum of 24 hours"),
            ("99999999999999999999s", "more than the maximum of 24 hours"),
            ("-1s", "is not a duration"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
