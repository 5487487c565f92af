//! The report. All figures are measured in the run that writes it.

use std::fmt::Write;

use crate::compile_time::{CompileTime, Variant};
use crate::harness::{Goal, Group, Row};
use crate::machine;
use crate::memory::{Allocations, Memory};

/// A goal and its result.
#[derive(Debug)]
struct Judged {
    goal: String,
    is_met: bool,
    seen: String,
}

/// The figures of one group.
#[derive(Debug)]
pub struct Section<'a> {
    group: &'a Group,
    rows: &'a [Row],
    allocations: &'a Allocations,
}

impl<'a> Section<'a> {
    /// Creates the section of a measured group.
    pub fn new(group: &'a Group, rows: &'a [Row], allocations: &'a Allocations) -> Self {
        Self { group, rows, allocations }
    }

    fn allocated(&self, who: &str) -> Option<(f64, f64)> {
        self.allocations.get(self.group.title)?.get(who).copied()
    }

    fn row(&self, who: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.who == who)
    }

    fn judge(&self, goal: Goal) -> Option<Judged> {
        let ours = self.rows.first()?;
        let median = ours.one.median();
        let (goal, is_met, seen) = match goal {
            Goal::AtMost(limit) => (format!("at most {limit} ns"), median <= limit, nanos(median)),
            Goal::Times(limit, who) => {
                let ratio = ours.one.ratio_to(&self.row(who)?.one);
                (format!("at most {limit} x {who}"), ratio <= limit, format!("{ratio:.2} x"))
            }
            Goal::Above(who, limit) => {
                let above = ours.one.above(&self.row(who)?.one);
                (format!("at most {limit} ns above {who}"), above <= limit, format!("{above:+.1} ns"))
            }
            Goal::Gain(limit) => {
                let gain = ours.gain()?;
                (
                    format!("two threads do at least {limit} x the work of one"),
                    gain >= limit,
                    format!("{gain:.2} x"),
                )
            }
            Goal::NoAllocation => {
                let (count, _) = self.allocated(ours.who)?;
                ("no allocation".to_owned(), count == 0.0, format!("{count}"))
            }
        };
        Some(Judged { goal, is_met, seen })
    }

    /// Median time of the first job.
    pub fn median(&self) -> f64 {
        self.rows.first().map_or(f64::NAN, |ours| ours.one.median())
    }

    /// Formats the section as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n", self.group.title);
        if !self.group.note.is_empty() {
            let _ = writeln!(text, "{}\n", self.group.note);
        }
        for judged in self.group.goals.iter().filter_map(|goal| self.judge(*goal)) {
            let _ = writeln!(text, "- {}: {} ({})", judged.goal, verdict(judged.is_met), judged.seen);
        }
        if !self.group.goals.is_empty() {
            text.push('\n');
        }
        let two = if self.group.shared { " two threads | gain |" } else { "" };
        let line = if self.group.shared { "--:|--:|" } else { "" };
        let (alone, rule) = if self.group.is_headline { (" alone |", "--:|") } else { ("", "") };
        let _ = writeln!(text, "| | median | min | max | ratio | allocations | bytes |{alone}{two}");
        let _ = writeln!(text, "|---|--:|--:|--:|--:|--:|--:|{rule}{line}");
        for row in self.rows {
            text.push_str(&self.line(row));
        }
        text.push('\n');
        text
    }

    fn line(&self, row: &Row) -> String {
        let (min, max) = row.one.extremes();
        let ratio = self.rows.first().map_or(f64::NAN, |ours| row.one.ratio_to(&ours.one));
        let (count, bytes) = self.allocated(row.who).unwrap_or((f64::NAN, f64::NAN));
        let mut line = format!(
            "| {} | {} | {} | {} | {ratio:.2} x | {count:.0} | {bytes:.0} |",
            row.who,
            nanos(row.one.median()),
            nanos(min),
            nanos(max),
        );
        if !row.alone.is_empty() {
            let _ = write!(line, " {} |", alone(row));
        }
        if let Some(gain) = row.gain() {
            let _ = write!(line, " {} | {gain:.2} x |", nanos(row.two.median()));
        }
        line.push('\n');
        line
    }

    /// One line of the README's table: the time of the first job, and how much longer the other libraries take.
    fn short_summary(&self) -> Option<String> {
        let ours = self.rows.first()?;
        Some(format!("| {} | {} | {} |", self.group.title, self.ours(ours)?, self.others(ours)))
    }

    /// One line of the table in `docs/performance.md`, which also has the time of a single call.
    fn summary(&self) -> Option<String> {
        let ours = self.rows.first()?;
        Some(format!(
            "| {} | {} | {} | {} |",
            self.group.title,
            self.ours(ours)?,
            alone(ours),
            self.others(ours)
        ))
    }

    fn ours(&self, ours: &Row) -> Option<String> {
        let (count, _) = self.allocated(ours.who)?;
        Some(format!("{}, {count:.0} allocations", nanos(ours.one.median())))
    }

    fn others(&self, ours: &Row) -> String {
        let others = self.rows.iter().filter(|row| row.who.starts_with('`'));
        let others = others.map(|row| {
            let allocations = self.allocated(row.who).map_or(0.0, |(count, _)| count);
            let allocations =
                if allocations > 0.0 { format!(", {allocations:.0} allocations") } else { String::new() };
            format!("{}: {:.1} x{allocations}", row.who, row.one.ratio_to(&ours.one))
        });
        others.collect::<Vec<_>>().join("<br>")
    }
}

