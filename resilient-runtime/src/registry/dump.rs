//! Writes the effective settings as a settings file.

use std::fmt::{self, Write};

use super::Registry;
use crate::config::Tables;
use crate::kind::Kind;
use crate::settings::{Effective, Value, duration_text};

impl Registry {
    /// Returns all effective settings of all components as a settings file in TOML.
    ///
    /// A comment shows the origin of each setting. Applied in another process, the file gives the components there
    /// the same settings.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    /// let registry = Registry::new();
    /// registry.bulkhead("gateway");
    /// let text = registry.to_toml();
    /// assert!(text.starts_with("[bulkhead.gateway]\nmax_concurrent = 64  # default\n"), "{text}");
    /// ```
    pub fn to_toml(&self) -> String {
        let mut text = if self.is_enabled() { String::new() } else { "enabled = false\n\n".to_owned() };
        for (kind, components) in self.effective() {
            for (name, settings) in components {
                // Writing to a string cannot fail.
                let _ = table(&mut text, kind, &name, settings);
            }
        }
        text
    }
}

fn table(text: &mut String, kind: Kind, name: &str, settings: Vec<Effective>) -> fmt::Result {
    if settings.is_empty() {
        return Ok(());
    }
    // A table with this name would apply to the whole kind.
    let mark = if name == Tables::DEFAULT { "# " } else { "" };
    writeln!(text, "{mark}[{kind}.{}]", Key(name))?;
    for Effective { field, value, origin } in settings {
        match value {
            Value::Unset if crate::component::by_kind::default_of(kind, field) == Some(Value::Unset) => {
                writeln!(text, "# {field} is not set  # {origin}")?;
            }
            Value::Secret(_) => writeln!(text, "# {field} is secret  # {origin}")?,
            value => writeln!(text, "{mark}{field} = {}  # {origin}", Written(&value))?,
        }
    }
    writeln!(text)
}

/// A name as a TOML key, bare if possible.
struct Key<'a>(&'a str);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if self.0.chars().all(plain) { f.write_str(self.0) } else { quoted(f, self.0) }
    }
}

/// A value in the format of the file.
struct Written<'a>(&'a Value);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Unset => f.write_str("\"none\""),
            Value::Duration(span) => quoted(f, &duration_text(*span)),
            Value::Text(text) => quoted(f, text),
            Value::Secret(secret) => quoted(f, &secret.to_string()),
            Value::Count(count) => write!(f, "{count}"),
            Value::Ratio(number) | Value::Number(number) => write!(f, "{number:?}"),
            Value::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{:04X}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
