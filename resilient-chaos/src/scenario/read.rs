//! Reads TOML according to the tables, and records the place of each value.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, at};
use super::table::{Field, Need, Table, Takes};
use crate::text::{hint, nearest, parse_duration};

/// A place in the text, as bytes.
pub(crate) type Place = Range<usize>;

/// A checked value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Texts(Vec<String>),
    Labels(BTreeMap<String, String>),
    Flag(bool),
    Count(u64),
    Number(f64),
    Span(Duration),
    Fault(Json),
    Table(Read),
    Tables(Vec<Read>),
}

/// A table that was read. Fields with problems are missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Read {
    pub(crate) place: Place,
    values: BTreeMap<&'static str, (Value, Place)>,
}

impl Read {
    fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).map(|(value, _)| value)
    }

    /// Returns the place of a field, or of the table if the field is not written.
    pub(crate) fn place_of(&self, name: &str) -> Place {
        self.values.get(name).map_or_else(|| self.place.clone(), |(_, place)| place.clone())
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        if let Some(Value::Text(text)) = self.get(name) { Some(text.clone()) } else { None }
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        if let Some(Value::Texts(texts)) = self.get(name) { texts.clone() } else { Vec::new() }
    }

    pub(crate) fn labels(&self, name: &str) -> BTreeMap<String, String> {
        if let Some(Value::Labels(labels)) = self.get(name) { labels.clone() } else { BTreeMap::new() }
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Flag(true)))
    }

    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        if let Some(Value::Count(count)) = self.get(name) { Some(*count) } else { None }
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        if let Some(Value::Number(number)) = self.get(name) { Some(*number) } else { None }
    }

    pub(crate) fn span(&self, name: &str) -> Option<Duration> {
        if let Some(Value::Span(span)) = self.get(name) { Some(*span) } else { None }
    }

    pub(crate) fn fault(&self, name: &str) -> Option<Json> {
        if let Some(Value::Fault(fault)) = self.get(name) { Some(fault.clone()) } else { None }
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Read> {
        if let Some(Value::Table(table)) = self.get(name) { Some(table) } else { None }
    }

    pub(crate) fn tables(&self, name: &str) -> &[Read] {
        if let Some(Value::Tables(tables)) = self.get(name) { tables } else { &[] }
    }
}

