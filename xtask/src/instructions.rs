//! Instructions for each call, counted by callgrind and held against a budget. They do not depend on what else the
//! machine does, and so can be a test; time cannot.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{has, installed};

/// A job may take this much more than its budget, in per cent: another processor has other library functions.
const TOLERANCE: u64 = 3;
/// Calls that a job makes while it is counted.
const CALLS: u64 = 1000;
const HEAD: &str = "# Instructions for each call, by job. Written by `cargo xtask instructions --write`.\n";

/// Counts and compares.
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
    for gone in budgets.keys().filter(|job| !counted.contains_key(*job)) {
        let _ = writeln!(problems, "there is a budget for `{gone}`, and no such job");
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{problems}If that is as it must be: `cargo xtask instructions --write`, and say why in the commit."
    ))
}

/// Counts, and makes that the budget.
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
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let build = ["build", "--release", "--package", "resilient-benches", "--bin", "instructions"];
    let status = Command::new(cargo).args(build).current_dir(root()).status();
    if !status.is_ok_and(|status| status.success()) {
        return Err("the counted program does not compile".into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = target.join("release/instructions");
    let jobs = told(Command::new(&program))?;
    jobs.lines().map(|job| Ok((job.to_owned(), count_one(&program, job)?))).collect()
}

fn count_one(program: &Path, job: &str) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    command.args([
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        "--toggle-collect=instructions::counted*",
    ]);
    command.arg(program).arg(job);
    let said = told(command)?;
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let count = collected.and_then(|(_, count)| count.trim().parse::<u64>().ok());
    count.map(|count| count / CALLS).ok_or_else(|| format!("valgrind counted nothing for `{job}`:\n{said}"))
}

/// What a command says, on both of its ways out.
fn told(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{command:?} failed:\n{said}")) }
}

fn need_valgrind() -> Result<(), String> {
    if has("valgrind") || installed("valgrind") {
        return Ok(());
    }
    Err("valgrind is needed: `apt-get install valgrind`".into())
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
    fn the_file_of_budgets_has_one_for_each_line() {
        let text = std::fs::read_to_string(file()).unwrap();
        assert_eq!(parse(&text).len() + 1, text.lines().count());
    }
}
