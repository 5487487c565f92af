//! The commands, one file each.
//!
//! A new command is a file with a struct that derives [`clap::Args`] and implements [`Run`], and a row in the table
//! below. The documentation of the struct is its help text.

mod alerts;
pub(crate) mod chaos;
mod check;
mod circuit;
mod completions;
mod config;
mod events;
mod experiment;
mod explain;
mod health;
mod man;
mod metrics;
mod monkey;
mod proxy;
mod reset;
mod schema;
mod set;
mod stats;
mod top;
mod unset;

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use serde_json::Value;

pub(crate) use events::details;

use crate::api::segment;
use crate::failure::Failure;
use crate::session::Session;

/// A command with its arguments.
pub(crate) trait Run {
    /// Runs the command, and returns its exit code.
    fn run(self, session: &Session) -> Result<ExitCode, Failure>;
}

macro_rules! commands {
    ($($name:ident($module:ident::$args:ident),)*) => {
        /// A command.
        #[derive(Debug, clap::Subcommand)]
        pub(crate) enum Command {
            $($name($module::$args),)*
        }

        impl Command {
            pub(crate) fn run(self, session: &Session) -> Result<ExitCode, Failure> {
                match self {
                    $(Self::$name(args) => args.run(session),)*
                }
            }
        }
    };
}

// In the order of `--help`.
commands! {
    Check(check::Check),
    Schema(schema::Schema),
    Top(top::Top),
    Stats(stats::Stats),
    Health(health::Health),
    Alerts(alerts::Alerts),
    Events(events::Events),
    Explain(explain::Explain),
    Config(config::Config),
    Metrics(metrics::Metrics),
    Open(circuit::Open),
    Close(circuit::Close),
    Disable(circuit::Disable),
    Resume(circuit::Resume),
    Reset(reset::Reset),
    Set(set::Set),
    Unset(unset::Unset),
    Chaos(chaos::Chaos),
    Experiment(experiment::Experiment),
    Monkey(monkey::Monkey),
    Proxy(proxy::Proxy),
    Completions(completions::Completions),
    Man(man::Man),
}

/// The kind and the name of a component.
#[derive(Debug, clap::Args)]
pub(crate) struct Component {
    /// Kind, such as `circuit_breaker`, `retry`, `bulkhead`, `rate_limit` or `timeout`
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    kind: String,
    /// Name of the component
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    name: String,
}

impl Component {
    /// The path of the component below an endpoint.
    fn path(&self, endpoint: &str) -> String {
        format!("{endpoint}/{}/{}", segment(&self.kind), segment(&self.name))
    }
}

/// Prints the answer of the service to a change: as JSON, or as a sentence.
fn changed(session: &Session, answer: &Value, sentence: String) -> Result<ExitCode, Failure> {
    if session.is_json() {
        session.out.json(answer)?;
    } else {
        session.out.line([sentence])?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The name that is recorded for what a user starts: the option `--by`, or the name of the user.
fn who(by: Option<&str>) -> String {
    // The service accepts no more.
    const LONGEST: usize = 64;
    let user = || ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
    let name = by.map(str::to_owned).or_else(user).filter(|name| !name.trim().is_empty());
    name.unwrap_or_else(|| "resilient".into()).chars().take(LONGEST).collect()
}

/// Adds the name of the user to a path, so that the service can record who did it.
fn path_by(path: &str) -> String {
    format!("{path}?by={}", segment(&who(None)))
}

/// The known names nearest to a misspelled one.
fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // No name is this long, and the cost is the product of the lengths.
    if word.len() > 256 {
        return Vec::new();
    }
    let word = word.to_lowercase();
    let distance = |name: &'a str| {
        let distance = strsim::levenshtein(&word, &name.to_lowercase());
        (distance <= 2 + name.len() / 4).then_some((distance, name))
    };
    let mut found: Vec<_> = known.into_iter().filter_map(distance).collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(|(_, name)| name).take(3).collect()
}
