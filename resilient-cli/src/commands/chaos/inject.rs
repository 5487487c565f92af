//! `resilient chaos inject`

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use resilient_runtime::chaos::FaultSpec;
use serde_json::{Value, json};
use ureq::http::Method;

use super::list::warnings;
use crate::commands::{Run, who};
use crate::duration::short;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Span, Tone};
use crate::session::Session;
use crate::stats::text;

/// Inject a fault into the calls of a running service
///
/// Example: resilient chaos inject latency --add 300ms --on payment --rate 20% --for 2m
///
/// The fault is checked before it is sent: all problems are reported at once. It ends by itself after `--for`, which is
/// 10 minutes unless set. `resilient chaos stop` ends it at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Inject {
    /// Type, such as latency, error, hang, panic or refuse. An unknown one lists all types
    #[arg(value_name = "TYPE", required_unless_present = "file")]
    kind: Option<String>,
    /// More keys of the fault, for those without an option
    #[arg(value_name = "KEY=VALUE", value_parser = key_and_value)]
    more: Vec<(String, String)>,
    /// File with the fault as TOML or JSON; `-` reads standard input. Options override its keys
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Name to record for the fault [default: the name of the user]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    effect: Effect,
}

/// Which calls are hit.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Target")]
struct Target {
    /// Operation, or a pattern such as `shop::*`; can be repeated
    #[arg(long, value_name = "PATTERN")]
    on: Vec<String>,
    /// Operations that use a component, such as `circuit_breaker/payment`
    #[arg(long, value_name = "KIND/NAME")]
    component: Option<String>,
    /// Functions of a group, as set by `chaos = ".."`
    #[arg(long)]
    group: Option<String>,
    /// Calls with this priority: low, normal, high or critical
    #[arg(long)]
    priority: Option<String>,
    /// Calls whose correlation id begins with this text
    #[arg(long, value_name = "TEXT")]
    correlation_prefix: Option<String>,
    /// Share of the attempts, such as `20%` or `0.2`
    #[arg(long)]
    rate: Option<String>,
    /// Every n-th attempt
    #[arg(long, value_name = "N")]
    every: Option<String>,
    /// At most so many attempts
    #[arg(long, value_name = "N")]
    times: Option<String>,
}

/// The effect on the calls, and its duration.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Effect")]
struct Effect {
    /// Time to live, such as `2m`, at most `24h`
    #[arg(long = "for", alias = "ttl", value_name = "DURATION")]
    ttl: Option<String>,
    /// Latency to add
    #[arg(long, value_name = "DURATION")]
    add: Option<String>,
    /// Makes `--add` longer or shorter by up to this time
    #[arg(long, value_name = "DURATION")]
    jitter: Option<String>,
    /// Shortest latency of a range
    #[arg(long, value_name = "DURATION")]
    from: Option<String>,
    /// Longest latency of a range
    #[arg(long, value_name = "DURATION")]
    to: Option<String>,
    /// Mean of a normally distributed latency
    #[arg(long, value_name = "DURATION")]
    mean: Option<String>,
    /// Standard deviation of a normally distributed latency
    #[arg(long, value_name = "DURATION")]
    deviation: Option<String>,
    /// Median of a latency with a long tail
    #[arg(long, value_name = "DURATION")]
    median: Option<String>,
    /// 99th percentile of a latency with a long tail
    #[arg(long, value_name = "DURATION")]
    p99: Option<String>,
    /// Class of an error: transient, uncertain, overload or permanent
    #[arg(long)]
    class: Option<String>,
    /// When an error asks to try again
    #[arg(long, value_name = "DURATION")]
    retry_after: Option<String>,
    /// Stage that refuses: `circuit_open`, `bulkhead_full` or `rate_limited`
    #[arg(long = "as", value_name = "STAGE")]
    stage: Option<String>,
    /// Largest number of attempts that the fault holds at the same time
    #[arg(long, value_name = "N")]
    max_active: Option<String>,
    /// Decides which attempts `--rate` hits: the same seed hits the same ones
    #[arg(long, value_name = "NUMBER")]
    seed: Option<String>,
}

type Keys = BTreeMap<String, Value>;

