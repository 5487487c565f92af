//! Plays a game day.

use std::fmt;
use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use resilient_runtime::Registry;

use super::{Act, Choice, GameDay, GameDayReport, Prompt, Question};
use crate::faults::{Faults, of_registry};
use crate::report::{Entry, EntryKind, Journal, Report, sentence};
use crate::runner::Runner;
use crate::text::{span, visible};

/// Changes the runner of an act, for example to register a probe.
type Change = Box<dyn Fn(Runner) -> Runner + Send + Sync>;

/// Plays a game day in a registry.
#[must_use = "a game day does nothing until `play`"]
pub struct GameDayRunner {
    registry: Registry,
    day: GameDay,
    faults: Arc<dyn Faults>,
    folder: Option<PathBuf>,
    change: Change,
}

impl fmt::Debug for GameDayRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GameDayRunner").field("day", &self.day.name).finish_non_exhaustive()
    }
}

impl GameDayRunner {
    /// Creates a runner of a game day in a registry.
    ///
    /// ```
    /// use resilient_chaos::{GameDay, game_day::GameDayRunner};
    ///
    /// let day = GameDay::of("test", "A test", "Ada", ["overload"]).unwrap();
    /// let runner = GameDayRunner::new(&resilient_runtime::Registry::new(), day);
    /// # let _ = runner;
    /// ```
    pub fn new(registry: &Registry, day: GameDay) -> Self {
        Self::with_faults(registry, day, of_registry(registry))
    }

    /// Creates a runner that injects faults with `faults` instead of the fault injection of the registry.
    pub fn with_faults(registry: &Registry, day: GameDay, faults: Arc<dyn Faults>) -> Self {
        Self { registry: registry.clone(), day, faults, folder: None, change: Box::new(|runner| runner) }
    }

    /// Writes the journals and reports of the acts to this folder, the agenda to `agenda.md`, and the report of the
    /// whole day to `NAME.md` and `NAME.html`.
    pub fn reports_in(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Changes the runner of each act, for example to set the environment or to register a probe.
    pub fn configure(mut self, change: impl Fn(Runner) -> Runner + Send + Sync + 'static) -> Self {
        self.change = Box::new(change);
        self
    }

    /// Plays all acts, until the last one ends, a person stops, or `cancel` completes.
    ///
    /// # Errors
    /// Returns an error if the folder or a file of the whole day cannot be written. The acts have their own reports.
    ///
    /// # Cancel safety
    /// If the future is dropped, all faults are removed, and the act that was played has a report.
    pub async fn play(
        self,
        prompt: &mut dyn Prompt,
        cancel: impl Future<Output = ()> + Send,
    ) -> io::Result<GameDayReport> {
        let mut cancel = std::pin::pin!(cancel);
        let agenda = self.day.agenda().to_string();
        if let Some(folder) = &self.folder {
            std::fs::create_dir_all(folder)?;
            std::fs::write(folder.join("agenda.md"), &agenda)?;
        }
        prompt.show(&agenda);
        let mut acts = Vec::new();
        for (index, act) in self.day.acts.iter().enumerate() {
            let question = Question { text: introduction(index, &self.day, act), can_skip: true };
            let answer = tokio::select! {
                biased;
                () = &mut cancel => break,
                answer = prompt.ask(&question) => answer,
            };
            match answer.choice {
                Choice::Stop => break,
                Choice::Skip => continue,
                Choice::Continue => {}
            }
            let (report, is_cancelled) = self.act(index, act, &answer.notes, prompt, cancel.as_mut()).await?;
            acts.push((index, report));
            if is_cancelled {
                break;
            }
        }
        let report = GameDayReport { day: self.day, acts };
        if let Some(folder) = &self.folder {
            report.write(folder)?;
        }
        prompt.show(&report.summary());
        Ok(report)
    }

    /// Plays an act. Returns whether the game day ends with it.
    async fn act(
        &self,
        index: usize,
        act: &Act,
        notes: &[(String, String)],
        prompt: &mut dyn Prompt,
        mut cancel: std::pin::Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> io::Result<(Report, bool)> {
        let mut scenario = act.scenario.clone();
        // One scenario can be played twice.
        scenario.name = format!("{:02}-{}", index + 1, scenario.name);
        let journal = match &self.folder {
            Some(folder) => Journal::create(folder.join(format!("{}.jsonl", scenario.name)))?,
            None => Journal::new(),
        };
        notes.iter().for_each(|(by, text)| journal.note(by, text));
        let runner =
            Runner::with_faults(&self.registry, scenario, Arc::clone(&self.faults)).journal(&journal);
        let runner = match &self.folder {
            Some(folder) => runner.reports_in(folder),
            None => runner,
        };
        let mut is_cancelled = false;
        let watched = async {
            cancel.as_mut().await;
            is_cancelled = true;
        };
        prompt.show("");
        let run = (self.change)(runner).run(watched);
        let report = follow(run, &journal, prompt).await;
        prompt.show(&format!("{}\n", report.summary()));
        let Some(debrief) = act.debrief.as_ref().filter(|_| !is_cancelled) else {
            return Ok((report, is_cancelled));
        };
        let question = Question { text: debrief.clone(), can_skip: false };
        let answer = tokio::select! {
            biased;
            () = &mut cancel => return Ok((report, true)),
            answer = prompt.ask(&question) => answer,
        };
        answer.notes.iter().for_each(|(by, text)| journal.note(by, text));
        let report = Report::of(journal.entries());
        if let Some(folder) = &self.folder {
            report.write(folder)?;
        }
        Ok((report, answer.choice == Choice::Stop))
    }
}

/// Waits for the end of an act, and shows the entries of its journal.
async fn follow(run: impl Future<Output = Report>, journal: &Journal, prompt: &mut dyn Prompt) -> Report {
    let mut run = std::pin::pin!(run);
    let mut seen = 0;
    loop {
        let report = tokio::select! {
            biased;
            () = journal.added() => None,
            report = &mut run => Some(report),
        };
        let entries = journal.entries_from(seen);
        seen += entries.len();
        entries.iter().filter_map(live).for_each(|line| prompt.show(&line));
        if let Some(report) = report {
            return report;
        }
    }
}

/// Describes an entry in a line, if people want to see it at once.
fn live(entry: &Entry) -> Option<String> {
    let is_of_interest = match &entry.what {
        EntryKind::Circuit { state, .. } => state != "half_open",
        EntryKind::Rate { .. } | EntryKind::Note { .. } | EntryKind::Health { .. } => false,
        EntryKind::RolledBack { steps, .. } => !steps.is_empty(),
        _ => true,
    };
    let sentence = sentence(&entry.what).filter(|_| is_of_interest)?;
    Some(format!("  {:>5.1} s  {}", entry.seconds, visible(&sentence)))
}

fn introduction(index: usize, day: &GameDay, act: &Act) -> String {
    let mut text =
        format!("Act {} of {}: {}\n{}", index + 1, day.acts.len(), act.title, act.scenario.hypothesis);
    if let Some(watch) = &act.watch {
        let _ = write!(text, "\nWatch: {watch}");
    }
    let _ =
        write!(text, "\nIt takes about {}.", span(act.scenario.observe_before + act.scenario.end_of_steps()));
    text
}
