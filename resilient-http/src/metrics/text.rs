//! The two text formats, which differ in little.

use std::fmt::Write as _;

use resilient_runtime::observe::DurationHistogram;

use super::Format;
use super::sink::{Sink, Type, Value, series};

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
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {family} {help}\n# TYPE {family} {kind}");
        if self.format == Format::OpenMetrics && family.ends_with("_seconds") {
            let _ = writeln!(self.text, "# UNIT {family} seconds");
        }
    }

    fn sample(&mut self, labels: &[(&'static str, &str)], value: Value) {
        self.line("", labels, None, value);
    }

    fn histogram(&mut self, labels: &[(&'static str, &str)], durations: &DurationHistogram) {
        series(durations, |suffix, bound, value| self.line(suffix, labels, bound, value));
    }
}

impl Writer {
    fn line(&mut self, suffix: &str, labels: &[(&'static str, &str)], bound: Option<&str>, value: Value) {
        let text = &mut self.text;
        text.push_str(self.family);
        text.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        for (index, (name, value)) in labels.iter().copied().chain(bound).enumerate() {
            let separator = if index == 0 { '{' } else { ',' };
            let _ = write!(text, "{separator}{name}=\"");
            escape(value, text);
            text.push('"');
        }
        if !labels.is_empty() || bound.is_some() {
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
