//! What a team does after a game day.

use super::GameDayReport;
use crate::report::{CLOSE, Outcome, Report};
use crate::text::share;

/// Returns the next steps of the team: what failed first, then what was not shown, then what was close to a limit.
pub(super) fn next_steps(report: &GameDayReport) -> Vec<String> {
    let day = &report.day;
    let (mut failed, mut missing, mut close) = (Vec::new(), Vec::new(), Vec::new());
    for (index, act) in day.acts.iter().enumerate() {
        let title = format!("{}. {}", index + 1, act.title);
        let Some(played) = report.played(index) else {
            missing.push(format!("{title}: not played, so nothing is known. Play it in the next game day."));
            continue;
        };
        let reason = played.reasons.first().map_or("the journal gives no reason", String::as_str);
        match played.outcome {
            Outcome::Held => {
                close.extend(close_calls(played).into_iter().map(|call| format!("{title}: {call}")))
            }
            Outcome::Deviated => failed.push(format!(
                "{title}: {reason}. Change the setting, or correct the hypothesis, and repeat this act."
            )),
            Outcome::Aborted => failed
                .push(format!("{title}: stopped, because {reason}. Remove the cause and repeat this act.")),
            Outcome::Refused => {
                missing.push(format!("{title}: it did not start. {reason}. Play it again after that."))
            }
        }
    }
    let mut steps = [failed, missing, close].concat();
    if report.acts.iter().any(|(_, report)| report.outcome == Outcome::Held) {
        steps.push("Repeat the acts that held after each change of these settings, for example in continuous integration. Then raise the rate or lower a limit, until one deviates: that is where the resilience ends.".to_owned());
    }
    steps
}

/// Describes the checks that passed and were close to their limits.
fn close_calls(report: &Report) -> Vec<String> {
    let mut calls = Vec::new();
    for check in &report.checks {
        if let (Some(true), Some(used)) = (check.passed, check.used)
            && used > CLOSE
        {
            calls.push(format!(
                "close to a limit ({}): {} ({}). A slower machine or more load exceeds it.",
                share((used * 100.0).round() / 100.0),
                check.name,
                check.detail
            ));
        }
    }
    calls
}
