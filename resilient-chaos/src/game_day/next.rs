//! The next steps of a team after a game day.

use super::GameDayReport;
use crate::report::{CLOSE, Outcome, Report};
use crate::text::share;

/// Returns the next steps of the team: what failed first, then what was not shown, then what was close to a limit.
pub(super) fn next_steps(report: &GameDayReport) -> Vec<String> {
    let day = &report.day;
    let (mut failed, mut missing, mut close) = (Vec::new(), Vec::new(), Vec::new());
    for (index, act) in day.acts.iter().enumerate() {
        let title = format!("Act {} ({})", index + 1, act.title);
        let Some(played) = report.played(index) else {
            missing.push(format!(
                "{title} was not played, so nothing is known about it. Play it in the next game day."
            ));
            continue;
        };
        let reason = played.reasons.first().map_or("the journal gives no reason", String::as_str);
        match played.outcome {
            Outcome::Held => {
                let calls = close_calls(played).into_iter();
                close.extend(calls.map(|call| format!("{title} held by a small margin: {call}")));
            }
            Outcome::Deviated => failed.push(format!(
                "{title} deviated: {reason}. Change the setting that causes it, or correct the hypothesis, and repeat the act."
            )),
            Outcome::Aborted => failed
                .push(format!("{title} was aborted: {reason}. Remove this cause and repeat the act.")),
            Outcome::Refused => {
                missing.push(format!("{title} did not start: {reason}. Remove this cause and play it again."));
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
                "{} used {} of its limit ({}). A slower machine or more load can exceed it.",
                check.name,
                share((used * 100.0).round() / 100.0),
                check.detail
            ));
        }
    }
    calls
}
