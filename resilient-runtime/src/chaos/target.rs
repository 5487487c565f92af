//! Which calls a fault affects.

use std::fmt;

use super::action::Subject;
use super::problem::Problems;
use super::token::FaultToken;
use crate::kind::Kind;
use crate::nearest::ranked;
use crate::observe::FaultKind;
use crate::priority::Priority;
use crate::ratio::Ratio;

/// The longest pattern, name or prefix, in bytes.
const LONGEST: usize = 256;
/// The most patterns of one fault.
const MOST_PATTERNS: usize = 64;

/// The conditions of a fault. A call must meet all of them, and match one of the patterns if there are any.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) patterns: Vec<String>,
    pub(super) component: Option<(Kind, String)>,
    pub(super) group: Option<String>,
    pub(super) priority: Option<Priority>,
    pub(super) correlation_prefix: Option<String>,
    pub(super) token: Option<String>,
    pub(super) rate: f64,
    pub(super) every: u64,
    pub(super) times: Option<u64>,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            patterns: Vec::new(),
            component: None,
            group: None,
            priority: None,
            correlation_prefix: None,
            token: None,
            rate: 1.0,
            every: 1,
            times: None,
        }
    }
}

/// The known facts about a pipeline before its first call.
pub(crate) trait Aim {
    fn operation(&self) -> &'static str;
    fn group(&self) -> Option<&str>;
    fn uses(&self, kind: Kind, name: &str) -> bool;
}

pub(super) fn check_rate(rate: f64, problems: &mut Problems) {
    problems.require(rate > 0.0 && rate <= 1.0, || {
        format!("the rate {rate} is not over 0 and at most 1; 0.1 stands for 10 % of the calls")
    });
}

impl Target {
    /// Whether calls of the pipeline can meet the conditions.
    pub(super) fn aims_at(&self, pipeline: &dyn Aim) -> bool {
        let is_named = || {
            let operation = pipeline.operation();
            self.patterns.iter().any(|pattern| matches(pattern, operation))
        };
        (self.patterns.is_empty() || is_named())
            && self.group.as_deref().is_none_or(|group| pipeline.group() == Some(group))
            && self.component.as_ref().is_none_or(|(kind, name)| pipeline.uses(*kind, name))
    }

    /// Whether it names an operation, a component or a group.
    pub(super) fn is_named(&self) -> bool {
        !self.patterns.is_empty() || self.component.is_some() || self.group.is_some()
    }

    /// Checks the conditions of a fault that acts on a component or the clock, and not on calls.
    pub(super) fn check_of_component(&self, fault: FaultKind, subject: Subject, problems: &mut Problems) {
        let is_counted = matches!(subject, Subject::Component { is_counted: true, .. });
        let is_of_clock = subject == Subject::Clock;
        let conditions = [
            ("on", !self.patterns.is_empty()),
            ("group", self.group.is_some()),
            ("priority", self.priority.is_some()),
            ("correlation_prefix", self.correlation_prefix.is_some()),
            ("token", self.token.is_some()),
            ("every", self.every != 1 && !is_counted),
            ("times", self.times.is_some() && !is_counted),
            ("rate", self.rate < 1.0 && is_of_clock),
            ("component", self.component.is_some() && is_of_clock),
        ];
        for (key, _) in conditions.iter().filter(|(_, is_set)| *is_set) {
            problems.require(false, || {
                let affected = if is_of_clock { "the clock of the registry" } else { "a component" };
                format!("`{key}` does not apply to `{fault}`, which affects {affected} and not single calls")
            });
        }
        let Subject::Component { kinds, .. } = subject else { return };
        match &self.component {
            None => problems.require(false, || {
                let kinds = kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" or the ");
                format!("`{fault}` has no target; name the {kinds} with `component`")
            }),
            Some((named, name)) => problems.require(kinds.contains(named), || {
                let name: String = name.chars().take(32).flat_map(char::escape_debug).collect();
                let kinds = kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join("` or `");
                format!("`{fault}` affects a component of the kind `{kinds}`, and `{name}` is of the kind `{named}`")
            }),
        }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        let texts = (self.patterns.iter())
            .chain(self.component.as_ref().map(|(_, name)| name))
            .chain(&self.group)
            .chain(&self.correlation_prefix);
        for text in texts {
            let is_usable =
                !text.trim().is_empty() && text.len() <= LONGEST && !text.contains(char::is_control);
            problems.require(is_usable, || {
                let shown: String = text.chars().take(32).flat_map(char::escape_debug).collect();
                format!(
                    "the target `{shown}` is not a name of 1 to {LONGEST} bytes without control characters"
                )
            });
        }
        problems.require(self.patterns.len() <= MOST_PATTERNS, || {
            format!("the fault has {} patterns; at most {MOST_PATTERNS} are allowed", self.patterns.len())
        });
        problems
            .require(self.token.as_deref().is_none_or(|token| FaultToken::parse(token).is_some()), || {
                "the token is not 1 to 64 letters, digits, `.`, `_` and `-`".to_owned()
            });
        check_rate(self.rate, problems);
        problems.require(self.every > 0, || "`every` = 0 is refused: at least 1".to_owned());
        problems.require(self.times != Some(0), || "`times` = 0 is refused: at least 1".to_owned());
    }
}

