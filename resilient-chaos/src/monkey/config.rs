//! The settings of the chaos monkey.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::fields::FILE;
use crate::faults;
use crate::scenario::read::{Read, Reader};
use crate::scenario::{InvalidScenario, Problem};
use crate::text::hint;

/// The settings of a [`Monkey`](super::Monkey). All of their values are valid.
///
/// ```
/// let config = resilient_chaos::monkey::Config::parse(r#"
/// [monkey]
/// version = 1
/// name = "staging-monkey"
/// owner = "team-pay"
/// environment = ["staging"]
/// time_zone = "Europe/Berlin"
///
/// [[fault]]
/// id = "charge-fails"
/// fault = { type = "error", on = "charge" }
/// rate = "10%"
/// for = "1m"
/// "#).unwrap();
/// assert_eq!(config.budget_per_hour, 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The name.
    pub name: String,
    /// The team or person to ask about it.
    pub owner: String,
    /// Environments in which it may run, with `*` for any characters.
    pub environment: Vec<String>,
    /// Decides when, and which faults.
    pub seed: u64,
    /// The largest number of faults in any hour.
    pub budget_per_hour: u32,
    /// The time zone of the business hours.
    pub time_zone: TimeZone,
    /// The start of the business hours, from midnight.
    pub from: Duration,
    /// The end of the business hours, from midnight.
    pub to: Duration,
    /// The days on which faults are injected.
    pub days: Vec<Weekday>,
    /// The faults that it may inject.
    pub faults: Vec<AllowedFault>,
}

/// A fault that the monkey may inject.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AllowedFault {
    /// The name in the journal.
    pub id: String,
    /// Two faults of one group are never injected at the same time.
    pub group: String,
    /// The fault, as its specification in JSON.
    pub fault: serde_json::Value,
    /// The share of calls that are hit.
    pub rate: f64,
    /// How long it is injected.
    pub duration: Duration,
    /// How often it is chosen, compared with the others.
    pub weight: u64,
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl Config {
    /// Reads settings from a text.
    ///
    /// ```
    /// let error = resilient_chaos::monkey::Config::parse("[monkey]\ntime_zone = \"Europe/Berln\"\n").unwrap_err();
    /// assert!(error.to_string().contains("did you mean `Europe/Berlin`?"), "{error}");
    /// ```
    ///
    /// # Errors
    /// Returns all problems of the text, each with its place and the remedy.
    pub fn parse(text: &str) -> Result<Self, InvalidScenario> {
        build(text).map_err(|problems| InvalidScenario::new("monkey", problems))
    }

    /// Reads settings from a file.
    ///
    /// ```
    /// let error = resilient_chaos::monkey::Config::load("/no/such/file.toml").unwrap_err();
    /// assert!(error.to_string().contains("cannot be read"));
    /// ```
    ///
    /// # Errors
    /// Returns why the file cannot be read, or all of its problems.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, InvalidScenario> {
        let (path, shown) = (path.as_ref(), path.as_ref().display().to_string());
        let text = std::fs::read_to_string(path);
        let text =
            text.map_err(|error| InvalidScenario::whole(&shown, format!("cannot be read: {error}")))?;
        build(&text).map_err(|problems| InvalidScenario::new(&shown, problems))
    }
}

fn build(text: &str) -> Result<Config, Vec<Problem>> {
    let (mut reader, file) = Reader::read(text, &FILE);
    let faults: Vec<_> = file.tables("fault").iter().map(|read| fault(&mut reader, read)).collect();
    let mut seen = BTreeSet::new();
    for read in file.tables("fault") {
        if let Some(id) = read.text("id").filter(|id| !seen.insert(id.clone())) {
            reader
                .problem(&read.place_of("id"), format!("two faults have the id `{id}`: rename one of them"));
        }
    }
    let config = file.table("monkey").and_then(|head| head_of(&mut reader, head));
    match (config, faults.into_iter().collect::<Option<_>>()) {
        (Some(config), Some(faults)) if !reader.has_problems() => Ok(Config { faults, ..config }),
        _ => Err(reader.problems()),
    }
}

fn head_of(reader: &mut Reader<'_>, head: &Read) -> Option<Config> {
    let time_zone = time_zone(reader, head);
    let days = days(reader, head);
    if head.texts("environment").is_empty() {
        reader.problem(&head.place_of("environment"), "`environment` is empty, so the monkey could run nowhere; list environments, such as `[\"staging\"]`");
    }
    let minutes = |name| head.count(name).map(Duration::from_mins);
    let (from, to) = (minutes("from")?, minutes("to")?);
    if from >= to {
        reader.problem(
            &head.place_of("to"),
            "`to` must be later than `from`; business hours cannot include midnight",
        );
    }
    Some(Config {
        name: head.text("name")?,
        owner: head.text("owner")?,
        environment: head.texts("environment"),
        seed: head.count("seed")?,
        budget_per_hour: u32::try_from(head.count("budget_per_hour")?).ok()?,
        time_zone: time_zone?,
        from,
        to,
        days,
        faults: Vec::new(),
    })
}

fn time_zone(reader: &mut Reader<'_>, head: &Read) -> Option<TimeZone> {
    let name = head.text("time_zone")?;
    let found = TimeZone::get(&name);
    if found.is_err() {
        let known: Vec<_> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let hint = hint(&name, known.iter().map(String::as_str));
        reader.problem(&head.place_of("time_zone"), format!("there is no time zone `{name}`; {hint}"));
    }
    found.ok()
}

fn days(reader: &mut Reader<'_>, head: &Read) -> Vec<Weekday> {
    let names = head.texts("days");
    let find = |name: &String| DAYS.iter().find(|(known, _)| known == name).map(|(_, day)| *day);
    if let Some(unknown) = names.iter().find(|name| find(name).is_none()) {
        let known = hint(unknown, DAYS.iter().map(|(name, _)| *name));
        reader.problem(&head.place_of("days"), format!("there is no day `{unknown}`; {known}"));
    } else if names.is_empty() {
        reader.problem(&head.place_of("days"), "`days` is empty, so the monkey would never inject a fault");
    }
    names.iter().filter_map(find).collect()
}

fn fault(reader: &mut Reader<'_>, read: &Read) -> Option<AllowedFault> {
    let fault = read.fault("fault")?;
    let place = read.place_of("fault");
    faults::check_of_step(&fault).into_iter().for_each(|what| reader.problem(&place, what));
    let rate = read.number("rate")?;
    if rate <= 0.0 {
        reader.problem(&read.place_of("rate"), "`rate` = 0 hits no call; use a larger share");
    }
    Some(AllowedFault {
        id: read.text("id")?,
        group: read.text("group")?,
        fault,
        rate,
        duration: read.span("for")?,
        weight: read.count("weight")?,
    })
}
