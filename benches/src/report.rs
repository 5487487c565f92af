//! The report: every figure in it was measured in the run that writes it.

use std::fmt::Write;

use crate::compile_time::{CompileTime, Variant};
use crate::harness::{Goal, Group, Row};
use crate::machine;
use crate::memory::{Allocations, Memory};

/// A goal, and what came of it.
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
    /// Of a group that was measured.
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

    /// How long our job takes.
    pub fn median(&self) -> f64 {
        self.rows.first().map_or(f64::NAN, |ours| ours.one.median())
    }

    /// As markdown.
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
        let _ = writeln!(text, "| | median | min | max | to ours | allocations | bytes |{alone}{two}");
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

    /// One line of the README's table: ours, and how much longer each of the others takes.
    pub fn summary(&self) -> Option<String> {
        let ours = self.rows.first()?;
        let others = self.rows.iter().filter(|row| row.who.starts_with('`'));
        let others = others.map(|row| {
            let allocations = self.allocated(row.who).map_or(0.0, |(count, _)| count);
            let allocations =
                if allocations > 0.0 { format!(", {allocations:.0} allocations") } else { String::new() };
            format!("{}: {:.1} x{allocations}", row.who, row.one.ratio_to(&ours.one))
        });
        let (count, _) = self.allocated(ours.who)?;
        Some(format!(
            "| {} | {}, {count:.0} allocations | {} | {} |",
            self.group.title,
            nanos(ours.one.median()),
            alone(ours),
            others.collect::<Vec<_>>().join("<br>")
        ))
    }
}

/// The time of a call alone, or that it is less than what can be told from nothing.
fn alone(row: &Row) -> String {
    let (median, resolution) = (row.alone.median(), row.alone.resolution());
    if median < resolution { format!("< {}", nanos(resolution)) } else { nanos(median) }
}

/// A span in a unit that fits.
pub fn nanos(nanos: f64) -> String {
    match nanos {
        nanos if nanos < 10_000.0 => format!("{nanos:.1} ns"),
        nanos if nanos < 10_000_000.0 => format!("{:.1} us", nanos / 1e3),
        nanos => format!("{:.1} ms", nanos / 1e6),
    }
}

/// Where it was measured, whether the harness measures right, and how many goals are met.
pub fn head(checked: &[Row], body: &str) -> String {
    let met = body.matches(": met (").count();
    let all = met + body.matches(": **missed** (").count();
    let mut text = format!(
        "# What it costs\n\nWritten by `cargo xtask bench`; nothing here is edited by hand.\n\n{}\n\
         Goals met: {met} of {all}, each under its table.\n\n\
         Jobs of one table run in turn (A B C A B C ..) in one process. Shown are the median, the fastest and the slowest\n\
         sample for each call; `to ours` is the median of the ratios of neighbouring samples. Calls follow each other without a\n\
         pause, so that the processor works on several at a time; `alone` is the time of a call that overlaps with no other: with\n\
         a memory fence in front of each, less the time of the fence. Allocations are counted in a\n\
         process of its own. With two threads the time is that of both together for each call, so that threads which do not\n\
         disturb each other take half; the gain is the ratio. The body multiplies a number.\n\n\
         The harness checks itself first:",
        machine::describe(),
    );
    for row in checked {
        let _ = write!(text, " {} takes {};", row.who, nanos(row.one.median()));
    }
    text.pop();
    text.push_str(".\n\n");
    text
}

/// What things hold.
pub fn memory(memory: &Memory, (annotated, bare): (usize, usize)) -> String {
    let mut text = String::from(
        "## Memory\n\nOf one component, with its name and its place in the registry, before its first call. A thread that\n\
         records a latency gives the operation a histogram of 16 KiB, four at most.\n\n| | bytes |\n|---|--:|\n",
    );
    for (what, bytes) in &memory.components {
        let _ = writeln!(text, "| {what} | {bytes} |");
    }
    for (who, bytes) in &memory.keys {
        let _ = writeln!(text, "| a key of a rate limiter that has 1 000 000 of them, {who} | {bytes:.1} |");
    }
    let _ = writeln!(
        text,
        "| the future of an `async fn` with four stages | {annotated} |\n| the same without | {bare} |\n"
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
    let _ = writeln!(text, "- a future: at most {MOST_FUTURE} bytes above the bare one: {met} ({above})\n");
    text
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**missed**" }
}

/// What a component may hold.
const MOST_BYTES: &[(&str, u64)] = &[("circuit breaker", 1024), ("bulkhead", 512)];

/// What a rate limiter may hold for a key.
const MOST_KEY: f64 = 48.0;

/// What four stages may add to a future.
const MOST_FUTURE: usize = 256;

/// The counted instructions.
pub fn instructions(budgets: &str) -> String {
    let mut text = String::from(
        "## Instructions\n\nFor each call, counted by callgrind; CI refuses what is 3 % above. Emulated, so that readings of the\n\
         clock count as few.\n\n| | instructions |\n|---|--:|\n",
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

/// The README, with the short table in its place.
///
/// # Errors
/// There is no such place.
pub fn with_table(readme: &str, sections: &[Section<'_>], machine: &str) -> Result<String, String> {
    let parts = readme.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("README.md has no `{BEGIN}` .. `{END}`"))?;
    let mut table = String::from(
        "| one call | resilient, calls in a stream | a call alone | the others in a stream, in times of ours |\n|---|--:|--:|---|\n",
    );
    for line in sections.iter().filter(|section| section.group.is_headline).filter_map(Section::summary) {
        table.push_str(&line);
        table.push('\n');
    }
    let machine = machine.lines().next().unwrap_or_default().trim_start_matches("- ");
    Ok(format!("{before}{BEGIN}\n{table}\nOn {machine}.\n{END}{after}"))
}

/// What the attribute costs the compiler.
pub fn compile_time(measured: &CompileTime) -> String {
    let mut text = format!(
        "## Compile time\n\n{} functions, `async`, with four stages by the attribute, with `#[tracing::instrument(skip_all)]`,\n\
         and bare. Cargo's start is part of it; dependencies are not.\n\n\
         | | | median | min | max | for each function | processor time |\n|---|---|--:|--:|--:|--:|--:|\n",
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
        // Of processor time where there is such a figure: other programs disturb it less.
        let added = ratio.added_cpu.unwrap_or(ratio.added);
        let verdict = verdict(added <= MOST_COMPILE_TIME);
        let _ = writeln!(
            text,
            "- `{}`: at most {MOST_COMPILE_TIME} x what `tracing::instrument` adds to a function: {verdict} ({added:.2} x; \
             with the function itself {:.2} x)",
            ratio.profile, ratio.whole
        );
    }
    text.push_str("\nSource text of one function, expanded:");
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
        "What is added is {more:.2} x the source of the other: a byte of ours takes the compiler no longer than one of the other\n\
         where a ratio above is below that. Four stages, each with its way out, are that much to check.\n"
    );
    text
}

/// What our attribute may add to the compile time of a function, as a share of what the other adds.
const MOST_COMPILE_TIME: f64 = 1.5;
