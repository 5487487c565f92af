//! A fault as data: JSON or TOML of the admin API, of scenarios and of the command line.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::amount::Amount;
use super::fault::Fault;
use super::latency::Latency;
use super::problem::{InvalidFault, Problems};
use super::skew::Skew;
use crate::classify::Class;
use crate::kind::Kind;
use crate::nearest::nearest;
use crate::priority::Priority;
use crate::ratio::Ratio;
use crate::rejection::RejectionKind;
use crate::settings::parse_duration;

/// A fault as data, such as JSON or TOML.
///
/// | key | value | meaning |
/// |---|---|---|
/// | `type` | `latency`, `error`, `typed_error`, `hang`, `panic`, `refuse`, `hold_permits`, `hold_threads`, `fail_store`, `slow_store`, `flap_health` or `skew_clock` | the fault; required |
/// | `add`, `jitter` | durations | latency of `add`, plus or minus up to `jitter`, for `latency` and `slow_store` |
/// | `from`, `to` | durations | latency within a range |
/// | `mean`, `deviation` | durations | normally distributed latency |
/// | `median`, `p99` | durations | latency with a long tail |
/// | `class` | `transient`, `uncertain`, `overload` or `permanent` | class of an error; `transient` if missing |
/// | `retry_after` | a duration | when an error asks to try again |
/// | `as` | `circuit_open`, `bulkhead_full` or `rate_limited` | the stage that refuses; required for `refuse` |
/// | `share` | a number over 0 and at most 1, or a text such as `80 %` | the permits or threads to hold; all if missing |
/// | `count` | a number | the permits or threads to hold, instead of `share` |
/// | `period` | a duration | length of a cycle of `flap_health`; required |
/// | `jump`, `speed` | a duration or a number | how far `skew_clock` moves the clock ahead, or how much faster it runs |
/// | `on` | a pattern, or a list of patterns | the operations |
/// | `component` | `{ kind, name }` | operations that use this component, or the component on which the fault acts |
/// | `group` | a name | operations of this group |
/// | `priority` | `low`, `normal`, `high` or `critical` | calls with this priority |
/// | `correlation_prefix` | a text | calls whose correlation id starts with it |
/// | `token` | a text | calls of requests with this token |
/// | `rate` | a number over 0 and at most 1, or a text such as `20 %` | share of the attempts |
/// | `every`, `times`, `max_active`, `seed` | numbers | as in [`Fault`] |
/// | `ttl` | a duration | time to live |
///
/// Reading the data never fails: [`fault`](Self::fault) reports all problems at once.
///
/// ```
/// use resilient_runtime::chaos::FaultSpec;
///
/// let json = r#"{ "type": "latency", "on": "payment", "add": "300ms", "jitter": "100ms", "rate": 0.2, "ttl": "2m" }"#;
/// let spec: FaultSpec = serde_json::from_str(json).unwrap();
/// assert_eq!(spec.fault().unwrap().to_string(), "latency 200ms to 400ms on payment, 20 %");
///
/// let wrong: FaultSpec = serde_json::from_str(r#"{ "type": "latncy", "on": "payment", "rate": 7, "tll": "2m" }"#).unwrap();
/// let error = wrong.fault().unwrap_err();
/// assert_eq!(error.problems().len(), 3, "{error}");
/// assert!(error.to_string().contains("unknown type `latncy`; did you mean `latency`?"));
/// assert!(error.to_string().contains("unknown key `tll`; did you mean `ttl`?"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FaultSpec(BTreeMap<String, Value>);

const TYPES: [&str; 12] = [
    "latency",
    "error",
    "typed_error",
    "hang",
    "panic",
    "refuse",
    "hold_permits",
    "hold_threads",
    "fail_store",
    "slow_store",
    "flap_health",
    "skew_clock",
];
const KEYS: [&str; 29] = [
    "type",
    "add",
    "jitter",
    "from",
    "to",
    "mean",
    "deviation",
    "median",
    "p99",
    "class",
    "retry_after",
    "as",
    "share",
    "count",
    "period",
    "jump",
    "speed",
    "on",
    "component",
    "group",
    "priority",
    "correlation_prefix",
    "token",
    "rate",
    "every",
    "times",
    "max_active",
    "seed",
    "ttl",
];

