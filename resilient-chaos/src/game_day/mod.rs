//! Game days: experiments one after the other, with pauses for people.
//!
//! A game day is a TOML file with a list of acts. Each act runs a scenario. Before an act, the [`Prompt`] asks whether
//! to continue, and after it what people have seen. The answers are notes in the journal of the act.

mod agenda;
mod fields;
mod next;
mod play;
mod prompt;
mod report;

use std::path::Path;
use std::time::Duration;

pub use agenda::Agenda;
pub use play::GameDayRunner;
pub use prompt::{Answer, Choice, Prompt, Question, Terminal, Unattended};
pub use report::GameDayReport;

use next::next_steps;

use crate::scenario::read::Reader;
use crate::scenario::{InvalidScenario, Problem, Scenario, Shipped, shipped};
use crate::text::hint;

/// A game day, as read from a file. All of its scenarios are valid.
///
/// ```
/// let day = resilient_chaos::GameDay::parse(r#"
/// [game_day]
/// version = 1
/// name = "payments"
/// title = "Game day of the payments team"
/// lead = "Ada"
///
/// [[act]]
/// scenario = "dependency-down"
/// debrief = "Who noticed it first, and how?"
/// "#).unwrap();
/// assert_eq!(day.acts[0].scenario.name, "dependency-down");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GameDay {
    /// The name, which is also used for the names of reports.
    pub name: String,
    /// The heading.
    pub title: String,
    /// The person who leads it.
    pub lead: String,
    /// Facts that all participants must know before it begins.
    pub briefing: Option<String>,
    /// The acts.
    pub acts: Vec<Act>,
}

/// An experiment of a game day.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Act {
    /// The heading.
    pub title: String,
    /// The experiment.
    pub scenario: Scenario,
    /// The displays and people to watch.
    pub watch: Option<String>,
    /// A question after the act.
    pub debrief: Option<String>,
}

impl GameDay {
    /// Reads a game day from a text. Scenario files are relative to the current folder.
    ///
    /// ```
    /// let error = resilient_chaos::GameDay::parse("[[act]]\nscenario = \"dependency-dwn\"\n").unwrap_err();
    /// assert!(error.to_string().contains("did you mean `dependency-down`?"), "{error}");
    /// ```
    ///
    /// # Errors
    /// Returns all problems of the text and of its scenarios, each with its place and the remedy.
    pub fn parse(text: &str) -> Result<Self, InvalidScenario> {
        build(text, Path::new("")).map_err(|problems| InvalidScenario::new("game day", problems))
    }

    /// Reads a game day from a file. Scenario files are relative to its folder.
    ///
    /// ```
    /// assert!(resilient_chaos::GameDay::load("/no/such/file.toml").is_err());
    /// ```
    ///
    /// # Errors
    /// Returns why the file cannot be read, or all problems of it and of its scenarios.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, InvalidScenario> {
        let (path, shown) = (path.as_ref(), path.as_ref().display().to_string());
        let text = std::fs::read_to_string(path);
        let text =
            text.map_err(|error| InvalidScenario::whole(&shown, format!("cannot be read: {error}")))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        build(&text, folder).map_err(|problems| InvalidScenario::new(&shown, problems))
    }

    /// Creates a game day of shipped scenarios, without questions.
    ///
    /// ```
    /// use resilient_chaos::GameDay;
    ///
    /// assert_eq!(GameDay::of("test", "A test", "Ada", ["overload"]).unwrap().acts.len(), 1);
    /// assert!(GameDay::of("test", "A test", "Ada", ["overlaod"]).unwrap_err().contains("did you mean `overload`?"));
    /// ```
    ///
    /// # Errors
    /// Returns the first name that is not the name of a shipped scenario, with a near name.
    pub fn of<'n>(
        name: &str,
        title: &str,
        lead: &str,
        scenarios: impl IntoIterator<Item = &'n str>,
    ) -> Result<Self, String> {
        let act = |name: &str| {
            let shipped = shipped(name).ok_or_else(|| unknown(name))?;
            Ok(Act { title: name.to_owned(), scenario: shipped.scenario(), watch: None, debrief: None })
        };
        let acts = scenarios.into_iter().map(act).collect::<Result<_, String>>()?;
        Ok(Self {
            name: name.to_owned(),
            title: title.to_owned(),
            lead: lead.to_owned(),
            briefing: None,
            acts,
        })
    }

    /// Returns the agenda, which displays as Markdown.
    ///
    /// ```
    /// use resilient_chaos::GameDay;
    ///
    /// let day = GameDay::of("test", "A small game day", "Ada", ["overload"]).unwrap();
    /// assert!(day.agenda().to_string().starts_with("# A small game day"));
    /// ```
    pub fn agenda(&self) -> Agenda<'_> {
        Agenda(self)
    }

    /// Returns the duration of all acts together, without the pauses and with the shortest recovery.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_chaos::GameDay;
    ///
    /// let day = GameDay::of("test", "A small game day", "Ada", ["overload"]).unwrap();
    /// assert!(day.duration() < Duration::from_mins(3));
    /// ```
    pub fn duration(&self) -> Duration {
        let of = |act: &Act| {
            act.scenario.observe_before + act.scenario.end_of_steps() + act.scenario.recovery.hold
        };
        self.acts.iter().map(of).sum()
    }
}