/// The time of a single call, or an upper bound if it is below the resolution.
fn alone(row: &Row) -> String {
    let (median, resolution) = (row.alone.median(), row.alone.resolution());
    if median < resolution { format!("< {}", nanos(resolution)) } else { nanos(median) }
}

/// Formats a duration with a suitable unit.
pub fn nanos(nanos: f64) -> String {
    match nanos {
        nanos if nanos < 10_000.0 => format!("{nanos:.1} ns"),
        nanos if nanos < 10_000_000.0 => format!("{:.1} us", nanos / 1e3),
        nanos => format!("{:.1} ms", nanos / 1e6),
    }
}

/// Head of the report: the machine, the checks of the harness, and how many goals are met.
pub fn head(checked: &[Row], body: &str) -> String {
    let met = body.matches(": met (").count();
    let all = met + body.matches(": **missed** (").count();
    let mut text = format!(
        "# Benchmark results\n\nThis file is generated by `cargo xtask bench`. Do not edit it.\n\n{}\n\
         Goals met: {met} of {all}. Each goal is listed with its table.\n\n\
         The jobs of a table run alternately (A B C A B C ..) in one process. A table shows the median, the fastest and the\n\
         slowest sample, per call. `ratio` is the median of the ratios of adjacent samples to the first job. Calls run\n\
         back-to-back, so that the processor executes several at the same time. `alone` is the time of a call that overlaps\n\
         with no other call: there is a memory fence before each call, and the time of the fence is subtracted. Allocations\n\
         are counted in a separate process. `two threads` is the elapsed time divided by the calls of both threads, so that\n\
         independent threads take half the time; `gain` is the speedup. The measured function multiplies a number.\n\n\
         Checks of the harness:",
        machine::describe(),
    );
    for row in checked {
        let _ = write!(text, " {} takes {};", row.who, nanos(row.one.median()));
    }
    text.pop();
    text.push_str(".\n\n");
    text
}

/// Section about memory.
pub fn memory(memory: &Memory, (annotated, bare): (usize, usize)) -> String {
    let mut text = String::from(
        "## Memory\n\nMemory of one component before its first call, with its name and its registry entry. Each thread that\n\
         records a latency adds a histogram of 16 KiB to the operation, at most four.\n\n| | bytes |\n|---|--:|\n",
    );
    for (what, bytes) in &memory.components {
        let _ = writeln!(text, "| {what} | {bytes} |");
    }
    for (who, bytes) in &memory.keys {
        let _ = writeln!(text, "| one of 1 000 000 keys of a rate limiter, {who} | {bytes:.1} |");
    }
    let _ = writeln!(
        text,
        "| the future of an `async fn` with four stages | {annotated} |\n| the same `async fn` without the attribute | {bare} |\n"
    );
    for (what, most) in MOST_BYTES {
        let held = memory
            .components
            .iter()
            .find(|(component, _)| component == what)
            .map_or(u64::MAX, |found| found.1);
        let _ = writeln!(text, "- a {what}: at most {most} bytes: {} ({held})", verdict(held <= *most));
    }
    let key = memory.keys.first().map_or(f64::INFINITY, |(_, bytes)| *bytes);
    let _ = writeln!(
        text,
        "- a key of a rate limiter: at most {MOST_KEY} bytes: {} ({key:.1})",
        verdict(key <= MOST_KEY)
    );
    let above = annotated.saturating_sub(bare);
    let met = verdict(above <= MOST_FUTURE);
    let _ = writeln!(
        text,
        "- a future: at most {MOST_FUTURE} bytes above the one without the attribute: {met} ({above})\n"
    );
    text
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**missed**" }
}

/// Maximum bytes of a component.
const MOST_BYTES: &[(&str, u64)] = &[("circuit breaker", 1024), ("bulkhead", 512)];

