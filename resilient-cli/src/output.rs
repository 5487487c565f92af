//! Standard output: text with colours for people, and JSON for programs.
//!
//! All text passes through [`text::safe`], so that names and error texts of a service cannot control the terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use crate::failure::Failure;
use crate::text;

/// The meaning of a text, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Warning,
    Bad,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Faint => Some("2"),
            Self::Good => Some("32"),
            Self::Warning => Some("33"),
            Self::Bad => Some("1;31"),
        }
    }
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) tone: Tone,
    pub(crate) text: String,
}

impl Span {
    pub(crate) fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { tone, text: text.into() }
    }
}

impl<T: Into<String>> From<T> for Span {
    fn from(text: T) -> Self {
        Self::new(Tone::Plain, text)
    }
}

pub(crate) type Line = Vec<Span>;

/// Whether a stream shows colours: it is a terminal, and the user did not turn colours off (<https://no-color.org>).
fn has_colours(stream: &impl IsTerminal) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value: std::ffi::OsString| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Output {
    has_colours: bool,
    /// Number of columns, if this is a terminal.
    columns: Option<usize>,
}

#[allow(clippy::unused_self)] // all output goes through this type
impl Output {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let size = || ratatui::crossterm::terminal::size().ok().map(|(columns, _)| columns.into());
        let columns = if stdout.is_terminal() { size().filter(|columns| *columns > 0) } else { None };
        Self { has_colours: has_colours(&stdout), columns }
    }

    /// Number of columns of the terminal. `None` if the output goes to a file or to a program.
    pub(crate) fn columns(&self) -> Option<usize> {
        self.columns
    }

    pub(crate) fn lines(&self, lines: impl IntoIterator<Item = Line>) -> Result<(), Failure> {
        let mut stdout = io::BufWriter::new(io::stdout().lock());
        for line in lines {
            write_line(&mut stdout, self.has_colours, &line)?;
        }
        Ok(stdout.flush()?)
    }

    pub(crate) fn line(&self, line: impl IntoIterator<Item = impl Into<Span>>) -> Result<(), Failure> {
        self.lines([line.into_iter().map(Into::into).collect()])
    }

    /// Prints a value on one line if the output goes to a program, and indented on a terminal.
    pub(crate) fn json(&self, value: &Value) -> Result<(), Failure> {
        let text = if self.columns.is_some() { format!("{value:#}") } else { value.to_string() };
        self.raw(&(escaped(&text) + "\n"))
    }

    /// Prints a value on one line.
    pub(crate) fn json_line(&self, value: &Value) -> Result<(), Failure> {
        self.raw(&(escaped(&value.to_string()) + "\n"))
    }

    /// Prints a document that contains text of a service, unchanged except for characters that a terminal acts on.
    pub(crate) fn document(&self, text: &str) -> Result<(), Failure> {
        let is_safe = |c: char| c == '\n' || !text::is_unsafe(c);
        let text: String = text.chars().map(|c| if is_safe(c) { c } else { '\u{fffd}' }).collect();
        self.raw(&text)
    }

    /// Prints text of this program, such as the JSON schema, unchanged.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }
}

/// Writes a message to standard error, such as `error: no service at ..`.
///
/// A failure to write is ignored: there is no other place for messages.
pub(crate) fn message(tone: Tone, label: &str, what: &str) {
    let stderr = io::stderr();
    let has_colours = has_colours(&stderr);
    let mut stderr = stderr.lock();
    for (index, line) in what.lines().enumerate() {
        let label = if index == 0 { Span::new(tone, format!("{label}:")) } else { "      ".into() };
        let _ = write_line(&mut stderr, has_colours, &[label, " ".into(), line.into()]);
    }
}

fn write_line(to: &mut impl Write, has_colours: bool, line: &[Span]) -> io::Result<()> {
    for (index, Span { tone, text }) in line.iter().enumerate() {
        let text = text::safe(text);
        // Padding at the end of a line is noise in files.
        let text = if index + 1 == line.len() { text.trim_end() } else { &*text };
        match tone.code().filter(|_| has_colours && !text.is_empty()) {
            Some(code) => write!(to, "\x1b[{code}m{text}\x1b[0m")?,
            None => to.write_all(text.as_bytes())?,
        }
    }
    to.write_all(b"\n")
}

/// Escapes the characters in the strings of a JSON text that a terminal could act on. The value stays the same.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !text::is_unsafe(c) {
            text.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(has_colours: bool, line: &[Span]) -> String {
        let mut text = Vec::new();
        write_line(&mut text, has_colours, line).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn text_of_a_service_cannot_control_the_terminal() {
        let line = [Span::new(Tone::Bad, "pay\u{1b}]0;title\u{7}ment"), "  ".into()];
        assert_eq!(written(false, &line), "pay\u{fffd}]0;title\u{fffd}ment\n");
        assert_eq!(written(true, &line), "\u{1b}[1;31mpay\u{fffd}]0;title\u{fffd}ment\u{1b}[0m\n");
    }

    #[test]
    fn json_keeps_its_value_without_raw_control_characters() {
        let value = serde_json::json!({ "a\u{9b}2J": "\u{202e}x\u{7f}\u{e0041}\n" });
        let text = escaped(&format!("{value:#}"));
        assert!(!text.chars().any(|c| c != '\n' && text::is_unsafe(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
