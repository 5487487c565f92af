//! Correlation ids: one id for everything that belongs to a request, across all services that handle it.
//!
//! A server takes the id from the request ([`CorrelationId::from_headers`]) or creates one ([`CorrelationId::random`]),
//! and opens a scope with it. Code inside the scope, including nested protected calls, reads it with
//! [`CorrelationId::current`]. The id is part of every [`Event`](crate::Event), of the text of a
//! [`Rejection`](crate::Rejection) that is displayed inside the scope, and of the span of the call.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use resilient_runtime::correlation::CorrelationId;
//!
//! let id = CorrelationId::from_headers(|name| (name == "x-request-id").then_some("order-7")).unwrap();
//! let seen = id.scope_async(async { CorrelationId::current() }).await;
//! assert_eq!(seen.unwrap().as_str(), "order-7");
//! assert!(CorrelationId::current().is_none());
//! # }
//! ```

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::Serialize;

use crate::random::Random;

/// Maximum length of an id, in bytes.
const LONGEST: usize = 128;
/// The headers that can contain an id, in order of precedence. The last is W3C *Trace Context*: the id is its trace id.
const HEADERS: [&str; 3] = ["x-correlation-id", "x-request-id", "traceparent"];

/// The correlation id of a request. Cheap to clone.
///
/// It consists of 1 to 128 ASCII letters, digits, `.`, `_` or `-`, so it cannot be used to inject log lines or headers.
///
/// ```
/// use resilient_runtime::correlation::CorrelationId;
///
/// let id = CorrelationId::parse("order-7").unwrap();
/// assert_eq!(id.scope(CorrelationId::current), Some(id.clone()));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CorrelationId(Text);

/// Most ids are a trace id or a UUID with hyphens. Both are short enough to be stored inline, without an allocation.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Text {
    Short(u8, [u8; SHORT]),
    Long(Arc<str>),
}

const SHORT: usize = 38;
const HEX: [u8; 16] = *b"0123456789abcdef";

impl Text {
    fn of(text: &str) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                Self::Short(length, bytes)
            }
            _ => Self::Long(text.into()),
        }
    }
}

impl CorrelationId {
    /// Creates a random id of 32 hexadecimal digits, the format of a trace id.
    ///
    /// ```
    /// use resilient_runtime::correlation::CorrelationId;
    ///
    /// let id = CorrelationId::random();
    /// assert_eq!(id.as_str().len(), 32);
    /// assert_ne!(id, CorrelationId::random());
    /// ```
    pub fn random() -> Self {
        static RANDOM: LazyLock<Random> = LazyLock::new(|| Random::new(None));
        let number = RANDOM.unique();
        let mut text = [0; SHORT];
        for (place, digit) in text.iter_mut().take(32).enumerate() {
            *digit = HEX[(number >> (4 * (31 - place)) & 15) as usize];
        }
        Self(Text::Short(32, text))
    }

    /// Parses an id. Returns `None` if it is malformed.
    ///
    /// ```
    /// use resilient_runtime::correlation::CorrelationId;
    ///
    /// assert!(CorrelationId::parse("cart.7_b-2").is_some());
    /// assert!(CorrelationId::parse("7\r\nset-cookie: x").is_none());
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let is_well_formed = (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_allowed);
        is_well_formed.then(|| Self(Text::of(text)))
    }

    /// Reads the id of a request from its headers.
    ///
    /// Returns the first well-formed id of `x-correlation-id`, `x-request-id` and the trace id of `traceparent`, in
    /// this order.
    ///
    /// ```
    /// use resilient_runtime::correlation::CorrelationId;
    ///
    /// let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    /// let id = CorrelationId::from_headers(|name| (name == "traceparent").then_some(trace));
    /// assert_eq!(id.unwrap().as_str(), "4bf92f3577b34da6a3ce929d0e0e4736");
    /// ```
    pub fn from_headers<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Option<Self> {
        let [correlation, request, traceparent] = HEADERS;
        let own = |name| Self::parse(header(name)?);
        own(correlation).or_else(|| own(request)).or_else(|| Self::of_trace(header(traceparent)?))
    }

    /// Returns the trace id of a `traceparent` such as `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`.
    fn of_trace(traceparent: &str) -> Option<Self> {
        let is_hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let mut parts = traceparent.split('-');
        let (version, trace) = (parts.next()?, parts.next()?);
        let (parent, flags) = (parts.next()?, parts.next()?);
        let is_version_0 = version == "00";
        let is_whole = is_hex(version, 2) && version != "ff" && is_hex(parent, 16) && is_hex(flags, 2);
        let ends = !is_version_0 || parts.next().is_none();
        let is_set = is_hex(trace, 32) && trace.bytes().any(|digit| digit != b'0');
        (is_whole && ends && is_set).then(|| Self(Text::of(trace)))
    }

    /// Returns the id as a string.
    ///
    /// ```
    /// use resilient_runtime::correlation::CorrelationId;
    ///
    /// assert_eq!(CorrelationId::parse("order-7").unwrap().as_str(), "order-7");
    /// ```
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Short(length, bytes) => {
                let text = bytes.get(..usize::from(*length)).unwrap_or_default();
                // All bytes are ASCII.
                std::str::from_utf8(text).unwrap_or_default()
            }
            Text::Long(text) => text,
        }
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CorrelationId").field(&self.as_str()).finish()
    }
}

