//! The two text formats, which differ in little.

use std::fmt::Write as _;

use super::Format;
use super::sink::{Sink, Type, Value};

pub(super) struct Writer {
    format: Format,
    text: String,
    family: &'static str,
}

impl Writer {
    pub(super) fn new(format: Format) -> Self {
        Self { format, text: String::new(), family: "" }
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Sink for Writer {
    fn family(&mut self, name: &'static str, kind: Type, help: &'static str) {
        self.family = name;
        let family = match (self.format, kind) {
            (Format::OpenMetrics, Type::Counter) => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        let kind = if kind == Type::Counter { "counter" } else { "gauge" };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {family} {help}\n# TYPE {family} {kind}");
        if self.format == Format::OpenMetrics && family.ends_with("_seconds") {
            let _ = writeln!(self.text, "# UNIT {family} seconds");
        }
    }

    fn sample(&mut self, labels: &[(&'static str, &str)], value: Value) {
        let text = &mut self.text;
        text.push_str(self.family);
        for (index, (name, value)) in labels.iter().enumerate() {
            let separator = if index == 0 { '{' } else { ',' };
            let _ = write!(text, "{separator}{name}=\"");
            escape(value, text);
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _ = match value {
            Value::Count(count) => writeln!(text, " {count}"),
            Value::Amount(amount) => writeln!(text, " {amount}"),
        };
    }
}

fn escape(value: &str, text: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}
