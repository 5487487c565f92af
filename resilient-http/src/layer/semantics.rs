//! What a request and an answer of HTTP mean ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110)).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode, header};
use resilient::{Class, Classify, Verdict};

/// Whether carrying the request out twice has the effect of once: by its method, or because the server knows it by its key.
pub(crate) fn is_idempotent(method: &Method, headers: &HeaderMap) -> bool {
    method.is_idempotent() || headers.contains_key("idempotency-key")
}

/// What an answer is worth.
pub(crate) fn of_answer(status: StatusCode, headers: &HeaderMap) -> Verdict {
    if !status.is_client_error() && !status.is_server_error() {
        return Verdict::Success;
    }
    let retry_after = wish(headers, SystemTime::now);
    Verdict::Failure(match status.classify() {
        // Something may have been done before it failed.
        Class::Unknown { .. } => Class::Uncertain { retry_after },
        Class::Transient { .. } => Class::Transient { retry_after },
        Class::Overload { .. } => Class::Overload { retry_after },
        other => other,
    })
}

/// When the server wants to be asked again: `Retry-After`, in seconds or as a date.
fn wish(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let wish = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = wish.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(wish).ok()?;
    Some(date.duration_since(now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_when_in_seconds_or_as_a_date() {
        let now = httpdate::parse_http_date("Wed, 25 Nov 2026 13:00:00 GMT").unwrap();
        let wish = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            wish(&headers, || now)
        };
        assert_eq!(wish("120"), Some(Duration::from_mins(2)));
        assert_eq!(wish("Wed, 25 Nov 2026 13:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(wish("Wed, 25 Nov 2026 12:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["", "-1", "soon", "1e3", "99999999999999999999", "Wed, 99 Nov 2026 25:00:00 GMT"] {
            assert_eq!(wish(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_failure_of_the_server_may_have_had_its_effect_and_a_refusal_has_not() {
        let of = |status: u16| of_answer(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        assert_eq!(of(200), Verdict::Success);
        assert_eq!(of(304), Verdict::Success);
        assert_eq!(of(500), Verdict::Failure(Class::UNCERTAIN));
        assert_eq!(of(408), Verdict::Failure(Class::TRANSIENT));
        assert_eq!(of(429), Verdict::Failure(Class::Overload { retry_after: None }));
        assert_eq!(of(501), Verdict::Failure(Class::Permanent));
        assert_eq!(of(404), Verdict::Failure(Class::Ignored));
    }

    #[test]
    fn what_may_be_repeated_is_known_by_its_method_or_its_key() {
        let none = HeaderMap::new();
        assert!(is_idempotent(&Method::GET, &none) && is_idempotent(&Method::DELETE, &none));
        assert!(!is_idempotent(&Method::POST, &none) && !is_idempotent(&Method::PATCH, &none));
        let mut keyed = HeaderMap::new();
        keyed.insert("idempotency-key", "7".parse().unwrap());
        assert!(is_idempotent(&Method::POST, &keyed));
    }
}