/// Reads a text, and collects its problems.
pub(crate) struct Reader<'t> {
    text: &'t str,
    problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    /// Reads a whole text.
    pub(crate) fn read(text: &'t str, table: &'static Table) -> (Self, Read) {
        let mut reader = Self { text, problems: Vec::new() };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let start = error.span().map_or(0, |span| span.start);
            reader.problems.push(at(text, start, error.message()));
        }
        let malformed: BTreeSet<_> = reader.problems.iter().map(|problem| problem.line).collect();
        let read = reader.table(table, document.get_ref(), 0..0);
        // Report only the first problem of a line that is not valid TOML.
        let mut seen = BTreeSet::new();
        reader.problems.retain(|problem| !malformed.contains(&problem.line) || seen.insert(problem.line));
        if !malformed.is_empty() {
            // A missing table may be in the part that was not read.
            reader.problems.retain(|problem| problem.line != 0);
        }
        (reader, read)
    }

    /// Adds a problem at a place. An empty place at the start is the file as a whole.
    pub(crate) fn problem(&mut self, place: &Place, what: impl Into<String>) {
        if place.end == 0 {
            self.problems.push(Problem { line: 0, column: 0, what: what.into() });
        } else {
            self.problems.push(at(self.text, place.start, what));
        }
    }

    pub(crate) fn problems(self) -> Vec<Problem> {
        self.problems
    }

    pub(crate) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    fn table(&mut self, table: &'static Table, written: &DeTable<'_>, place: Place) -> Read {
        let mut read = Read { place, values: BTreeMap::new() };
        let word = table.variants.and_then(|(decider, _)| written.get(decider)?.get_ref().as_str());
        // Without a valid word, it is not known which further fields exist.
        let is_decided = table.variants.is_none() || word.is_some_and(|word| table.variant(word).is_some());
        for (key, value) in written {
            let name = key.get_ref().as_ref();
            match table.fields_of(word).find(|field| field.name == name) {
                Some(field) => {
                    if let Some(found) = self.value(field, value) {
                        read.values.insert(field.name, (found, value.span()));
                    }
                }
                None if is_decided => {
                    let what = unknown(table, word, name);
                    self.problem(&key.span(), what);
                }
                None => {}
            }
        }
        for field in table.fields_of(word).filter(|field| !written.contains_key(field.name)) {
            self.missing(field, &mut read);
        }
        read
    }

    fn missing(&mut self, field: &'static Field, read: &mut Read) {
        match field.need {
            Need::Optional => {}
            Need::Required(example) => {
                let example = match field.takes {
                    Takes::Table(_) | Takes::Tables(_) => example.to_owned(),
                    _ => format!("{} = {example}", field.name),
                };
                let about = field.about;
                self.problem(
                    &read.place.clone(),
                    format!("`{}` is missing: {about} For example: `{example}`", field.name),
                );
            }
            Need::Default(written) => {
                // The defaults are valid, which a test shows.
                if let Ok(value) = DeValue::parse(written)
                    && let Some(value) = self.value(field, &value)
                {
                    read.values.insert(field.name, (value, read.place.clone()));
                }
            }
        }
    }

    fn value(&mut self, field: &'static Field, written: &Spanned<DeValue<'_>>) -> Option<Value> {
        let place = written.span();
        match (&field.takes, written.get_ref()) {
            (Takes::Table(table) | Takes::Rate(table), DeValue::Table(inner)) => {
                Some(Value::Table(self.table(table, inner, place)))
            }
            (Takes::Tables(table), DeValue::Array(list)) => {
                let mut read = Vec::new();
                for each in list {
                    match each.get_ref() {
                        DeValue::Table(inner) => read.push(self.table(table, inner, each.span())),
                        _ => self.problem(&each.span(), format!("`{}` must be a list of tables", field.name)),
                    }
                }
                if read.is_empty() {
                    self.problem(
                        &place,
                        format!("`{}` is empty: write at least one `[[{}]]`", field.name, field.name),
                    );
                }
                Some(Value::Tables(read))
            }
            (Takes::Tables(_), DeValue::Table(_)) => {
                let what = format!("`{0}` is a list: write `[[{0}]]` instead of `[{0}]`", field.name);
                self.problem(&place, what);
                None
            }
            (Takes::Fault, DeValue::Table(_)) => Some(Value::Fault(json(written.get_ref()))),
            (Takes::Texts, DeValue::Array(list)) => {
                let texts: Option<Vec<_>> =
                    list.iter().map(|each| Some(each.get_ref().as_str()?.to_owned())).collect();
                self.or_refused(field, &place, written.get_ref(), texts.map(Value::Texts))
            }
            (Takes::Labels, DeValue::Table(table)) => {
                let label = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                    let name: &toml::de::DeString<'_> = name.get_ref();
                    Some((name.to_string(), value.get_ref().as_str()?.to_owned()))
                };
                let labels = table.iter().map(label).collect::<Option<_>>();
                self.or_refused(field, &place, written.get_ref(), labels.map(Value::Labels))
            }
            (takes, value) => {
                let found = scalar(takes, value);
                self.or_refused(field, &place, value, found)
            }
        }
    }

    fn or_refused(
        &mut self,
        field: &'static Field,
        place: &Place,
        written: &DeValue<'_>,
        found: Option<Value>,
    ) -> Option<Value> {
        if found.is_none() {
            let mut what = format!(
                "`{}` = {} is refused: expected {}",
                field.name,
                json(written),
                field.takes.describe()
            );
            match (&field.takes, written) {
                (Takes::Words(words), DeValue::String(word)) => {
                    if let Some(near) = nearest(word, words.iter().copied()) {
                        what = format!("`{}` = \"{word}\" is refused; did you mean `{near}`?", field.name);
                    }
                }
                (Takes::Span { .. }, DeValue::Integer(number)) => {
                    what = format!(
                        "`{0}` = {1} has no unit: write `{0} = \"{1}s\"`",
                        field.name,
                        number.as_str()
                    );
                }
                _ => {}
            }
            self.problem(place, what);
        }
        found
    }
}

