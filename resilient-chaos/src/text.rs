//! Durations and near names in texts.

use std::time::Duration;

/// Returns the name in `known` that is closest to `word`, if it is close enough.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The cost is the product of the lengths, and no known name is close to a word this long.
    if word.len() > 256 {
        return None;
    }
    let word = word.to_lowercase();
    let near = |name: &'a str| {
        let distance = strsim::levenshtein(&word, &name.to_lowercase());
        (distance <= 2 + name.len() / 4).then_some((distance, name))
    };
    known.into_iter().filter_map(near).min().map(|(_, name)| name)
}

/// Returns `; did you mean ..` with the nearest name, the list of known names, or that there is none.
pub(crate) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 12;
    let known: Vec<_> = known.into_iter().collect();
    if let Some(near) = nearest(word, known.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    if known.is_empty() {
        return "there is none yet".to_owned();
    }
    let more = if known.len() > MOST { ", .." } else { "" };
    let listed: Vec<_> = known.iter().take(MOST).map(|name| format!("`{name}`")).collect();
    format!("expected one of {}{more}", listed.join(", "))
}

/// Parses a duration with units, such as `250ms` or `1m30s`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 7] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let unit = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters])?.1;
        nanos = nanos.checked_add(number.checked_mul(unit)?)?;
        rest = rest[letters..].trim_start();
    }
    Some(Duration::from_nanos(nanos))
}

/// Formats a duration for people: `300 ms`, `2.5 s`, `1 min 30 s`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    if seconds < 0.001 && !span.is_zero() {
        return format!("{:.0} µs", seconds * 1e6);
    }
    if seconds < 1.0 {
        return format!("{} ms", span.as_millis());
    }
    if seconds < 60.0 {
        let text = format!("{seconds:.1}");
        return format!("{} s", text.strip_suffix(".0").unwrap_or(&text));
    }
    let (minutes, rest) = (span.as_secs() / 60, span.as_secs() % 60);
    match (minutes / 60, minutes % 60, rest) {
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, rest) => format!("{minutes} min {rest} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Formats a share for people: `10 %`, `99.5 %`.
pub(crate) fn share(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

/// Formats a number with at most two decimals for people.
pub(crate) fn number(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Replaces characters that a reader does not see, or that change the order of the text around them: control
/// characters, and the embeddings, overrides and isolates of bidirectional text. A line break becomes a space.
pub(crate) fn visible(text: &str) -> String {
    let replace = |c: char| match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(replace).collect()
}

/// Returns whether `name` matches `pattern`, in which `*` stands for any characters.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_units_and_do_not_overflow() {
        assert_eq!(parse_duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration(" 250 ms "), Some(Duration::from_millis(250)));
        for bad in ["", "5", "s", "5 parsecs", "-1s", "99999999999999999999s", "18446744073709551615h", "1µ"]
        {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_read_well() {
        let texts =
            [(300, "300 ms"), (2500, "2.5 s"), (90_000, "1 min 30 s"), (3_600_000, "1 h"), (0, "0 ms")];
        for (millis, text) in texts {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, is) in [
            ("charge", "charge", true),
            ("charge", "charges", false),
            ("shop::*", "shop::pay", true),
            ("*", "", true),
            ("*pay*", "shop::pay::now", true),
            ("a*a", "a", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
    }
}
