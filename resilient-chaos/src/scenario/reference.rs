//! The reference of all fields, as Markdown.

use std::fmt::Write as _;

use super::fields::FILE;
use super::table::{Field, Need, Table, Takes};

/// Returns the reference of all fields of a scenario, as Markdown.
///
/// The repository contains it in `docs/scenario-reference.md`.
///
/// ```
/// assert!(resilient_chaos::scenario::reference().contains("| `max_duration` |"));
/// ```
pub fn reference() -> String {
    let mut text = String::new();
    for field in FILE.fields {
        let (table, heading) = match &field.takes {
            Takes::Table(table) => (*table, format!("[{}]", field.name)),
            Takes::Tables(table) => (*table, format!("[[{}]]", field.name)),
            _ => continue,
        };
        let need = match (&field.takes, field.need) {
            (Takes::Tables(_), Need::Required(_)) => "Required, at least once.",
            (_, Need::Required(_)) => "Required.",
            _ => "Optional.",
        };
        let _ = write!(text, "## `{heading}`\n\n{} {need}\n\n", field.about);
        rows(&mut text, table.fields.iter());
        variants(&mut text, table);
        if field.name == "step" {
            ramp(&mut text);
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn variants(text: &mut String, table: &Table) {
    let Some((decider, variants)) = table.variants else { return };
    for variant in variants {
        let _ = write!(text, "### `{decider} = \"{}\"`\n\n{}\n\n", variant.word, variant.about);
        rows(text, variant.fields.iter());
    }
}

fn ramp(text: &mut String) {
    let _ = write!(text, "### `rate = {{ from, to, over }}`\n\n{}\n\n", super::fields::RAMP.about);
    rows(text, super::fields::RAMP.fields.iter());
}

/// Writes a table of fields.
pub(crate) fn rows<'f>(text: &mut String, fields: impl Iterator<Item = &'f Field>) {
    text.push_str("| field | accepts | default | meaning |\n|---|---|---|---|\n");
    for field in fields {
        let default = match field.need {
            Need::Required(_) => "required".to_owned(),
            Need::Optional => "none".to_owned(),
            Need::Default(value) => format!("`{value}`"),
        };
        let _ =
            writeln!(text, "| `{}` | {} | {default} | {} |", field.name, field.takes.describe(), field.about);
    }
    text.push('\n');
}