impl FaultSpec {
    /// Returns the values of `type`.
    ///
    /// ```
    /// assert!(resilient_runtime::chaos::FaultSpec::types().contains(&"hold_permits"));
    /// ```
    pub const fn types() -> &'static [&'static str] {
        &TYPES
    }

    /// Returns the fault.
    ///
    /// ```
    /// use resilient_runtime::chaos::{FaultKind, FaultSpec};
    ///
    /// let spec: FaultSpec = serde_json::from_str(r#"{ "type": "refuse", "as": "rate_limited", "on": "*" }"#).unwrap();
    /// assert_eq!(spec.fault().unwrap().kind(), FaultKind::Refuse);
    /// ```
    ///
    /// # Errors
    /// Returns an error with all problems: unknown keys and values, missing keys, and everything that
    /// [`Fault::check`] reports.
    pub fn fault(&self) -> Result<Fault, InvalidFault> {
        let mut reader = Reader { left: self.0.clone(), problems: Problems::default() };
        let fault = reader.action();
        let fault = reader.conditions(fault);
        reader.unknown_keys();
        if let Some(Err(error)) = fault.as_ref().map(Fault::check) {
            reader.problems.extend(error);
        }
        reader.problems.finish()?;
        // Without a fault there is a problem.
        fault.ok_or_else(|| InvalidFault::of("the fault has no type"))
    }
}

/// Takes the keys of a fault one by one and collects the problems.
struct Reader {
    left: BTreeMap<String, Value>,
    problems: Problems,
}

impl Reader {
    fn action(&mut self) -> Option<Fault> {
        let Some(kind) = self.text("type") else {
            self.problems.require(false, || format!("`type` is missing; one of {}", TYPES.join(", ")));
            return None;
        };
        match kind.as_str() {
            "latency" => self.latency().map(Fault::latency),
            "error" => Some(Fault::error(self.class())),
            "typed_error" => Some(Fault::typed_error()),
            "hang" => Some(Fault::hang()),
            "panic" => Some(Fault::panic()),
            "refuse" => {
                let kind = self.one_of("as", &REFUSALS);
                self.problems
                    .require(kind.is_some(), || "`as` is missing: the stage that refuses".to_owned());
                kind.map(Fault::refuse)
            }
            "hold_permits" => Some(Fault::hold_permits(self.amount())),
            "hold_threads" => Some(Fault::hold_threads(self.amount())),
            "fail_store" => Some(Fault::fail_store()),
            "slow_store" => self.latency().map(Fault::slow_store),
            "flap_health" => {
                let period = self.duration("period");
                self.problems
                    .require(period.is_some(), || "`period` is missing: the length of a cycle".to_owned());
                period.map(Fault::flap_health)
            }
            "skew_clock" => self.skew().map(Fault::skew_clock),
            _ => {
                let unknown = unknown("type", &kind, TYPES);
                self.problems.require(false, || unknown);
                // A stand-in, so that its conditions are checked too. It is never returned, because of the problem.
                Some(Fault::hang())
            }
        }
    }

