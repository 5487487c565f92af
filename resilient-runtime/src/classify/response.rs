//! Classifies HTTP responses ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110)).

use std::fmt;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode, header};

use super::{Class, Classify};
use crate::classify::Verdict;

impl Class {
    /// Returns the class of a response with its `Retry-After`, or `None` for a success (1xx, 2xx and 3xx).
    ///
    /// The [`Classify`] implementation of [`StatusCode`] determines the class. It does not consider the request. If the
    /// method is known, use [`of_response_to`](Self::of_response_to).
    ///
    /// `Retry-After` is a number of seconds or a date. A date is compared with the `Date` of the response, which is the
    /// clock of the server, or with the local clock if the response has no `Date`. A date in the past means no wait,
    /// and a malformed value is ignored.
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{HeaderMap, StatusCode};
    /// use resilient_runtime::Class;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("date", "Wed, 25 Nov 2026 13:00:00 GMT".parse().unwrap());
    /// headers.insert("retry-after", "Wed, 25 Nov 2026 13:00:30 GMT".parse().unwrap());
    /// let busy = Class::of_response(StatusCode::TOO_MANY_REQUESTS, &headers);
    /// assert_eq!(busy, Some(Class::Overload { retry_after: Some(Duration::from_secs(30)) }));
    /// assert_eq!(Class::of_response(StatusCode::NOT_FOUND, &headers), Some(Class::Ignored));
    /// assert_eq!(Class::of_response(StatusCode::NO_CONTENT, &headers), None);
    /// ```
    #[allow(clippy::disallowed_methods)] // without a `Date`, only the system clock can be compared with a date
    pub fn of_response(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if !status.is_client_error() && !status.is_server_error() {
            return None;
        }
        Some(status.classify().with_hint(retry_after(headers, SystemTime::now)))
    }

    /// Returns the class of the response to a request, or `None` for a success.
    ///
    /// Like [`of_response`](Self::of_response), except for a class of [`Class::Unknown`]. If the request is idempotent,
    /// it becomes [`Class::Transient`]. If not, it becomes [`Class::Uncertain`], because the server may have executed
    /// the request before it failed. A request is idempotent if its method is
    /// [idempotent](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2), or if it has an `Idempotency-Key`.
    ///
    /// ```
    /// use http::{HeaderMap, Method, StatusCode};
    /// use resilient_runtime::Class;
    ///
    /// let (none, failed) = (HeaderMap::new(), StatusCode::BAD_GATEWAY);
    /// assert_eq!(Class::of_response_to(&Method::GET, &none, failed, &none), Some(Class::TRANSIENT));
    /// assert_eq!(Class::of_response_to(&Method::POST, &none, failed, &none), Some(Class::UNCERTAIN));
    /// ```
    pub fn of_response_to(
        method: &Method,
        request_headers: &HeaderMap,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<Self> {
        let is_idempotent = method.is_idempotent() || request_headers.contains_key("idempotency-key");
        let class = Self::of_response(status, headers)?;
        Some(match class {
            // The server may have executed the request before it failed, which matters only if it is not idempotent.
            Self::Unknown { retry_after } if is_idempotent => Self::Transient { retry_after },
            Self::Unknown { retry_after } => Self::Uncertain { retry_after },
            class => class,
        })
    }

    /// Sets the `retry_after` of a class, if the class has one.
    fn with_hint(self, hint: Option<Duration>) -> Self {
        match self {
            Self::Transient { .. } => Self::Transient { retry_after: hint },
            Self::Uncertain { .. } => Self::Uncertain { retry_after: hint },
            Self::Overload { .. } => Self::Overload { retry_after: hint },
            Self::Unknown { .. } => Self::Unknown { retry_after: hint },
            other => other,
        }
    }
}

impl Verdict {
    /// Returns the verdict on a response: the class of [`Class::of_response`], or success.
    ///
    /// ```
    /// use http::{Response, StatusCode};
    /// use resilient_runtime::{Registry, Rejection, Verdict};
    ///
    /// let pipeline = Registry::new().pipeline("stock").circuit_breaker("stock").build();
    /// let judge = |answer: &Result<Response<()>, Rejection>| match answer {
    ///     Ok(response) => Verdict::of_response(response.status(), response.headers()),
    ///     Err(_) => Verdict::of(answer),
    /// };
    /// let teapot = || Ok(Response::builder().status(StatusCode::IM_A_TEAPOT).body(()).unwrap());
    /// assert_eq!(pipeline.request().judge(judge).call(teapot).unwrap().status(), 418);
    /// assert_eq!(pipeline.stats().ignored, 1, "a 4xx response is not a failure of the dependency");
    /// ```
    pub fn of_response(status: StatusCode, headers: &HeaderMap) -> Self {
        Class::of_response(status, headers).map_or(Self::Success, Self::Failure)
    }
}

/// A response with a status and headers, of any HTTP client. See [`checked`].
///
/// ```
/// use resilient_runtime::HttpResponse;
///
/// let response = http::Response::builder().status(404).body("no such book").unwrap();
/// assert_eq!(response.status_and_headers().0, 404);
/// ```
pub trait HttpResponse {
    /// Returns the status and the headers.
    ///
    /// ```
    /// use resilient_runtime::HttpResponse;
    ///
    /// let response = http::Response::builder().header("retry-after", "3").body(()).unwrap();
    /// assert_eq!(response.status_and_headers().1["retry-after"], "3");
    /// ```
    fn status_and_headers(&self) -> (StatusCode, &HeaderMap);
}

impl<B> HttpResponse for http::Response<B> {
    fn status_and_headers(&self) -> (StatusCode, &HeaderMap) {
        (self.status(), self.headers())
    }
}

#[cfg(feature = "reqwest")]
impl HttpResponse for reqwest::Response {
    fn status_and_headers(&self) -> (StatusCode, &HeaderMap) {
        (self.status(), self.headers())
    }
}

/// Turns a 4xx or 5xx response into an error that keeps its `Retry-After`.
///
/// The `error_for_status` of `reqwest` drops the `Retry-After`.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::{Classify, Rejection, StatusError, checked, resilient};
///
/// #[derive(Debug, thiserror::Error)]
/// enum StockError {
///     #[error(transparent)]
///     Status(#[from] StatusError),
///     #[error(transparent)]
///     Rejected(#[from] Rejection),
/// }
///
/// # fn send() -> http::Response<u32> { http::Response::builder().status(429).header("retry-after", "1").body(7).unwrap() }
/// #[resilient(circuit_breaker = "stock")]
/// fn stock() -> Result<u32, StockError> {
///     let response = checked(send())?; // with reqwest: `checked(client.get(url).send().await?)?`
///     Ok(response.into_body())
/// }
///
/// let Err(StockError::Status(error)) = stock() else { panic!("the server returns 429") };
/// assert_eq!((error.status().as_u16(), error.retry_after()), (429, Some(Duration::from_secs(1))));
/// ```
///
/// # Errors
/// Returns a [`StatusError`] if the status is 4xx or 5xx. The response and its body are dropped.
pub fn checked<R: HttpResponse>(response: R) -> Result<R, StatusError> {
    let (status, headers) = response.status_and_headers();
    match StatusError::of(status, headers) {
        None => Ok(response),
        Some(error) => Err(error),
    }
}

/// The error of a 4xx or 5xx response, with its `Retry-After`. Created by [`checked`].
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::{Class, Classify, checked};
///
/// let busy = http::Response::builder().status(503).header("retry-after", "2").body(()).unwrap();
/// let error = checked(busy).unwrap_err();
/// assert_eq!(error.to_string(), "the server returned 503 Service Unavailable; try again in 2.0s");
/// assert_eq!(error.classify().retry_after(), Some(Duration::from_secs(2)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusError(Answer);

/// The status and class of a response. It is the source of the error, so it is also found behind a transparent error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    status: StatusCode,
    pub(super) class: Class,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)
    }
}

