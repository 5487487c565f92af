//! Runs all benchmarks and writes `RESULTS.md`: `cargo xtask bench`.
//!
//! With `--quick`, it prints the results of shorter samples and writes nothing. With a word, it does the same for the
//! groups whose title contains the word. `compile-time`, `durable` and `served` run only that measurement.

use std::fs;
use std::process::ExitCode;

use resilient_benches::harness::{Effort, Row, check};
use resilient_benches::machine::root;
use resilient_benches::memory::{self, Memory};
use resilient_benches::report::{self, Section};
use resilient_benches::{compile_time, contention, durable, jobs, machine, served};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    let _entered = runtime.enter();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let word = args.iter().find(|arg| !arg.starts_with('-'));
    let quick = word.is_some() || args.iter().any(|arg| arg == "--quick");
    let effort = if quick { Effort::QUICK } else { Effort::FULL };

    if word.is_some_and(|word| word == "compile-time") {
        println!("{}", report::compile_time(&compile_time::measure(1, 200)?));
        return Ok(());
    }
    if word.is_some_and(|word| word == "durable") {
        println!("{}", durable::measure()?);
        return Ok(());
    }
    if word.is_some_and(|word| word == "served") {
        println!("{}", served::measure()?);
        return Ok(());
    }
    let checked = check(effort)?;
    let memory = memory::count()?;
    let groups: Vec<_> = jobs::all()
        .into_iter()
        .filter(|group| word.is_none_or(|word| group.title.contains(word.as_str())))
        .collect();
    let mut measured: Vec<Vec<Row>> = Vec::new();
    for group in &groups {
        measured.push(group.measure(effort));
        println!("{}", Section::new(group, &measured[measured.len() - 1], &memory.calls).markdown());
    }
    let sections: Vec<_> =
        groups.iter().zip(&measured).map(|(group, rows)| Section::new(group, rows, &memory.calls)).collect();
    if quick {
        return Ok(());
    }
    write(&checked, &sections, &memory)
}

fn write(checked: &[Row], sections: &[Section<'_>], memory: &Memory) -> Result<(), String> {
    let compiled = compile_time::measure(3, 500)?;
    let alone = sections[0].median();
    let body = [
        sections.iter().map(Section::markdown).collect(),
        durable::measure()?,
        served::measure()?,
        report::memory(memory, memory::futures()),
        report::compile_time(&compiled),
        report::instructions(
            &fs::read_to_string(root().join("benches/instructions.txt")).unwrap_or_default(),
        ),
        contention::markdown(alone),
    ]
    .concat();
    let text = report::head(checked, &body) + &body;
    let write = |path: &str, text: String| {
        fs::write(root().join(path), text).map_err(|error| format!("{path}: {error}"))
    };
    write("benches/RESULTS.md", text)?;
    let read = |path: &str| fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"));
    let machine = machine::describe();
    write("README.md", report::with_short_table(&read("README.md")?, sections, &machine)?)?;
    let page = "docs/performance.md";
    write(page, report::with_table(&read(page)?, sections, &machine)?)
}