    fn latency(&mut self) -> Option<Latency> {
        let [add, jitter, from, to] = ["add", "jitter", "from", "to"].map(|key| self.duration(key));
        let [mean, deviation, median, p99] =
            ["mean", "deviation", "median", "p99"].map(|key| self.duration(key));
        let latency = match (add, from, to, mean, median, p99) {
            (Some(add), None, None, None, None, None) => match jitter {
                Some(jitter) => Latency::uniform(add.saturating_sub(jitter)..=add.saturating_add(jitter)),
                None => Latency::fixed(add),
            },
            (None, Some(from), Some(to), None, None, None) => Latency::uniform(from..=to),
            (None, None, None, Some(mean), None, None) => {
                Latency::normal(mean, deviation.unwrap_or(Duration::ZERO))
            }
            (None, None, None, None, Some(median), Some(p99)) => Latency::long_tail(median, p99),
            _ => {
                self.problems.require(false, || {
                    "a latency needs `add` (and `jitter`), `from` and `to`, `mean` (and `deviation`), or `median` and `p99`".to_owned()
                });
                return None;
            }
        };
        self.problems.require(jitter.is_none() || add.is_some(), || "`jitter` needs `add`".to_owned());
        self.problems
            .require(deviation.is_none() || mean.is_some(), || "`deviation` needs `mean`".to_owned());
        Some(latency)
    }

    fn amount(&mut self) -> Amount {
        let (share, count) = (self.share("share"), self.count("count"));
        self.problems
            .require(share.is_none() || count.is_none(), || "`share` contradicts `count`".to_owned());
        let count = count.map(|count| Amount::count(u32::try_from(count).unwrap_or(u32::MAX)));
        count.or(share.map(Amount::share)).unwrap_or(Amount::ALL)
    }

    fn skew(&mut self) -> Option<Skew> {
        let jump = self.duration("jump");
        let speed = self.left.remove("speed");
        let factor = speed.as_ref().and_then(Value::as_f64);
        if let (Some(value), None) = (&speed, factor) {
            self.expected("speed", value, "a number from 0 to 1000");
            return None;
        }
        match (jump, factor) {
            (Some(jump), None) => Some(Skew::jump(jump)),
            (None, Some(factor)) => Some(Skew::speed(factor)),
            _ => {
                self.problems.require(false, || "a skewed clock needs either `jump` or `speed`".to_owned());
                None
            }
        }
    }

    fn class(&mut self) -> Class {
        let retry_after = self.duration("retry_after");
        let classes = [
            ("transient", Class::Transient { retry_after }),
            ("uncertain", Class::Uncertain { retry_after }),
            ("overload", Class::Overload { retry_after }),
            ("permanent", Class::Permanent),
        ];
        let class = self.one_of("class", &classes).unwrap_or(classes[0].1);
        self.problems.require(retry_after.is_none() || class != Class::Permanent, || {
            "`retry_after` contradicts `class = \"permanent\"`".to_owned()
        });
        class
    }

    fn conditions(&mut self, fault: Option<Fault>) -> Option<Fault> {
        let patterns = self.patterns();
        let component = self.component();
        let [group, prefix, token] = ["group", "correlation_prefix", "token"].map(|key| self.text(key));
        let priority = self.one_of("priority", &Priority::ALL.map(|priority| (priority.as_str(), priority)));
        let rate = self.share("rate");
        let [every, times, max_active, seed] =
            ["every", "times", "max_active", "seed"].map(|key| self.count(key));
        let ttl = self.duration("ttl");
        let mut fault = fault?;
        fault.target.patterns = patterns;
        fault.target.component = component;
        fault.target.group = group;
        fault.target.priority = priority;
        fault.target.correlation_prefix = prefix;
        fault.target.token = token;
        fault.target.rate = rate.unwrap_or(fault.target.rate);
        fault.target.every = every.unwrap_or(fault.target.every);
        fault.target.times = times;
        fault.max_active = max_active.map(|most| u32::try_from(most).unwrap_or(u32::MAX));
        fault.seed = seed;
        fault.ttl = ttl.unwrap_or(fault.ttl);
        Some(fault)
    }