impl GameDay {
    /// Keeps only the acts that play one of these scenarios. Without a name, all acts are kept.
    ///
    /// ```
    /// use resilient_chaos::GameDay;
    ///
    /// let day = GameDay::of("test", "A test", "Ada", ["overload", "retry-storm"]).unwrap();
    /// assert_eq!(day.clone().only(["overload"]).unwrap().acts.len(), 1);
    /// assert!(day.only(["overlaod"]).unwrap_err().contains("did you mean `overload`?"));
    /// ```
    ///
    /// # Errors
    /// Returns the first name that is not the scenario of an act, with a near name.
    pub fn only<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Result<Self, String> {
        let names: Vec<_> = names.into_iter().collect();
        let has = |name: &str| self.acts.iter().any(|act| act.scenario.name == name);
        if let Some(unknown) = names.iter().find(|name| !has(name)) {
            let known = hint(unknown, self.acts.iter().map(|act| act.scenario.name.as_str()));
            return Err(format!("the game day has no scenario `{unknown}`; {known}"));
        }
        self.acts.retain(|act| names.is_empty() || names.contains(&act.scenario.name.as_str()));
        Ok(self)
    }

    /// Divides the times of all scenarios by `divisor`: see [`Scenario::in_less_time`].
    ///
    /// ```
    /// use resilient_chaos::GameDay;
    ///
    /// let day = GameDay::of("test", "A test", "Ada", ["overload"]).unwrap();
    /// assert_eq!(day.clone().in_less_time(2.0).duration(), day.duration() / 2);
    /// ```
    #[must_use]
    pub fn in_less_time(mut self, divisor: f64) -> Self {
        for act in &mut self.acts {
            act.scenario = act.scenario.clone().in_less_time(divisor);
        }
        self
    }
}

fn unknown(name: &str) -> String {
    let known = hint(name, Shipped::all().iter().map(|shipped| shipped.name));
    format!("there is no shipped scenario `{name}`; {known}; a path of a file ends with `.toml`")
}

fn build(text: &str, folder: &Path) -> Result<GameDay, Vec<Problem>> {
    let (mut reader, file) = Reader::read(text, &fields::FILE);
    let mut acts = Vec::new();
    for read in file.tables("act") {
        let Some(name) = read.text("scenario") else { continue };
        let is_file = Path::new(&name).extension().is_some_and(|extension| extension == "toml");
        let scenario = if is_file {
            Scenario::load(folder.join(&name)).map_err(|error| error.to_string())
        } else {
            shipped(&name).map(|shipped| shipped.scenario()).ok_or_else(|| unknown(&name))
        };
        match scenario {
            Ok(scenario) => acts.push(Act {
                title: read.text("title").unwrap_or_else(|| scenario.name.clone()),
                scenario,
                watch: read.text("watch"),
                debrief: read.text("debrief"),
            }),
            Err(what) => reader.problem(&read.place_of("scenario"), what),
        }
    }
    let day = file.table("game_day").and_then(|head| {
        Some(GameDay {
            name: head.text("name")?,
            title: head.text("title")?,
            lead: head.text("lead")?,
            briefing: head.text("briefing"),
            acts,
        })
    });
    match day {
        Some(day) if !reader.has_problems() => Ok(day),
        _ => Err(reader.problems()),
    }
}

#[cfg(test)]
mod tests;
