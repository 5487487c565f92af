//! `resilient events`

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resilient_runtime::Kind;
use serde_json::{Value, json};

use super::Run;
use crate::api::{Api, Message};
use crate::duration;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Span, Tone};
use crate::session::Session;
use crate::stats::{text, tone};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Follow the events of all components
///
/// Reconnects if the connection is lost. Press Ctrl-C to stop. The time is when the event arrived here, in UTC.
#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    /// Only events of components of this kind, such as `circuit_breaker`; can be repeated
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    kind: Vec<Kind>,
    /// Only events with this name, such as `transition`; can be repeated
    #[arg(long, value_delimiter = ',', value_name = "EVENT")]
    event: Vec<String>,
    /// Only events of the component with this name
    #[arg(long)]
    name: Option<String>,
    /// Stop after this many events
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

fn kind(text: &str) -> Result<Kind, String> {
    text.parse().map_err(|error: resilient_runtime::UnknownKind| error.to_string())
}

impl Run for Events {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let api = session.api()?;
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut pause = FIRST_PAUSE;
        let mut was_connected = false;
        loop {
            match self.follow(session, &api, &mut left, was_connected) {
                Ok(()) => return Ok(ExitCode::SUCCESS),
                Err(Ended::Output(failure)) => return Err(failure),
                Err(Ended::Connection(failure)) => {
                    // Without a first connection, the URL is probably wrong. A rejected token does not become valid.
                    if !was_connected || failure.exit != Exit::Unreachable {
                        return Err(failure);
                    }
                }
                Err(Ended::Lost) => {
                    session.note("connection lost; reconnecting, and events in between are missing");
                    was_connected = true;
                    pause = FIRST_PAUSE;
                }
            }
            sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Why one connection ended.
enum Ended {
    /// The events can no longer be printed.
    Output(Failure),
    /// There was no connection.
    Connection(Failure),
    Lost,
}

impl Events {
    /// Prints the events of one connection. Returns if enough events were printed.
    fn follow(&self, session: &Session, api: &Api, left: &mut u64, again: bool) -> Result<(), Ended> {
        let mut messages = api.events().map_err(Ended::Connection)?;
        while let Some(message) = messages.next().map_err(Ended::Output)? {
            match message {
                Message::Started if again => session.note("connected again"),
                Message::Started => session.note(&format!("listening to {}; Ctrl-C stops", api.base())),
                Message::Lost(count) => session.warn(&format!(
                    "{count} events were lost, because they arrive faster than they are printed"
                )),
                Message::Event(event) if self.wants(&event) => {
                    print(session, event).map_err(Ended::Output)?;
                    *left -= 1;
                    if *left == 0 {
                        return Ok(());
                    }
                }
                Message::Event(_) | Message::End => {}
            }
        }
        Err(Ended::Lost)
    }

    fn wants(&self, event: &Value) -> bool {
        let is_one_of = |wanted: &[&str], value: &str| wanted.is_empty() || wanted.contains(&value);
        let kinds: Vec<_> = self.kind.iter().map(|kind| kind.as_str()).collect();
        let events: Vec<_> = self.event.iter().map(String::as_str).collect();
        is_one_of(&kinds, text(event, "kind"))
            && is_one_of(&events, text(&event["what"], "event"))
            && self.name.as_ref().is_none_or(|name| name == text(event, "component"))
    }
}

fn print(session: &Session, mut event: Value) -> Result<(), Failure> {
    let received = utc(SystemTime::now());
    if session.is_json() {
        if let Some(event) = event.as_object_mut() {
            event.insert("received".into(), json!(received));
        }
        // One line for each event, also on a terminal.
        return session.out.json_line(&event);
    }
    let what = &event["what"];
    let name = text(what, "event");
    let time = received.get(11..).unwrap_or_default();
    let component = format!("{} {}", text(&event, "kind"), text(&event, "component"));
    let details = details(what);
    session.out.line([
        Span::new(Tone::Faint, time),
        format!("  {component}  ").into(),
        Span::new(event_tone(what), name),
        (if details.is_empty() { String::new() } else { format!("  {details}") }).into(),
    ])
}

fn event_tone(what: &Value) -> Tone {
    match text(what, "event") {
        "transition" => tone(text(what, "to")),
        "health_changed" => tone(text(what, "status")),
        "alert_changed" => what["severity"].as_str().map_or(Tone::Good, tone),
        "fallback_failed" | "store_failed" | "settings_refused" | "lease_lost" | "shared_opened" => Tone::Bad,
        "rejected" | "fallback_missed" | "budget_exhausted" | "shedding" | "unsaved" | "operator_action" => {
            Tone::Warning
        }
        _ => Tone::Strong,
    }
}

/// The members of an event besides its name: `from=closed to=open error="refused"`.
pub(crate) fn details(what: &Value) -> String {
    let members = what.as_object().into_iter().flatten();
    let members = members.filter(|(key, value)| *key != "event" && !value.is_null());
    members.map(|(key, value)| format!("{key}={}", plain(value))).collect::<Vec<_>>().join(" ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains(' ') => format!("{text:?}"),
        Value::String(text) => text.clone(),
        Value::Object(members) => {
            match (members.get("secs").and_then(Value::as_f64), members.get("nanos").and_then(Value::as_f64))
            {
                (Some(seconds), Some(nanos)) => duration::short(seconds + nanos / 1e9),
                _ => {
                    let members = members.iter().map(|(key, value)| format!("{key}={}", plain(value)));
                    format!("({})", members.collect::<Vec<_>>().join(" "))
                }
            }
        }
        Value::Array(values) => format!("[{}]", values.iter().map(plain).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// Formats a time as in RFC 3339: `2026-11-30T21:22:10Z`.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`: years begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_printed_in_utc() {
        let at = |seconds| utc(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_796_073_730), "2026-11-30T21:22:10Z");
    }

    #[test]
    fn the_details_of_an_event_are_on_one_line() {
        let what = json!({ "event": "retrying", "attempt": 2, "delay": { "secs": 0, "nanos": 20_000_000 }, "error": "connection refused" });
        assert_eq!(details(&what), r#"attempt=2 delay=20ms error="connection refused""#);
        let what = json!({ "event": "transition", "from": "closed", "reason": { "rule": "failure_rate", "limit": 0.5 }, "to": "open", "gone": null });
        assert_eq!(details(&what), "from=closed reason=(limit=0.5 rule=failure_rate) to=open");
    }
}
