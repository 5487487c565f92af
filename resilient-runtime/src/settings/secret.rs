//! Settings that are not shown.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::{Parameter, Value};

/// A URL with a login. `Display` and `Debug` show it without the login, other texts not at all.
///
/// ```
/// use resilient_runtime::settings::Secret;
///
/// let url = Secret::from("redis://shop:s3cret@cache.internal:6379/0");
/// assert_eq!(url.to_string(), "redis://***@cache.internal:6379/0");
/// assert_eq!(format!("{url:?}"), "redis://***@cache.internal:6379/0");
/// assert_eq!(Secret::from("redis://shop:s3?cret@cache.internal").to_string(), "redis://***");
/// assert_eq!(Secret::from("s3cret").to_string(), "***");
/// assert_eq!(url.expose(), "redis://shop:s3cret@cache.internal:6379/0");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Returns the whole text.
    ///
    /// ```
    /// use resilient_runtime::settings::Secret;
    ///
    /// assert_eq!(Secret::from("s3cret").expose(), "s3cret");
    /// ```
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else { return f.write_str("***") };
        // A query can contain a login too. After an unescaped `?` in a password, the query is not known.
        let rest = match rest.split_once('?') {
            Some((_, query)) if query.contains('@') => return write!(f, "{scheme}://***"),
            Some((path, _)) => path,
            None => rest,
        };
        match rest.rsplit_once('@') {
            Some((_, host)) => write!(f, "{scheme}://***@{host}"),
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Parameter for Secret {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Secret(secret) => Some(secret.clone()),
            Value::Text(text) => Some(Self::from(text.as_ref())),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        Value::Secret(self.clone())
    }

    fn expected() -> Cow<'static, str> {
        "a text".into()
    }
}
