//! `resilient check`

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use resilient_runtime::config::{ConfigFile, Fault, Place};
use serde_json::{Value, json};

use super::Run;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Line, Span, Tone};
use crate::session::Session;
use crate::text;

/// Check settings files, and the environment variables RESILIENT__*
///
/// Prints all problems with line, column and remedy. Exits with 1 if there is a problem, and with 2 if a file cannot be
/// read. Settings of components that exist only in your program cannot be checked together with its attributes:
/// `registry().validate()` does that.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Settings files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Beginning of the environment variables, as set by `ConfigFile::prefix`
    #[arg(long, value_name = "NAME", default_value = "RESILIENT")]
    env_prefix: String,
    /// Ignore environment variables
    #[arg(long)]
    no_env: bool,
}

impl Run for Check {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let unreadable = self.files.iter().filter_map(|path| unreadable(path).map(|why| (path, why)));
        if let Some((path, why)) = unreadable.take(1).next() {
            return Err(Failure::usage(format!("cannot read {}: {why}", path.display())));
        }
        let mut problems = Vec::new();
        // The same variables are checked with each file.
        let mut variables = BTreeSet::new();
        for path in &self.files {
            let file = ConfigFile::new(path).prefix(&self.env_prefix);
            let file = if self.no_env { file.variables::<String, String>([]) } else { file };
            let faults = file.check().err().map(|error| error.faults().to_vec()).unwrap_or_default();
            let faults = faults.into_iter().filter(|fault| match &fault.place {
                Place::Variable(name) => variables.insert((name.clone(), fault.what.clone())),
                _ => true,
            });
            problems.extend(faults.map(|fault| (path.as_path(), fault)));
        }
        if session.is_json() {
            let all: Vec<_> = problems.iter().map(|(path, fault)| as_json(path, fault)).collect();
            session
                .out
                .json(&json!({ "valid": all.is_empty(), "files": self.files.len(), "problems": all }))?;
        } else {
            session.out.lines(problems.iter().flat_map(|(path, fault)| lines(path, fault)))?;
            summary(session, &self.files, &problems)?;
        }
        Ok(if problems.is_empty() { ExitCode::SUCCESS } else { Exit::Problems.into() })
    }
}

fn unreadable(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(about) if about.is_dir() => Some("it is a directory".into()),
        // The runtime refuses pipes and sockets, and opening one could block forever.
        Ok(about) if !about.is_file() => Some("it is not a regular file".into()),
        Ok(_) => fs::File::open(path).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

fn as_json(path: &Path, fault: &Fault) -> Value {
    let mut problem = json!({ "file": path.display().to_string(), "problem": fault.what });
    match &fault.place {
        Place::Position { line, column } => {
            (problem["line"], problem["column"]) = (json!(line), json!(column));
        }
        Place::Variable(name) => {
            problem = json!({ "variable": name, "problem": fault.what });
        }
        _ => {}
    }
    problem
}

fn summary(session: &Session, files: &[PathBuf], problems: &[(&Path, Fault)]) -> Result<(), Failure> {
    let of = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    if problems.is_empty() {
        let ok = Span::new(Tone::Good, "ok");
        return session.out.line([ok, format!(": {} without problems", of(files.len(), "file")).into()]);
    }
    session.out.line([
        Span::new(Tone::Bad, of(problems.len(), "problem")),
        format!(" in {}", of(files.len(), "file")).into(),
    ])
}

/// A problem in the form of a compiler message, with the line of the file.
fn lines(path: &Path, Fault { place, what, .. }: &Fault) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let place_text = match place {
        Place::Position { line, column } => format!("{}:{line}:{column}", path.display()),
        Place::Variable(name) => name.clone(),
        _ => path.display().to_string(),
    };
    for (index, text) in what.lines().enumerate() {
        let begin = if index == 0 {
            vec![Span::new(Tone::Strong, &*place_text), ": ".into()]
        } else {
            vec!["    ".into()]
        };
        lines.push(begin.into_iter().chain([Span::from(text)]).collect());
    }
    if let Place::Position { line, column } = place {
        lines.extend(excerpt(path, *line, *column));
    }
    lines.push(Line::new());
    lines
}

/// Maximum number of characters of a line of the file that are shown.
const SHOWN: usize = 120;

/// The line of the file, and a mark below the column.
fn excerpt(path: &Path, line: usize, column: usize) -> Vec<Line> {
    let bytes = fs::read(path).unwrap_or_default();
    let file = String::from_utf8_lossy(&bytes);
    let Some(source) = file.lines().nth(line - 1) else { return Vec::new() };
    // A tab has another width on each terminal.
    let source: Vec<char> = source.chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
    let from = if column > SHOWN { column - SHOWN / 2 } else { 0 };
    let shown: String = source.iter().skip(from).take(SHOWN).collect();
    let before: String = source.iter().skip(from).take(column - 1 - from).collect();
    let begin = if from > 0 { "…" } else { "" };
    let margin = " ".repeat(line.to_string().len());
    let faint = |text: String| Span::new(Tone::Faint, text);
    let mark = " ".repeat(text::width(&text::safe(&before)) + text::width(begin));
    vec![
        vec![faint(format!("  {line} | ")), format!("{begin}{shown}").into()],
        vec![faint(format!("  {margin} | ")), mark.into(), Span::new(Tone::Bad, "^")],
    ]
}
