//! Compares the instructions per call, counted by callgrind, with a budget.
//!
//! Instruction counts do not depend on the load of the machine, so that they can be tested. Times cannot.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{has, installed};

/// How much a job may exceed its budget, in percent. Library functions differ between processors.
const TOLERANCE: u64 = 3;
/// Number of counted calls of a job.
const CALLS: u64 = 1000;
/// How many more instructions a call may take with fault injection compiled in and no fault in force. The test of the
/// flag takes 3; the rest is how the compiler happens to lay out the code around it.
const FAULT_INJECTION: u64 = 6;
/// The jobs that are counted with fault injection, too.
const WITH_FAULT_INJECTION: [&str; 9] = [
    "breaker_attribute",
    "bulkhead_attribute",
    "fallback_not_needed",
    "four_attribute",
    "four_pending_once",
    "pipeline_without_stages",
    "rate_limit_attribute",
    "retry_attribute",
    "timeout_fixed",
];
/// Begins the name of a job that is counted with fault injection.
const CHAOS: &str = "chaos:";
const HEAD: &str = "# Instructions for each call, by job. Written by `cargo xtask instructions --write`.\n";

/// Counts the instructions and compares them with the budgets.
pub(crate) fn check() -> Result<(), String> {
    let budgets =
        parse(&std::fs::read_to_string(file()).map_err(|error| format!("{}: {error}", file().display()))?);
    let counted = count()?;
    let mut problems = String::new();
    for (job, count) in &counted {
        let budget = budgets.get(job).copied().unwrap_or(0);
        println!("{count:>7} of {budget:>7}  {job}");
        if count * 100 > budget * (100 + TOLERANCE) {
            let _ = writeln!(problems, "`{job}` takes {count} instructions; its budget is {budget}");
        }
    }
    for job in WITH_FAULT_INJECTION {
        let (with, without) = (counted.get(&format!("{CHAOS}{job}")), counted.get(job));
        if let (Some(with), Some(without)) = (with, without)
            && *with > without + FAULT_INJECTION
        {
            let _ = writeln!(
                problems,
                "`{job}` takes {with} instructions with fault injection and {without} without; at most {FAULT_INJECTION} more are allowed"
            );
        }
    }
    for gone in budgets.keys().filter(|job| !counted.contains_key(*job)) {
        let _ = writeln!(problems, "budget without a job: `{gone}`");
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{problems}If the change is intended, run `cargo xtask instructions --write` and explain it in the commit message."
    ))
}

/// Counts the instructions and writes them as the new budgets.
pub(crate) fn write() -> Result<(), String> {
    let lines = count()?.into_iter().fold(HEAD.to_owned(), |mut text, (job, count)| {
        let _ = writeln!(text, "{job} {count}");
        text
    });
    std::fs::write(file(), lines).map_err(|error| format!("{}: {error}", file().display()))
}

fn file() -> PathBuf {
    root().join("benches/instructions.txt")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

fn parse(budgets: &str) -> BTreeMap<String, u64> {
    let lines = budgets.lines().filter_map(|line| line.split_once(' '));
    lines.filter_map(|(job, count)| Some((job.to_owned(), count.parse().ok()?))).collect()
}

fn count() -> Result<BTreeMap<String, u64>, String> {
    need_valgrind()?;
    let mut counted = BTreeMap::new();
    let (program, jobs) = build(&[])?;
    for job in &jobs {
        counted.insert(job.clone(), count_one(&program, job)?);
    }
    let (program, jobs_with_chaos) = build(&["--features", "fault-injection"])?;
    let of_chaos = |job: &&String| WITH_FAULT_INJECTION.contains(&job.as_str()) || !jobs.contains(job);
    for job in jobs_with_chaos.iter().filter(of_chaos) {
        counted.insert(format!("{CHAOS}{job}"), count_one(&program, job)?);
    }
    Ok(counted)
}

/// Builds the program. Returns its path and its jobs.
fn build(features: &[&str]) -> Result<(PathBuf, Vec<String>), String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let build = ["build", "--release", "--package", "resilient-benches", "--bin", "instructions"];
    let status = Command::new(cargo).args(build).args(features).current_dir(root()).status();
    if !status.is_ok_and(|status| status.success()) {
        return Err("cannot build the `instructions` binary".into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = target.join("release/instructions");
    let jobs = output_of(Command::new(&program))?.lines().map(str::to_owned).collect();
    Ok((program, jobs))
}

fn count_one(program: &Path, job: &str) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    command.args([
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        "--toggle-collect=instructions::counted*",
    ]);
    command.arg(program).arg(job);
    let output = output_of(command)?;
    let collected = output.lines().find_map(|line| line.split_once("Collected : "));
    let count = collected.and_then(|(_, count)| count.trim().parse::<u64>().ok());
    count.map(|count| count / CALLS).ok_or_else(|| format!("valgrind counted nothing for `{job}`:\n{output}"))
}

/// Standard output and standard error of a command.
fn output_of(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{command:?} failed:\n{text}")) }
}

fn need_valgrind() -> Result<(), String> {
    if has("valgrind") || installed("valgrind") {
        return Ok(());
    }
    Err("this task needs valgrind: `apt-get install valgrind`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_line_with_a_name_and_a_number() {
        let budgets = parse(&format!("{HEAD}four 555\nretry 97\n"));
        assert_eq!(budgets, BTreeMap::from([("four".to_owned(), 555), ("retry".to_owned(), 97)]));
    }

    #[test]
    fn every_line_of_the_budget_file_is_a_budget() {
        let text = std::fs::read_to_string(file()).unwrap();
        assert_eq!(parse(&text).len() + 1, text.lines().count());
    }
}