impl std::error::Error for Answer {}

impl Classify for Answer {
    fn classify(&self) -> Class {
        self.class
    }
}

impl StatusError {
    /// Creates the error of a response. Returns `None` if the status is not 4xx or 5xx.
    ///
    /// ```
    /// use http::{HeaderMap, StatusCode};
    /// use resilient_runtime::StatusError;
    ///
    /// assert!(StatusError::of(StatusCode::BAD_REQUEST, &HeaderMap::new()).is_some());
    /// assert!(StatusError::of(StatusCode::OK, &HeaderMap::new()).is_none());
    /// ```
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        Class::of_response(status, headers).map(|class| Self(Answer { status, class }))
    }

    /// Returns the status of the response.
    ///
    /// ```
    /// let gone = http::Response::builder().status(410).body(()).unwrap();
    /// assert_eq!(resilient_runtime::checked(gone).unwrap_err().status(), 410);
    /// ```
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Returns how long the server asks to wait, if it does and the failure can be retried.
    ///
    /// ```
    /// let busy = http::Response::builder().status(429).body(()).unwrap();
    /// assert_eq!(resilient_runtime::checked(busy).unwrap_err().retry_after(), None);
    /// ```
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.class.retry_after()
    }
}

impl Classify for StatusError {
    /// Returns the class of [`Class::of_response`].
    fn classify(&self) -> Class {
        self.0.class
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server returned {}", self.0.status)?;
        match self.retry_after() {
            Some(span) => write!(f, "; try again in {span:.1?}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StatusError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Returns `Retry-After` as a duration from the arrival of the response.
fn retry_after(headers: &HeaderMap, local: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let text = |name| Some(headers.get(name)?.to_str().ok()?.trim());
    let value = text(header::RETRY_AFTER)?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that overflows is a long time, not a malformed value.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // The time on the server's clock when the response arrived: its `Date`, plus its `Age` in a cache.
    let age = || text(header::AGE)?.parse().ok().map(Duration::from_secs);
    let made = text(header::DATE).and_then(|made| httpdate::parse_http_date(made).ok());
    let now = match made {
        Some(made) => made.checked_add(age().unwrap_or_default()).unwrap_or(made),
        None => local(),
    };
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "Wed, 25 Nov 2026 12:00:00 GMT";
    const FIVE_PAST: &str = "Wed, 25 Nov 2026 12:05:00 GMT";

    fn hint(headers: &[(&'static str, &str)]) -> Option<Duration> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        retry_after(&map, || httpdate::parse_http_date(NOON).unwrap())
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date_and_malformed_values_are_ignored() {
        let secs = |secs| Some(Duration::from_secs(secs));
        assert_eq!(hint(&[("retry-after", "120")]), secs(120));
        assert_eq!(hint(&[("retry-after", " 0 ")]), secs(0));
        assert_eq!(hint(&[("retry-after", "99999999999999999999")]), secs(u64::MAX));
        assert_eq!(hint(&[("retry-after", "Wed, 25 Nov 2026 12:00:30 GMT")]), secs(30));
        // The two obsolete formats that a recipient must accept.
        assert_eq!(hint(&[("retry-after", "Wednesday, 25-Nov-26 12:00:30 GMT")]), secs(30));
        assert_eq!(hint(&[("retry-after", "Wed Nov 25 12:00:30 2026")]), secs(30));
        assert_eq!(hint(&[("retry-after", "Wed, 25 Nov 2026 11:00:00 GMT")]), secs(0), "in the past");
        for malformed in ["", "-1", "+1", "1.5", "soon", "1e3", "1 2", "Wed, 99 Nov 2026 25:00:00 GMT"] {
            assert_eq!(hint(&[("retry-after", malformed)]), None, "{malformed}");
        }
        assert_eq!(hint(&[]), None);
    }

    #[test]
    fn a_date_is_relative_to_the_clock_of_the_server() {
        let wait = |now, until| hint(&[("date", now), ("retry-after", until)]);
        let secs = |secs| Some(Duration::from_secs(secs));
        assert_eq!(wait(FIVE_PAST, "Wed, 25 Nov 2026 12:05:02 GMT"), secs(2), "the clock is ahead");
        assert_eq!(wait("Wed, 25 Nov 2026 11:55:00 GMT", "Wed, 25 Nov 2026 11:55:02 GMT"), secs(2), "behind");
        assert_eq!(wait(FIVE_PAST, NOON), secs(0));
        assert_eq!(wait("noon", "Wed, 25 Nov 2026 12:00:02 GMT"), secs(2), "a malformed date is ignored");
        let cached = [("date", NOON), ("age", "290"), ("retry-after", FIVE_PAST)];
        assert_eq!(hint(&cached), secs(10), "most of it has passed in a cache on the way");
        let nonsense = [("date", NOON), ("age", "18446744073709551615"), ("retry-after", FIVE_PAST)];
        assert_eq!(hint(&nonsense), secs(300));
    }

    #[test]
    fn the_status_is_also_found_behind_a_transparent_error() {
        #[derive(Debug, thiserror::Error)]
        enum Error {
            #[error(transparent)]
            Transparent(StatusError),
            #[error("no rates today")]
            Source(#[source] StatusError),
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "3".parse().unwrap());
        let status = StatusError::of(StatusCode::TOO_MANY_REQUESTS, &headers).unwrap();
        let busy = Some(Class::Overload { retry_after: Some(Duration::from_secs(3)) });
        assert_eq!(Class::found_in(&status), busy);
        assert_eq!(Class::found_in(&Error::Transparent(status)), busy);
        assert_eq!(Class::found_in(&Error::Source(status)), busy);
    }

    #[test]
    fn retry_after_is_kept_for_classes_that_can_have_it() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "3".parse().unwrap());
        let of = |status: u16| Class::of_response(StatusCode::from_u16(status).unwrap(), &headers);
        let retry_after = Some(Duration::from_secs(3));
        assert_eq!((of(200), of(304)), (None, None));
        assert_eq!(of(429), Some(Class::Overload { retry_after }));
        assert_eq!(of(503), Some(Class::Unknown { retry_after }));
        assert_eq!(of(408), Some(Class::Transient { retry_after }));
        assert_eq!((of(404), of(501)), (Some(Class::Ignored), Some(Class::Permanent)));
        let to = |method: Method, key: &HeaderMap| {
            Class::of_response_to(&method, key, StatusCode::SERVICE_UNAVAILABLE, &headers).unwrap()
        };
        let (none, mut keyed) = (HeaderMap::new(), HeaderMap::new());
        keyed.insert("idempotency-key", "7".parse().unwrap());
        assert_eq!(to(Method::GET, &none), Class::Transient { retry_after });
        assert_eq!(to(Method::POST, &none), Class::Uncertain { retry_after });
        assert_eq!(to(Method::POST, &keyed), Class::Transient { retry_after });
    }
}
