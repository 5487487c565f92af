//! Durations in options and in output.

use std::time::Duration;

/// Parses a duration such as `500ms`, `5s` or `2m`, from 1 ms to 1 h.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err("expected a number with a unit, such as `500ms`, `5s` or `2m`".into()),
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match millis {
        Some(millis @ 1..=3_600_000) => Ok(Duration::from_millis(millis)),
        _ => Err("out of range: expected 1ms to 60m".into()),
    }
}

/// Formats seconds with about three digits: `1.8ms`, `354ms`, `2.0s`, `5m03s`, `3h12m`, `9d`.
pub(crate) fn short(seconds: f64) -> String {
    // NaN and infinity come only from a service that is not ours.
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".into();
    }
    match seconds {
        0.0 => "0".into(),
        s if s < 0.000_999_5 => format!("{:.0}us", s * 1e6),
        s if s < 0.009_995 => format!("{:.1}ms", s * 1e3),
        s if s < 0.9995 => format!("{:.0}ms", s * 1e3),
        s if s < 59.95 => format!("{s:.1}s"),
        s => long(s),
    }
}

fn long(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, and the value is positive
    let seconds = seconds.round() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match days {
        0 if hours == 0 => format!("{minutes}m{:02}s", seconds % 60),
        0 => format!("{hours}h{:02}m", minutes % 60),
        1..=9999 => format!("{days}d"),
        _ => ">9999d".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_unit_and_has_bounds() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse(" 2m "), Ok(Duration::from_mins(2)));
        for wrong in
            ["5", "s", "-1s", "1h", "0s", "61m", "99999999999999999999s", "18446744073709551615m", "1.5s", ""]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_short_at_every_magnitude() {
        let cases = [
            (0.0, "0"),
            (0.000_012, "12us"),
            (0.001_859, "1.9ms"),
            (0.009_999, "10ms"),
            (0.354, "354ms"),
            (0.9999, "1.0s"),
            (1.5, "1.5s"),
            (59.99, "1m00s"),
            (303.0, "5m03s"),
            (11_520.0, "3h12m"),
            (800_000.0, "9d"),
            (1e300, ">9999d"),
            (f64::NAN, "?"),
            (-1.0, "?"),
        ];
        for (seconds, text) in cases {
            assert_eq!(short(seconds), text);
        }
    }
}
