//! The plan of an experiment, printed before it runs.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use crate::scenario::{OnDeviation, Rate, Scenario, Step};
use crate::text::{share, span};

/// The plan of an experiment. Displays as a time line.
///
/// ```
/// use resilient_chaos::{Runner, scenario::shipped};
///
/// let registry = resilient_runtime::Registry::new();
/// let plan = Runner::new(&registry, shipped("dependency-down").unwrap().scenario()).plan();
/// assert!(plan.to_string().contains("outage"), "{plan}");
/// assert!(!plan.problems().is_empty(), "this registry has none of the operations");
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    scenario: Scenario,
    problems: Vec<String>,
}

impl Plan {
    /// Creates the plan of a scenario without a registry.
    ///
    /// [`problems`](Self::problems) contains only faults that cannot be injected in any registry.
    ///
    /// ```
    /// use resilient_chaos::{runner::Plan, scenario::shipped};
    ///
    /// let plan = Plan::of(shipped("dependency-down").unwrap().scenario());
    /// assert!(plan.problems().is_empty() && plan.to_string().contains("Timeline:"));
    /// ```
    pub fn of(scenario: Scenario) -> Self {
        let of_step = |step: &Step| {
            let (id, problems) = (step.id.clone(), crate::faults::check(&step.fault));
            problems.into_iter().map(move |what| format!("step `{id}`: {what}"))
        };
        let problems = scenario.steps.iter().flat_map(of_step).collect();
        Self::new(scenario, problems)
    }

    pub(super) fn new(scenario: Scenario, problems: Vec<String>) -> Self {
        Self { scenario, problems }
    }

    /// Returns every reason why the experiment would not start now. Empty if it would.
    ///
    /// The steady state is not observed.
    ///
    /// ```
    /// use resilient_chaos::{Runner, scenario::shipped};
    ///
    /// let registry = resilient_runtime::Registry::new();
    /// let plan = Runner::new(&registry, shipped("overload").unwrap().scenario()).environment("nowhere").plan();
    /// assert!(plan.problems()[0].contains("`nowhere`"));
    /// ```
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

/// Describes a fault in a line: `error on charge, class transient`.
pub(crate) fn describe(fault: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut line = fault.get("type").map(text).unwrap_or_default().replace('_', " ");
    let targets = crate::faults::targets(fault);
    if !targets.is_empty() {
        let _ = write!(line, " on {}", targets.join(", "));
    }
    let part = |name: &str| fault.get("component")?.get(name)?.as_str();
    if let (Some(kind), Some(name)) = (part("kind"), part("name")) {
        let _ = write!(line, " on {} {name}", kind.replace('_', " "));
    }
    let is_rest = |name: &str| !["type", "on", "component"].contains(&name);
    let fields = fault.as_object().into_iter().flatten().filter(|(name, _)| is_rest(name));
    for (name, value) in fields {
        let _ = write!(line, ", {} {}", name.replace('_', " "), text(value));
    }
    line
}

/// Describes a rate: `10 %`, or `1 % to 20 % over 1 min`.
pub(crate) fn describe_rate(rate: Rate) -> String {
    match rate {
        Rate::Fixed(rate) => share(rate),
        Rate::Ramp { from, to, over } => format!("{} to {} over {}", share(from), share(to), span(over)),
    }
}

/// Formats a time of the time line as `+01:30`, or `+01:30.5`.
fn clock(at: Duration) -> String {
    let (minutes, seconds, tenths) = (at.as_secs() / 60, at.as_secs() % 60, at.subsec_millis() / 100);
    let tenths = if tenths == 0 { String::new() } else { format!(".{tenths}") };
    format!("+{minutes:02}:{seconds:02}{tenths}")
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scenario = &self.scenario;
        writeln!(f, "{}: {}", scenario.name, scenario.hypothesis)?;
        writeln!(
            f,
            "owner {}, environments {}, seed {}",
            scenario.owner,
            scenario.environment.join(", "),
            scenario.seed
        )?;
        writeln!(
            f,
            "\nSteady state, observed for {} before the first fault:",
            span(scenario.observe_before)
        )?;
        for each in &scenario.steady_state {
            let when = match (each.at_edges, each.during) {
                (true, true) => "before, during and after",
                (true, false) => "before and after",
                _ => "during",
            };
            writeln!(f, "  {}: {} ({when})", each.probe.id, each.probe.measure.limit())?;
        }
        writeln!(f, "\nTimeline:")?;
        let mut moments: Vec<_> = scenario.steps.iter().flat_map(moments).collect();
        for expectation in &scenario.expectations {
            let step = scenario.step(&expectation.of);
            let at =
                step.map(|step| expectation.what.within().map_or(step.end(), |within| step.start + within));
            moments.push((at.unwrap_or_default(), 2, format!("expect    {}", expectation.id)));
        }
        moments.sort();
        for (at, _, what) in moments {
            writeln!(f, "  {:<10} {what}", clock(at))?;
        }
        let recovery = &scenario.recovery;
        writeln!(
            f,
            "  {:<10} recovery  the steady state holds within {}",
            clock(scenario.end_of_steps()),
            span(recovery.within)
        )?;
        writeln!(
            f,
            "\nAborts after {}, when it is cancelled, or when one of these fails:",
            span(scenario.max_duration)
        )?;
        for rule in &scenario.abort_when {
            let debounce = if rule.debounce.is_zero() {
                String::new()
            } else {
                format!(", for {}", span(rule.debounce))
            };
            writeln!(f, "  {}: {}{debounce}", rule.probe.id, rule.probe.measure.limit())?;
        }
        if scenario.on_deviation == OnDeviation::Stop {
            writeln!(f, "Stops at the first deviation. All faults are then removed.")?;
        }
        for (index, problem) in self.problems.iter().enumerate() {
            let heading = if index == 0 { "\nIt would be refused now:\n" } else { "" };
            writeln!(f, "{heading}  {problem}")?;
        }
        Ok(())
    }
}

fn moments(step: &Step) -> [(Duration, u8, String); 2] {
    let (id, rate) = (&step.id, describe_rate(step.rate));
    [
        (
            step.start,
            1,
            format!(
                "start     {id}: {}, {rate} of the calls, for {}",
                describe(&step.fault),
                span(step.duration)
            ),
        ),
        (step.end(), 0, format!("end       {id}")),
    ]
}
