//! A settings file for annotated functions that have not been called yet.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use resilient_runtime::config::ConfigFile;
use resilient_runtime::{Rejection, registry, resilient};
use tracing::field::{Field, Visit};

#[resilient(circuit_breaker = "postgres")]
#[allow(dead_code)]
fn query() -> Result<u32, Rejection> {
    Ok(1)
}

/// Collects the warnings of the library.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN && metadata.target().starts_with("resilient")
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_misspelt_table_for_an_annotated_function_is_reported_at_load_and_by_validate() {
    let path = std::env::temp_dir().join(format!("resilient-misspelt-{}.toml", std::process::id()));
    std::fs::write(&path, "[circuit_breaker.postgress]\nopen_for = \"1s\"\n").unwrap();
    let warnings = Warnings::default();
    tracing::subscriber::with_default(warnings.clone(), || ConfigFile::new(&path).apply(registry()).unwrap());
    std::fs::remove_file(&path).unwrap();
    let is_reported = |text: &str| {
        text.contains("circuit_breaker `postgress`") && text.contains("did you mean `postgres`?")
    };
    let warnings = warnings.0.lock().unwrap().clone();
    assert!(warnings.iter().any(|line| is_reported(line)), "{warnings:?}");
    let problems = registry().validate().unwrap_err();
    assert!(problems.problems().iter().any(|problem| is_reported(problem)), "{:?}", problems.problems());
}
