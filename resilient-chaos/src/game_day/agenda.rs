//! The agenda of a game day, printed beforehand.

use std::fmt;
use std::time::Duration;

use super::GameDay;
use crate::runner::{describe, describe_rate};
use crate::text::span;

/// The agenda of a game day. Displays as Markdown.
///
/// ```
/// use resilient_chaos::GameDay;
///
/// let day = GameDay::of("test", "A small game day", "Ada", ["dependency-down", "overload"]).unwrap();
/// let agenda = day.agenda().to_string();
/// assert!(agenda.contains("## 2. overload"), "{agenda}");
/// ```
#[derive(Clone, Debug)]
pub struct Agenda<'d>(pub(super) &'d GameDay);

impl fmt::Display for Agenda<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = self.0;
        writeln!(f, "# {}\n", day.title)?;
        writeln!(
            f,
            "Lead: {}. {} acts, about {} without the pauses.\n",
            day.lead,
            day.acts.len(),
            span(round(day.duration()))
        )?;
        if let Some(briefing) = &day.briefing {
            writeln!(f, "{briefing}\n")?;
        }
        for (index, act) in day.acts.iter().enumerate() {
            let scenario = &act.scenario;
            writeln!(f, "## {}. {}\n", index + 1, act.title)?;
            writeln!(f, "Hypothesis: {}\n", scenario.hypothesis)?;
            for step in &scenario.steps {
                writeln!(
                    f,
                    "- {}: {}, {} of the calls, after {} for {}",
                    step.id,
                    describe(&step.fault),
                    describe_rate(step.rate),
                    span(step.start),
                    span(step.duration)
                )?;
            }
            for expectation in &scenario.expectations {
                writeln!(f, "- expected: {}", expectation.id)?;
            }
            writeln!(f, "- expected: the steady state returns within {}", span(scenario.recovery.within))?;
            if let Some(watch) = &act.watch {
                writeln!(f, "\nWatch: {watch}")?;
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "Stop at any moment: Ctrl-C, or the stop button of the dashboard. All faults are removed at once."
        )
    }
}

fn round(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs())
}