/// Maximum bytes of a rate limiter per key.
const MOST_KEY: f64 = 48.0;

/// Maximum bytes that four stages add to a future.
const MOST_FUTURE: usize = 256;

/// Section about instructions.
pub fn instructions(budgets: &str) -> String {
    let mut text = String::from(
        "## Instructions\n\nInstructions per call, counted by callgrind. CI fails if a job exceeds its budget by more than 3 %.\n\
         Reading the clock costs only few instructions in this emulation.\n\n| | instructions |\n|---|--:|\n",
    );
    for (job, count) in
        budgets.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
    {
        let _ = writeln!(text, "| {} | {} |", job.replace('_', " "), count.trim());
    }
    text.push('\n');
    text
}

const BEGIN: &str = "<!-- written by `cargo xtask bench` -->";
const END: &str = "<!-- until here -->";

/// Replaces the short table in the text of the README.
///
/// # Errors
/// Returns an error if the text has no markers for the table.
pub fn with_short_table(readme: &str, sections: &[Section<'_>], machine: &str) -> Result<String, String> {
    let rows =
        sections.iter().filter(|section| section.group.is_in_readme).filter_map(Section::short_summary);
    let head = "| one call | resilient | other crates, relative to resilient |\n|---|--:|---|\n";
    replaced(readme, head, rows, machine)
}

/// Replaces the table in the text of `docs/performance.md`.
///
/// # Errors
/// Returns an error if the text has no markers for the table.
pub fn with_table(page: &str, sections: &[Section<'_>], machine: &str) -> Result<String, String> {
    let rows = sections.iter().filter(|section| section.group.is_headline).filter_map(Section::summary);
    let head = "| one call | resilient, back-to-back calls | resilient, single call | other crates, back-to-back calls, relative to resilient |\n\
                |---|--:|--:|---|\n";
    replaced(page, head, rows, machine)
}

fn replaced(
    text: &str,
    head: &str,
    rows: impl Iterator<Item = String>,
    machine: &str,
) -> Result<String, String> {
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("there is no `{BEGIN}` .. `{END}`"))?;
    let rows: String = rows.map(|row| row + "\n").collect();
    let machine = machine.lines().next().unwrap_or_default().trim_start_matches("- ");
    Ok(format!("{before}{BEGIN}\n{head}{rows}\nOn {machine}.\n{END}{after}"))
}

/// Section about compile time.
pub fn compile_time(measured: &CompileTime) -> String {
    let mut text = format!(
        "## Compile time\n\nCompile time of {} `async` functions: with four stages of the attribute, with\n\
         `#[tracing::instrument(skip_all)]`, and without an attribute. The start of cargo is included, dependencies are not.\n\n\
         | | | median | min | max | per function | CPU time |\n|---|---|--:|--:|--:|--:|--:|\n",
        measured.functions
    );
    for figure in &measured.figures {
        let spent = figure.cpu.map_or(f64::NAN, |cpu| cpu.median);
        let (wall, each) = (figure.wall, figure.per_function);
        let _ = writeln!(
            text,
            "| `{}` | {} | {:.0} ms | {:.0} ms | {:.0} ms | {each:.2} ms | {spent:.0} ms |",
            figure.profile, figure.variant, wall.median, wall.min, wall.max
        );
    }
    text.push('\n');
    for ratio in &measured.ratios {
        // CPU time if available, because other programs affect it less.
        let added = ratio.added_cpu.unwrap_or(ratio.added);
        let verdict = verdict(added <= MOST_COMPILE_TIME);
        let _ = writeln!(
            text,
            "- `{}`: at most {MOST_COMPILE_TIME} x what `tracing::instrument` adds to a function: {verdict} ({added:.2} x; \
             including the function {:.2} x)",
            ratio.profile, ratio.whole
        );
    }
    text.push_str("\nExpanded source text of one function:");
    for (variant, bytes) in &measured.expansion {
        let _ = write!(text, " {variant} {bytes:.0} bytes,");
    }
    text.pop();
    text.push_str(".\n");
    let bytes = |wanted: Variant| {
        measured.expansion.iter().find(|(variant, _)| *variant == wanted).map_or(f64::NAN, |found| found.1)
    };
    let bare = bytes(Variant::Bare);
    let more = (bytes(Variant::Resilient) - bare) / (bytes(Variant::Instrument) - bare);
    let _ = writeln!(
        text,
        "The attribute adds {more:.2} x the source text that `tracing::instrument` adds. If a ratio above is lower than this, the\n\
         compiler spends less time per byte of that text.\n"
    );
    text
}

/// Maximum compile time that the attribute adds to a function, relative to `tracing::instrument`.
const MOST_COMPILE_TIME: f64 = 1.5;