impl Serialize for CorrelationId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn of(headers: &[(&str, &'static str)]) -> Option<String> {
        let find = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        CorrelationId::from_headers(find).map(|id| id.to_string())
    }

    #[test]
    fn the_id_comes_from_the_first_well_formed_header() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of(&[("traceparent", trace)]).unwrap(), TRACE);
        assert_eq!(of(&[("traceparent", trace), ("x-request-id", "r-1")]).unwrap(), "r-1");
        assert_eq!(of(&[("x-request-id", "r-1"), ("x-correlation-id", "c")]).unwrap(), "c");
        assert_eq!(of(&[("x-request-id", "r-1"), ("x-correlation-id", "c d")]).unwrap(), "r-1");
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn malformed_ids_are_ignored() {
        for text in ["", " ", "a b", "a\r\nset-cookie: x", "ä", "a\u{0}", &"a".repeat(129)] {
            assert!(CorrelationId::parse(text).is_none(), "{text:?}");
        }
        for trace in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736",
            "",
        ] {
            assert!(of(&[("traceparent", trace)]).is_none(), "{trace}");
        }
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes";
        assert_eq!(of(&[("traceparent", later)]).unwrap(), TRACE, "a later version can have more fields");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            if let Some(id) = CorrelationId::parse(&text) {
                prop_assert_eq!(id.as_str(), text.as_str());
            }
            let _ = CorrelationId::of_trace(&text);
        }
    }

    #[test]
    fn scopes_nest_and_also_end_on_a_panic() {
        let seen = || CorrelationId::current().map(|id| id.to_string());
        let (a, b) = (CorrelationId::parse("a").unwrap(), CorrelationId::parse("b").unwrap());
        let outer = a.enter();
        let panicked = std::panic::catch_unwind(|| {
            let _inner = b.enter();
            assert_eq!(seen().as_deref(), Some("b"));
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(panicked.is_err());
        assert_eq!(seen().as_deref(), Some("a"));
        drop(outer);
        assert_eq!(seen(), None);
    }

    #[test]
    fn ids_of_all_lengths_are_equal_to_themselves() {
        for length in [1, 32, SHORT - 1, SHORT, SHORT + 1, LONGEST] {
            let text = "a-Z_0.".chars().cycle().take(length).collect::<String>();
            let id = CorrelationId::parse(&text).unwrap();
            assert_eq!((id.as_str(), id.to_string()), (&*text, text.clone()), "{length}");
            assert_eq!(id, CorrelationId::parse(&text).unwrap());
            assert_eq!(serde_json::to_value(&id).unwrap(), text);
        }
        assert!(CorrelationId::parse(&"x".repeat(LONGEST + 1)).is_none());
        let random = CorrelationId::random();
        assert!(random.as_str().len() == 32 && random.as_str().bytes().all(|digit| HEX.contains(&digit)));
        assert_eq!(Some(&random), CorrelationId::parse(random.as_str()).as_ref());
    }

    #[tokio::test]
    async fn concurrent_futures_each_have_their_own_id() {
        // T135
        let work = |name: &'static str| {
            CorrelationId::parse(name).unwrap().scope_async(async move {
                for _ in 0..3 {
                    assert_eq!(CorrelationId::current().unwrap().as_str(), name);
                    tokio::task::yield_now().await;
                }
            })
        };
        tokio::join!(work("a"), work("b"));
        assert!(CorrelationId::current().is_none());
        assert_ne!(CorrelationId::random(), CorrelationId::random());
        assert!(CorrelationId::parse(CorrelationId::random().as_str()).is_some());
    }
}