/// Whether a name matches a pattern, in which `*` stands for any text.
///
/// The greedy algorithm with one point to return to needs no recursion: its time is at most the product of the lengths.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            last_star = Some((p, n));
            p += 1;
        } else if pattern.get(p) == name.get(n) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((star, from)) = last_star {
            last_star = Some((star, from + 1));
            (p, n) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Why no known operation is affected, with the closest names.
pub(super) fn no_match<'a>(pattern: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    format!("no known operation matches `{pattern}`{}", did_you_mean(pattern, known))
}

/// Why a component cannot be affected, with the closest names.
pub(super) fn no_component(kind: Kind, name: &str, known: &[String]) -> String {
    let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    let near = did_you_mean(name, known.iter().map(String::as_str));
    if near.is_empty() {
        format!("there is no {kind} `{shown}`; a component exists from its first use")
    } else {
        format!("there is no {kind} `{shown}`{near}")
    }
}

fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near: Vec<_> = ranked(word, known).into_iter().take(3).map(|name| format!("`{name}`")).collect();
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.patterns.is_empty() {
            parts.push(self.patterns.join(", "));
        }
        if let Some((kind, name)) = &self.component {
            parts.push(format!("{kind} `{name}`"));
        }
        if let Some(group) = &self.group {
            parts.push(format!("group `{group}`"));
        }
        if let Some(priority) = self.priority {
            parts.push(format!("priority {}", priority.as_str()));
        }
        if let Some(prefix) = &self.correlation_prefix {
            parts.push(format!("correlation id `{prefix}..`"));
        }
        if let Some(token) = &self.token {
            parts.push(format!("token `{token}`"));
        }
        if self.rate < 1.0 {
            parts.push(Ratio::new(self.rate).unwrap_or(Ratio::ZERO).to_string());
        }
        if self.every > 1 {
            parts.push(format!("1 in {}", self.every));
        }
        if let Some(times) = self.times {
            parts.push(format!("{times} times"));
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name) in [
            ("*", "charge"),
            ("charge", "charge"),
            ("shop::*", "shop::pay::charge"),
            ("*::charge", "shop::pay::charge"),
            ("s*p::*e", "shop::pay::charge"),
            ("*a*", "charge"),
            ("charge*", "charge"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("charge", "charges"),
            ("charges", "charge"),
            ("shop::*", "shops"),
            ("*b", "charge"),
            ("c*r", "charge"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let pattern = "*a".repeat(120) + "b";
        assert!(!matches(&pattern, &"a".repeat(2000)));
    }
}
