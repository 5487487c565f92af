//! Figures of the answer of `/stats`.

use serde_json::Value;

use crate::output::Tone;

/// Returns a number of a JSON object by its pointer, such as `/latency/p99`. A missing number is 0.
pub(crate) fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0)
}

/// Returns a text of a JSON object. A missing text is empty.
pub(crate) fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

/// The members of an object, in alphabetical order.
pub(crate) fn members<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    value[field].as_object().into_iter().flatten()
}

/// How the calls of an operation ended, by what the caller saw.
///
/// The numbers are floating point because they come from JSON of any service, and are used for shares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Endings {
    pub(crate) calls: f64,
    /// The result of the function.
    pub(crate) ok: f64,
    /// The result of a fallback.
    pub(crate) degraded: f64,
    /// An error, a timeout or a panic.
    pub(crate) failed: f64,
    /// A rejection, such as an open circuit.
    pub(crate) refused: f64,
}

impl Endings {
    /// Reads the statistics of an operation.
    pub(crate) fn of(operation: &Value) -> Self {
        let sum =
            |fields: &[&str]| fields.iter().map(|field| operation[*field].as_f64().unwrap_or(0.0)).sum();
        Self {
            calls: sum(&["calls"]),
            ok: sum(&["succeeded", "ignored"]),
            degraded: sum(&["fell_back"]),
            failed: sum(&["failed", "timed_out", "panicked"]),
            refused: sum(&["rejected"]),
        }
    }

    /// Returns the calls since an earlier snapshot. If the service restarted in between, these are all its calls.
    pub(crate) fn since(self, earlier: Self) -> Self {
        if self.calls < earlier.calls {
            return self;
        }
        let rest = |now: f64, then: f64| (now - then).max(0.0);
        Self {
            calls: rest(self.calls, earlier.calls),
            ok: rest(self.ok, earlier.ok),
            degraded: rest(self.degraded, earlier.degraded),
            failed: rest(self.failed, earlier.failed),
            refused: rest(self.refused, earlier.refused),
        }
    }

    pub(crate) fn ended(self) -> f64 {
        self.ok + self.degraded + self.failed + self.refused
    }

    /// Shares of the ended calls: ok, degraded, failed, refused. `None` if no call ended.
    pub(crate) fn shares(self) -> Option<[f64; 4]> {
        let ended = self.ended();
        (ended > 0.0).then(|| [self.ok, self.degraded, self.failed, self.refused].map(|part| part / ended))
    }
}

/// Formats a share as a percentage. A small share is never shown as 0, and only a whole one as 100.
pub(crate) fn percent(share: f64) -> String {
    match share * 100.0 {
        p if !p.is_finite() => "?".into(),
        p if p <= 0.0 => "0%".into(),
        p if p < 0.1 => "<0.1%".into(),
        p if p < 9.95 => format!("{p:.1}%"),
        p if p < 99.0 => format!("{p:.0}%"),
        p if p < 100.0 => format!("{:.1}%", p.min(99.9)),
        _ => "100%".into(),
    }
}

/// Formats a count with at most six characters: `982`, `12.3k`, `4.5M`.
pub(crate) fn count(number: f64) -> String {
    match number {
        n if !n.is_finite() || n < 0.0 => "?".into(),
        n if n < 10_000.0 => format!("{n:.0}"),
        n if n < 99_950.0 => format!("{:.1}k", n / 1e3),
        n if n < 999_500.0 => format!("{:.0}k", n / 1e3),
        n if n < 99.95e6 => format!("{:.1}M", n / 1e6),
        n if n < 999.5e6 => format!("{:.0}M", n / 1e6),
        n if n < 999.5e9 => format!("{:.0}G", n / 1e9),
        n if n < 999.5e12 => format!("{:.0}T", n / 1e12),
        _ => ">999T".into(),
    }
}

/// Formats calls per second: `0.2`, `19.8`, `1.2k`.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 99.95 {
        if per_second < 0.05 { "<0.1".into() } else { format!("{per_second:.1}") }
    } else {
        count(per_second)
    }
}

/// The text of the last error in the statistics of a component or an operation.
pub(crate) fn error_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        _ => ["text", "error", "message"].iter().find_map(|field| value[*field].as_str()),
    }
}

/// Why a circuit opened. Empty if it is not open, or if the rule is unknown.
pub(crate) fn open_reason(reason: &Value) -> String {
    let figure = |field: &str| count(reason[field].as_f64().unwrap_or(f64::NAN));
    let share = |field: &str| percent(reason[field].as_f64().unwrap_or(f64::NAN));
    match text(reason, "rule") {
        "failure_rate" => {
            format!("{} of {} calls failed, limit {}", share("observed"), figure("calls"), share("limit"))
        }
        "slow_rate" => {
            format!("{} of {} calls were slow, limit {}", share("observed"), figure("calls"), share("limit"))
        }
        "consecutive" => format!("{} failures in a row", figure("failures")),
        "slow_in_flight" => format!("{} calls in flight are slow already", figure("calls")),
        "probes_failed" => format!("{} of {} probes failed", figure("failed"), figure("ended")),
        "forced" => "forced open by an operator".into(),
        _ => String::new(),
    }
}

/// The colour of a state, a status or a severity.
pub(crate) fn tone(state: &str) -> Tone {
    match state {
        "closed" | "pass" => Tone::Good,
        "half_open" | "forced_closed" | "disabled" | "warn" | "warning" | "unknown" => Tone::Warning,
        "open" | "forced_open" | "fail" | "critical" => Tone::Bad,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endings_are_what_the_caller_saw() {
        let operation = json!({
            "calls": 21, "succeeded": 5, "ignored": 1, "fell_back": 4, "failed": 1, "timed_out": 1, "panicked": 1, "rejected": 2,
        });
        let endings = Endings::of(&operation);
        assert_eq!((endings.ok, endings.degraded, endings.failed, endings.refused), (6.0, 4.0, 3.0, 2.0));
        assert_eq!(endings.shares().unwrap().map(percent), ["40%", "27%", "20%", "13%"]);
        assert_eq!(Endings::of(&json!({ "calls": "many", "failed": null })), Endings::default());
        assert_eq!(Endings::default().shares(), None);
    }

    #[test]
    fn a_restart_of_the_service_starts_from_zero() {
        let of = |calls: u32| Endings::of(&json!({ "calls": calls, "succeeded": calls }));
        assert_eq!(of(30).since(of(10)), of(20));
        assert_eq!(of(3).since(of(10)), of(3));
    }

    #[test]
    fn a_small_share_is_never_shown_as_nothing_or_as_everything() {
        let cases =
            [(0.0, "0%"), (0.0001, "<0.1%"), (0.012, "1.2%"), (0.5, "50%"), (0.9999, "99.9%"), (1.0, "100%")];
        for (share, text) in cases {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn a_number_has_at_most_six_characters_whatever_the_service_sends() {
        for number in [0.0, 9_999.0, 10_000.0, 99_949.0, 999_499.0, 1e6, 1.8e19, f64::MAX, f64::NAN, -5.0] {
            assert!(count(number).chars().count() <= 6, "{}", count(number));
            assert!(rate(number).chars().count() <= 6, "{}", rate(number));
        }
        assert_eq!(
            (count(12_345.0).as_str(), rate(0.01).as_str(), rate(19.84).as_str()),
            ("12.3k", "<0.1", "19.8")
        );
    }
}