impl Run for Inject {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let by = who(self.by.as_deref());
        let keys = self.keys()?;
        check(&keys)?;
        let mut body = Value::Object(keys.into_iter().collect());
        body["by"] = json!(by);
        let api = session.api()?;
        let fault = api.send(Method::POST, "/chaos/faults", Some(&body)).map_err(|failure| {
            // An older service can refuse a fault that this version knows.
            if failure.exit == Exit::Refused { failure.hint("nothing was injected") } else { failure }
        })?;
        if session.is_json() {
            session.out.json(&fault)?;
            return Ok(ExitCode::SUCCESS);
        }
        let id = fault["id"].to_string();
        let left = fault["expires_in"].as_f64().map_or("?".into(), short);
        session.out.line([
            Span::new(Tone::Good, format!("fault {id}")),
            format!(": {} on {}, ends in {left}; ", text(&fault, "action"), text(&fault, "target")).into(),
            Span::new(Tone::Faint, format!("resilient chaos stop {id}")),
        ])?;
        warnings(&fault).for_each(|(_, warning)| session.warn(warning));
        Ok(ExitCode::SUCCESS)
    }
}

impl Inject {
    /// The fault as data: the file, then the options.
    fn keys(self) -> Result<Keys, Failure> {
        let mut keys = match &self.file {
            Some(path) => read(path)?,
            None => Keys::new(),
        };
        let Self { kind, mut more, target, effect, .. } = self;
        // With a file, the type can be left out.
        let kind = match kind {
            Some(first) if first.contains('=') => {
                more.insert(0, key_and_value(&first).map_err(Failure::usage)?);
                None
            }
            kind => kind,
        };
        let texts = [
            ("type", kind),
            ("group", target.group),
            ("priority", target.priority),
            ("correlation_prefix", target.correlation_prefix),
            ("ttl", effect.ttl),
            ("add", effect.add),
            ("jitter", effect.jitter),
            ("from", effect.from),
            ("to", effect.to),
            ("mean", effect.mean),
            ("deviation", effect.deviation),
            ("median", effect.median),
            ("p99", effect.p99),
            ("class", effect.class),
            ("retry_after", effect.retry_after),
            ("as", effect.stage),
        ];
        let numbers = [
            ("rate", target.rate),
            ("every", target.every),
            ("times", target.times),
            ("max_active", effect.max_active),
            ("seed", effect.seed),
        ];
        let set = |(key, value): (&str, Option<Value>)| Some((key.to_owned(), value?));
        keys.extend(texts.map(|(key, text)| (key, text.map(Value::String))).into_iter().filter_map(set));
        keys.extend(numbers.map(|(key, text)| (key, text.map(scalar))).into_iter().filter_map(set));
        match target.on.as_slice() {
            [] => {}
            [one] => _ = keys.insert("on".into(), json!(one)),
            many => _ = keys.insert("on".into(), json!(many)),
        }
        if let Some(component) = target.component {
            let (kind, name) = component.split_once('/').ok_or_else(|| {
                Failure::usage(format!("`--component {component}` is not KIND/NAME"))
                    .hint("write it as in `--component circuit_breaker/payment`")
            })?;
            keys.insert("component".into(), json!({ "kind": kind, "name": name }));
        }
        for (key, value) in more {
            keys.insert(key, scalar(value));
        }
        Ok(keys)
    }
}

/// A number, a JSON value, or else a text.
fn scalar(text: String) -> Value {
    serde_json::from_str(&text)
        .ok()
        .filter(|value| !matches!(value, Value::Null))
        .unwrap_or(Value::String(text))
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("expected KEY=VALUE; use `--on NAME` for the operation".into()),
    }
}

/// Maximum size of a fault, in bytes.
const LARGEST: u64 = 64 * 1024;

/// Reads a fault from a file: JSON if it begins with `{`, and otherwise TOML.
fn read(path: &Path) -> Result<Keys, Failure> {
    let shown = path.display();
    let wrong = |why: String| Failure::usage(format!("cannot read {shown}: {why}"));
    let mut text = String::new();
    let source: Box<dyn std::io::Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?)
    };
    source.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > LARGEST {
        return Err(wrong("it is larger than 64 KiB".into()));
    }
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(&text).map_err(|error| wrong(format!("invalid JSON: {error}")));
    }
    toml::from_str(&text).map_err(|error| wrong(format!("invalid TOML: {error}")))
}

/// Checks the fault as the service does, and reports all problems.
fn check(keys: &Keys) -> Result<(), Failure> {
    let spec: FaultSpec = serde_json::from_value(json!(keys))
        .map_err(|error| Failure::usage(format!("the fault is invalid: {error}")))?;
    let Err(error) = spec.fault() else { return Ok(()) };
    let problems = error.problems();
    let count = match problems.len() {
        1 => "a problem".to_owned(),
        count => format!("{count} problems"),
    };
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let failure = Failure::new(
        Exit::Problems,
        format!("the fault has {count}, and was not sent:\n{}", lines.join("\n")),
    );
    let needs_target = lines.iter().any(|line| line.contains("no target"));
    Err(if needs_target {
        failure.hint("choose calls with `--on OPERATION`; `resilient stats operations` lists the operations")
    } else {
        failure
    })
}