/// Describes a field that does not exist, and the nearest one that does.
fn unknown(table: &'static Table, word: Option<&str>, name: &str) -> String {
    let known: Vec<_> = table.fields_of(word).map(|field| field.name).collect();
    if let Some((decider, variants)) = table.variants
        && let Some(other) = variants.iter().find(|variant| variant.fields.iter().any(|f| f.name == name))
        && let Some(word) = word
    {
        let other = other.word;
        return format!(
            "`{name}` does not exist with `{decider} = \"{word}\"`, only with `{decider} = \"{other}\"`; {}",
            hint(name, known)
        );
    }
    format!("unknown field `{name}`; {}", hint(name, known))
}

fn scalar(takes: &Takes, value: &DeValue<'_>) -> Option<Value> {
    let text = value.as_str();
    match takes {
        Takes::Text => text.filter(|text| !text.trim().is_empty()).map(|text| Value::Text(text.to_owned())),
        Takes::Identifier => {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
            let text = text.filter(|text| (1..=64).contains(&text.len()) && text.chars().all(fits))?;
            Some(Value::Text(text.to_owned()))
        }
        Takes::Words(words) => {
            text.filter(|text| words.contains(text)).map(|text| Value::Text(text.to_owned()))
        }
        Takes::Flag => value.as_bool().map(Value::Flag),
        Takes::Count { min, max } => {
            let number =
                u64::from_str_radix(value.as_integer()?.as_str(), value.as_integer()?.radix()).ok()?;
            (*min..=*max).contains(&number).then_some(Value::Count(number))
        }
        Takes::Number { min, max } => {
            let number = number(value)?;
            (*min..=*max).contains(&number).then_some(Value::Number(number))
        }
        Takes::AnyNumber => number(value).map(Value::Number),
        Takes::Share | Takes::Rate(_) => share(value).map(Value::Number),
        Takes::Span { min, max } => {
            let span = parse_duration(text?)?;
            let range = Duration::from_millis(*min)..=Duration::from_millis(*max);
            range.contains(&span).then_some(Value::Span(span))
        }
        Takes::Time => {
            let (hours, minutes) = text?.split_once(':')?;
            let part = |text: &str| (text.len() == 2).then(|| text.parse::<u64>().ok())?;
            let (hours, minutes) = (part(hours)?, part(minutes)?);
            let total = hours * 60 + minutes;
            (minutes < 60 && total <= 24 * 60).then_some(Value::Count(total))
        }
        _ => None,
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(number) => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

fn share(value: &DeValue<'_>) -> Option<f64> {
    let share = match value.as_str() {
        Some(text) => text.trim().strip_suffix('%')?.trim().parse::<f64>().ok()? / 100.0,
        None => number(value)?,
    };
    (0.0..=1.0).contains(&share).then_some(share)
}

/// Converts a TOML value to JSON. Numbers that JSON cannot hold become texts.
fn json(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::String(text) => Json::String(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or_else(|_| Json::String(number.as_str().to_owned()), Json::from)
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            parsed.map_or_else(|| Json::String(number.as_str().to_owned()), Json::Number)
        }
        DeValue::Boolean(flag) => Json::Bool(*flag),
        DeValue::Datetime(date) => Json::String(date.to_string()),
        DeValue::Array(list) => Json::Array(list.iter().map(|each| json(each.get_ref())).collect()),
        DeValue::Table(table) => Json::Object(
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect(),
        ),
    }
}

/// Returns whether a field accepts a value, as written in TOML.
#[cfg(test)]
pub(crate) fn is_valid(field: &'static Field, written: &str) -> bool {
    let mut reader = Reader { text: written, problems: Vec::new() };
    DeValue::parse(written).is_ok_and(|value| reader.value(field, &value).is_some())
}