    fn patterns(&mut self) -> Vec<String> {
        match self.left.remove("on") {
            None => Vec::new(),
            Some(Value::String(pattern)) => vec![pattern],
            Some(Value::Array(patterns)) if patterns.iter().all(Value::is_string) => {
                patterns.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(value) => {
                self.expected("on", &value, "a pattern or a list of patterns");
                Vec::new()
            }
        }
    }

    fn component(&mut self) -> Option<(Kind, String)> {
        let value = self.left.remove("component")?;
        let field = |key| value.as_object().filter(|it| it.len() == 2)?.get(key)?.as_str();
        let (Some(kind), Some(name)) = (field("kind"), field("name")) else {
            self.expected("component", &value, "`{ kind, name }`");
            return None;
        };
        match kind.parse::<Kind>() {
            Ok(kind) => Some((kind, name.to_owned())),
            Err(error) => {
                self.problems.require(false, || error.to_string());
                None
            }
        }
    }

    fn share(&mut self, key: &str) -> Option<f64> {
        let value = self.left.remove(key)?;
        let percent = |text: &str| text.trim().strip_suffix('%')?.trim().parse::<f64>().ok();
        let rate = match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => percent(text).and_then(Ratio::percent).map(Ratio::get),
            _ => None,
        };
        if rate.is_none() {
            self.expected(key, &value, "a number over 0 and at most 1, or a text such as `20 %`");
        }
        rate
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.left.remove(key)? {
            Value::String(text) => Some(text),
            value => {
                self.expected(key, &value, "a text");
                None
            }
        }
    }

    fn duration(&mut self, key: &str) -> Option<Duration> {
        let value = self.left.remove(key)?;
        match value.as_str().map(parse_duration) {
            Some(Ok(span)) => Some(span),
            Some(Err(error)) => {
                self.expected(key, &value, &error.to_string());
                None
            }
            None => {
                self.expected(key, &value, "a duration such as `250ms`");
                None
            }
        }
    }

    fn count(&mut self, key: &str) -> Option<u64> {
        let value = self.left.remove(key)?;
        let count = value.as_u64();
        if count.is_none() {
            self.expected(key, &value, "a whole number");
        }
        count
    }

    fn one_of<T: Copy>(&mut self, key: &str, all: &[(&str, T)]) -> Option<T> {
        let word = self.text(key)?;
        let found = all.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        self.problems.require(found.is_some(), || unknown(key, &word, all.iter().map(|(name, _)| *name)));
        found
    }

    fn expected(&mut self, key: &str, value: &Value, expected: &str) {
        let value: String = value.to_string().chars().take(64).collect();
        self.problems.require(false, || format!("`{key}` = {value} is refused: {expected}"));
    }

    fn unknown_keys(&mut self) {
        for key in std::mem::take(&mut self.left).into_keys() {
            let is_known = KEYS.contains(&key.as_str());
            self.problems.require(false, || {
                if is_known {
                    format!("`{key}` does not apply to this type")
                } else {
                    unknown("key", &key, KEYS)
                }
            });
        }
    }
}

const REFUSALS: [(&str, RejectionKind); 3] = [
    ("circuit_open", RejectionKind::CircuitOpen),
    ("bulkhead_full", RejectionKind::BulkheadFull),
    ("rate_limited", RejectionKind::RateLimited),
];

