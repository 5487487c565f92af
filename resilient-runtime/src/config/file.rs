//! Parses a TOML file and records the place of each setting.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Contradiction;
use super::fault::{Fault, Place, position};
use super::tables::{Tables, variable_name};
use crate::component::Kind;
use crate::component::by_kind::ENABLED;
use crate::settings::Raw;

/// A setting by kind, name (`None`: the default) and field. Without a field, the table itself.
pub(super) type Setting = (Kind, Option<String>, Option<String>);

/// The settings of a file, with their places.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) tables: Tables,
    pub(super) faults: Vec<Fault>,
    places: BTreeMap<Setting, Place>,
    /// The environment variables by the setting they set, with names as written in the variables.
    pub(super) variables: BTreeMap<Setting, String>,
}

impl Parsed {
    pub(super) fn of(text: &str) -> Self {
        let mut parsed = Self::default();
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let place = error.span().map_or(Place::Whole, |span| position(text, span.start));
            parsed.faults.push(Fault { place, what: error.message().to_owned() });
        }
        let malformed: BTreeSet<_> = parsed.faults.iter().filter_map(|fault| fault.place.line()).collect();
        for (key, value) in document.get_ref() {
            if key.get_ref() == ENABLED {
                parsed.switch(text, value);
                continue;
            }
            match key.get_ref().parse::<Kind>() {
                Ok(kind) => parsed.kind(text, kind, value),
                Err(error) => parsed.fault(text, &key.span(), error.to_string()),
            }
        }
        // Report only the first problem of a line that is not valid TOML.
        let mut seen = BTreeSet::new();
        parsed.faults.retain(|fault| match fault.place.line() {
            Some(line) if malformed.contains(&line) => seen.insert(line),
            _ => true,
        });
        parsed
    }

    fn fault(&mut self, text: &str, span: &Range<usize>, what: impl Into<String>) {
        self.faults.push(Fault { place: position(text, span.start), what: what.into() });
    }

    /// Reads `enabled = false` at the top of the file.
    fn switch(&mut self, text: &str, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Boolean(enabled) => self.tables.set_enabled(*enabled),
            _ => self.fault(
                text,
                &value.span(),
                "`enabled` turns all protection on or off; expected `true` or `false`",
            ),
        }
    }

    fn kind(&mut self, text: &str, kind: Kind, value: &Spanned<DeValue<'_>>) {
        let DeValue::Table(names) = value.get_ref() else {
            return self.fault(
                text,
                &value.span(),
                format!("`{kind}` must be a table of names, as in `[{kind}.payment]`"),
            );
        };
        for (name, fields) in names {
            let DeValue::Table(fields) = fields.get_ref() else {
                let what = format!(
                    "a setting must be in the table of a component, as in `[{kind}.payment]`, or in `[{kind}.default]` for all"
                );
                self.fault(text, &name.span(), what);
                continue;
            };
            let known = (name.get_ref() != Tables::DEFAULT).then(|| name.get_ref().to_string());
            self.places.insert((kind, known.clone(), None), position(text, name.span().start));
            for (field, value) in fields {
                self.field(text, (kind, known.as_deref()), field, value);
            }
        }
    }

    fn field(
        &mut self,
        text: &str,
        (kind, name): (Kind, Option<&str>),
        field: &Spanned<toml::de::DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let DeValue::Table(group) = value.get_ref() else {
            return self.set(text, (kind, name), (field.get_ref(), &field.span()), value);
        };
        // `adaptive = { .. }` turns `adaptive` on, if it is a switch.
        let on = self.tables.set(kind, name, field.get_ref(), &Raw::Flag(true)).is_ok();
        if group.is_empty() && !on {
            self.fault(text, &value.span(), "the group is empty");
        }
        for (part, value) in group {
            let whole = format!("{}_{}", field.get_ref(), part.get_ref());
            self.set(text, (kind, name), (&whole, &part.span()), value);
        }
    }

    fn set(
        &mut self,
        text: &str,
        (kind, name): (Kind, Option<&str>),
        (field, span): (&str, &Range<usize>),
        value: &Spanned<DeValue<'_>>,
    ) {
        let raw = match raw(value.get_ref()) {
            Ok(raw) => raw,
            Err(what) => return self.fault(text, &value.span(), what),
        };
        let key = (kind, name.map(str::to_owned), Some(field.to_owned()));
        let place = position(text, value.span().start);
        let earlier = match self.tables.set(kind, name, field, &raw) {
            Ok(()) => self.places.insert(key, place),
            Err(what) => return self.fault(text, span, what),
        };
        if earlier.is_some() {
            self.fault(text, span, format!("`{field}` is specified twice, in a group and by its full name"));
        }
    }

    /// Returns the places in the file or the environment of settings that contradict each other.
    pub(super) fn locate(&self, contradiction: &Contradiction) -> Vec<Fault> {
        let Contradiction { kind, name, error } = contradiction;
        let known = (name != Tables::DEFAULT).then(|| name.clone());
        let written = known.as_deref().map(variable_name);
        let places = |field: &str| {
            let field = Some(field.to_owned());
            let variable = |name: &Option<String>| self.variables.get(&(*kind, name.clone(), field.clone()));
            if let Some(variable) = variable(&written).or_else(|| variable(&None)) {
                return Some(Place::Variable(variable.clone()));
            }
            let of = |name: Option<String>, field: Option<String>| self.places.get(&(*kind, name, field));
            let own = of(known.clone(), field.clone()).or_else(|| of(None, field));
            own.or_else(|| of(known.clone(), None)).or_else(|| of(None, None)).cloned()
        };
        let fault = |problem: &crate::settings::SettingProblem| {
            let place = places(problem.field).unwrap_or(Place::Whole);
            let (field, value, allowed) = (problem.field, &problem.value, &problem.allowed);
            Fault { place, what: format!("{kind} `{name}`: `{field}` = {value} is invalid: {allowed}") }
        };
        error.problems().iter().map(fault).collect()
    }
}

fn raw(value: &DeValue<'_>) -> Result<Raw, String> {
    match value {
        DeValue::String(text) => Ok(Raw::Text(text.to_string())),
        DeValue::Boolean(flag) => Ok(Raw::Flag(*flag)),
        DeValue::Integer(number) => {
            let digits = number.as_str();
            let parsed = i64::from_str_radix(digits, number.radix());
            parsed.map(Raw::Integer).map_err(|_| format!("the number `{digits}` is too large"))
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse();
            parsed.map(Raw::Float).map_err(|_| format!("`{}` is not a number", number.as_str()))
        }
        DeValue::Datetime(_) => Err("a setting must not be a date".into()),
        DeValue::Array(_) | DeValue::Table(_) => {
            Err("a setting must be a string, a number, `true` or `false`; groups cannot be nested".into())
        }
    }
}
