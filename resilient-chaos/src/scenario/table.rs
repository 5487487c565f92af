//! How the tables of a file are described: names, types, ranges and defaults of their fields.

/// A table of a file, such as `[scenario]`, or each of `[[step]]`.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) about: &'static str,
    pub(crate) fields: &'static [Field],
    /// A field whose word decides which further fields exist.
    pub(crate) variants: Option<(&'static str, &'static [Variant])>,
}

/// The further fields that exist with one word of the deciding field.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) word: &'static str,
    pub(crate) about: &'static str,
    pub(crate) fields: &'static [Field],
}

/// A field of a table.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    pub(crate) need: Need,
    pub(crate) about: &'static str,
}

/// Whether a field must be present.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// It must be present. The text is an example of its value.
    Required(&'static str),
    Optional,
    /// The value if it is missing, as written in TOML.
    Default(&'static str),
}

/// The values that a field accepts.
#[derive(Debug)]
pub(crate) enum Takes {
    Text,
    /// Lower-case letters, digits, `-` and `_`: part of a file name.
    Identifier,
    Texts,
    Labels,
    Words(&'static [&'static str]),
    Flag,
    Count {
        min: u64,
        max: u64,
    },
    /// Any number.
    AnyNumber,
    /// A number in this range.
    Number {
        min: f64,
        max: f64,
    },
    /// A share from 0 to 1, or a text such as `"30%"`.
    Share,
    /// In milliseconds.
    Span {
        min: u64,
        max: u64,
    },
    /// A time of day such as `"09:30"`.
    Time,
    /// A share, or a table with these fields.
    Rate(&'static Table),
    /// The specification of a fault.
    Fault,
    Table(&'static Table),
    Tables(&'static Table),
}

impl Table {
    /// Returns the variant with this word.
    pub(crate) fn variant(&self, word: &str) -> Option<&'static Variant> {
        self.variants?.1.iter().find(|variant| variant.word == word)
    }

    /// Returns the fields that exist with this word of the deciding field.
    pub(crate) fn fields_of(&self, word: Option<&str>) -> impl Iterator<Item = &'static Field> + use<> {
        let more = word.and_then(|word| self.variant(word)).map_or(&[][..], |variant| variant.fields);
        self.fields.iter().chain(more)
    }
}

impl Takes {
    /// Describes the accepted values, for messages and the reference.
    pub(crate) fn describe(&self) -> String {
        let span = |millis: u64| crate::text::span(std::time::Duration::from_millis(millis));
        match self {
            Self::Text => "text".into(),
            Self::Identifier => "1 to 64 of a-z, 0-9, `-` and `_`".into(),
            Self::Texts => "a list of texts".into(),
            Self::Labels => "a table of texts".into(),
            Self::Words(words) => {
                words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
            }
            Self::Flag => "`true` or `false`".into(),
            Self::Count { min, max } if *max >= i64::MAX as u64 => {
                format!("a whole number of at least {min}")
            }
            Self::Count { min, max } if min == max => format!("{min}"),
            Self::Count { min, max } => format!("a whole number from {min} to {max}"),
            Self::AnyNumber => "a number".into(),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Share => "a share from 0 to 1, or `\"30%\"`".into(),
            Self::Span { min, max } => format!("a duration from {} to {}", span(*min), span(*max)),
            Self::Time => "a time of day such as `\"09:30\"`".into(),
            Self::Rate(_) => {
                "a share from 0 to 1, `\"30%\"`, or a ramp `{ from = 0.01, to = 0.2, over = \"60s\" }`".into()
            }
            Self::Fault => {
                "a fault such as `{ type = \"latency\", on = \"charge\", add = \"300ms\" }`".into()
            }
            Self::Table(_) => "a table".into(),
            Self::Tables(_) => "a list of tables".into(),
        }
    }
}