fn unknown<'a>(what: &str, word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let shown: String = word.chars().take(64).flat_map(char::escape_debug).collect();
    match nearest(word, known.clone()) {
        Some(near) => format!("unknown {what} `{shown}`; did you mean `{near}`?"),
        None => {
            let known: Vec<_> = known.into_iter().collect();
            format!("unknown {what} `{shown}`; one of {}", known.join(", "))
        }
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    fn fault(json: &str) -> Result<Fault, InvalidFault> {
        serde_json::from_str::<FaultSpec>(json).unwrap().fault()
    }

    #[test]
    fn each_form_of_a_fault_is_read() {
        for (json, text) in [
            (r#"{"type":"latency","on":"a","add":"1s"}"#, "latency 1s on a"),
            (r#"{"type":"latency","on":["a","b*"],"from":"1s","to":"2s"}"#, "latency 1s to 2s on a, b*"),
            (
                r#"{"type":"latency","on":"a","mean":"80ms","deviation":"20ms"}"#,
                "latency 80ms on average, deviation 20ms on a",
            ),
            (r#"{"type":"latency","on":"a","median":"5ms","p99":"1s"}"#, "latency median 5ms, p99 1s on a"),
            (r#"{"type":"error","on":"a","class":"overload","retry_after":"2s"}"#, "error, overload on a"),
            (r#"{"type":"error","on":"a","rate":"20 %","every":3}"#, "error, transient on a, 20 %, 1 in 3"),
            (
                r#"{"type":"hang","component":{"kind":"bulkhead","name":"db"},"times":2}"#,
                "hang on bulkhead `db`, 2 times",
            ),
            (
                r#"{"type":"panic","group":"pay","priority":"low","max_active":1,"seed":7}"#,
                "panic on group `pay`, priority low",
            ),
            (
                r#"{"type":"refuse","as":"circuit_open","on":"a","correlation_prefix":"g-"}"#,
                "refuse, circuit_open on a, correlation id `g-..`",
            ),
            (
                r#"{"type":"hold_permits","component":{"kind":"bulkhead","name":"db"},"share":"80 %"}"#,
                "hold 80 % of the permits on bulkhead `db`",
            ),
            (
                r#"{"type":"hold_permits","component":{"kind":"bulkhead","name":"db"},"rate":0.5}"#,
                "hold 100 % of the permits on bulkhead `db`, 50 %",
            ),
            (
                r#"{"type":"hold_threads","component":{"kind":"bulkhead","name":"db"},"count":3}"#,
                "hold 3 of the threads on bulkhead `db`",
            ),
            (
                r#"{"type":"fail_store","component":{"kind":"idempotency","name":"orders"},"every":2}"#,
                "fail_store on idempotency `orders`, 1 in 2",
            ),
            (
                r#"{"type":"slow_store","component":{"kind":"idempotency","name":"orders"},"add":"1s"}"#,
                "slow_store 1s on idempotency `orders`",
            ),
            (
                r#"{"type":"flap_health","component":{"kind":"health","name":"db"},"period":"20s"}"#,
                "flap_health every 20s on health `db`",
            ),
            (r#"{"type":"hang","on":"a","token":"ada-7"}"#, "hang on a, token `ada-7`"),
            (r#"{"type":"skew_clock","jump":"1h"}"#, "skew_clock 1h ahead"),
            (r#"{"type":"skew_clock","speed":0.5}"#, "skew_clock at 0.5 times the speed"),
        ] {
            assert_eq!(fault(json).unwrap().to_string(), text);
        }
    }

    #[test]
    fn all_problems_are_reported() {
        let json = r#"{"type":"error","on":7,"class":"transcient","jitter":"1s","ttl":"0s","rate":"many","evry":2,"times":-1}"#;
        let error = fault(json).unwrap_err();
        let expected = [
            "unknown class `transcient`; did you mean `transient`?",
            "`on` = 7 is refused: a pattern or a list of patterns",
            "`rate` = \"many\" is refused",
            "`times` = -1 is refused: a whole number",
            "unknown key `evry`; did you mean `every`?",
            "`jitter` does not apply to this type",
            "the fault has no target",
            "the time to live 0s is not from 1ms to 24h",
        ];
        for problem in expected {
            assert!(error.to_string().contains(problem), "{problem} is missing in: {error}");
        }
        assert_eq!(error.problems().len(), expected.len(), "{error}");
    }

    #[test]
    fn targets_and_keys_of_faults_on_components_are_checked() {
        let bulkhead = r#""component":{"kind":"bulkhead","name":"db"}"#;
        for (json, problem) in [
            (r#"{"type":"hold_permits","on":"charge"}"#.to_owned(), "`on` does not apply to `hold_permits`"),
            (r#"{"type":"hold_permits"}"#.to_owned(), "`hold_permits` has no target; name the bulkhead"),
            (
                format!(r#"{{"type":"fail_store",{bulkhead}}}"#),
                "`fail_store` affects a component of the kind `idempotency` or `store`, and `db` is of the kind `bulkhead`",
            ),
            (format!(r#"{{"type":"hold_permits",{bulkhead},"times":3}}"#), "`times` does not apply"),
            (
                format!(r#"{{"type":"hold_permits",{bulkhead},"priority":"low"}}"#),
                "`priority` does not apply",
            ),
            (format!(r#"{{"type":"hold_permits",{bulkhead},"share":0}}"#), "the share 0 is not over 0"),
            (
                format!(r#"{{"type":"hold_permits",{bulkhead},"share":1,"count":1}}"#),
                "`share` contradicts `count`",
            ),
            (format!(r#"{{"type":"hold_permits",{bulkhead},"count":0}}"#), "0 cannot be held"),
            (format!(r#"{{"type":"hold_permits",{bulkhead},"shar":0.5}}"#), "did you mean `share`?"),
            (format!(r#"{{"type":"hold_permits",{bulkhead},"period":"1s"}}"#), "`period` does not apply"),
            (format!(r#"{{"type":"hold_permit",{bulkhead}}}"#), "did you mean `hold_permits`?"),
            (
                r#"{"type":"flap_health","component":{"kind":"health","name":"db"}}"#.to_owned(),
                "`period` is missing",
            ),
            (
                r#"{"type":"flap_health","component":{"kind":"health","name":"db"},"period":"0s"}"#
                    .to_owned(),
                "the period 0s is not from 1ms to 24h",
            ),
            (
                r#"{"type":"slow_store","component":{"kind":"idempotency","name":"db"}}"#.to_owned(),
                "a latency needs `add`",
            ),
            (r#"{"type":"skew_clock"}"#.to_owned(), "needs either `jump` or `speed`"),
            (
                r#"{"type":"skew_clock","speed":-1}"#.to_owned(),
                "the speed -1 of the clock is not from 0 to 1000",
            ),
            (r#"{"type":"skew_clock","jump":"0s"}"#.to_owned(), "the clock jumps by 1ns to 720h"),
            (
                r#"{"type":"skew_clock","jump":"1h","on":"a"}"#.to_owned(),
                "`on` does not apply to `skew_clock`",
            ),
            (
                format!(r#"{{"type":"skew_clock","jump":"1h",{bulkhead}}}"#),
                "`component` does not apply to `skew_clock`",
            ),
        ] {
            let error = fault(&json).unwrap_err();
            assert!(error.to_string().contains(problem), "{problem} is missing in: {error}");
        }
    }

    #[test]
    fn no_spec_panics_or_lives_forever() {
        for json in [
            "{}",
            r#"{"type":"hang","on":"a","ttl":"365d"}"#,
            r#"{"type":"latency","on":"a","add":"9999999h"}"#,
            r#"{"type":"latency","on":"a","from":"2s","to":"1s"}"#,
            r#"{"type":"latency","on":"a","add":"1s","median":"1s"}"#,
            r#"{"type":"latency","on":"a","median":"0s","p99":"1s"}"#,
            r#"{"type":"error","on":"a","rate":1e999}"#,
            r#"{"type":"error","on":"a","rate":0}"#,
            r#"{"type":"error","on":"","times":0}"#,
            r#"{"type":"refuse","on":"a"}"#,
            r#"{"type":"refuse","on":"a","as":"shed"}"#,
            r#"{"type":"hang","component":{"kind":"chaos","name":"a"}}"#,
        ] {
            match serde_json::from_str::<FaultSpec>(json) {
                Ok(spec) => assert!(spec.fault().is_err(), "{json}"),
                Err(_) => assert!(json.contains("1e999")),
            }
        }
    }
}
