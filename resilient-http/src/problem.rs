//! Error responses as `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).

use std::fmt::Write as _;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use resilient_runtime::correlation::CorrelationId;
use resilient_runtime::{Class, Classify, Rejection, RejectionKind};
use serde_json::{Map, Value, json};

use crate::layer::semantics::{
    GRPC_MESSAGE, GRPC_PUSHBACK, GRPC_STATUS, Protocol, code_of_refusal, code_of_status,
};

/// An error response as `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).
///
/// It implements [`IntoResponse`], so that a handler can return it. [`response_to`](Self::response_to) also supports gRPC.
/// Within the scope of a [`CorrelationId`], the body has a `correlation_id` member.
///
/// ```
/// use http::StatusCode;
/// use resilient_http::Problem;
///
/// let problem = Problem::new(StatusCode::NOT_FOUND, "no such order").with("order", "7");
/// assert_eq!(problem.status(), 404);
/// ```
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    /// The last part of the `type` member; without a kind the type is `about:blank`.
    kind: Option<RejectionKind>,
    more: Map<String, Value>,
    retry_after: Option<std::time::Duration>,
    is_unexecuted: bool,
}

/// Response extension: the request was not executed and had no effect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unexecuted;

impl Problem {
    /// Creates a problem with a status and a `detail` text.
    ///
    /// ```
    /// use axum::response::IntoResponse;
    /// use http::StatusCode;
    /// use resilient_http::Problem;
    ///
    /// let response = Problem::new(StatusCode::GONE, "the offer has ended").into_response();
    /// assert_eq!(response.headers()["content-type"], "application/problem+json");
    /// ```
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let (kind, more, retry_after) = (None, Map::new(), None);
        Self { status, detail: detail.into(), kind, more, retry_after, is_unexecuted: false }
    }

    /// Adds a member to the JSON body.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use axum::{body::to_bytes, response::IntoResponse};
    /// use http::StatusCode;
    /// use resilient_http::Problem;
    ///
    /// let response = Problem::new(StatusCode::NOT_FOUND, "no such order").with("order", 7).into_response();
    /// let body = to_bytes(response.into_body(), 1000).await.unwrap();
    /// assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap()["order"], 7);
    /// # }
    /// ```
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the `Retry-After` header, in seconds and rounded up; `None` removes it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use axum::response::IntoResponse;
    /// use http::StatusCode;
    /// use resilient_http::Problem;
    ///
    /// let busy = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the service is busy").after(Duration::from_secs(30));
    /// assert_eq!(busy.into_response().headers()["retry-after"], "30");
    /// ```
    #[must_use]
    pub fn after(mut self, span: impl Into<Option<std::time::Duration>>) -> Self {
        self.retry_after = span.into();
        self
    }

    /// Declares that the request had no effect.
    ///
    /// An [`IdempotencyLayer`](crate::layer::IdempotencyLayer) around the handler then releases the idempotency key, so that
    /// the client can send the request again. A problem that is made from a [`Rejection`] declares this itself if the rejected
    /// call was not executed.
    ///
    /// ```
    /// use http::StatusCode;
    /// use resilient_http::Problem;
    ///
    /// let closed = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the shop is closed at night").unexecuted();
    /// assert_eq!(closed.status(), 503);
    /// ```
    #[must_use]
    pub fn unexecuted(self) -> Self {
        Self { is_unexecuted: true, ..self }
    }

    /// Returns the status of the response.
    ///
    /// ```
    /// use http::StatusCode;
    /// use resilient_http::Problem;
    ///
    /// assert_eq!(Problem::new(StatusCode::CONFLICT, "the order has changed").status(), 409);
    /// ```
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

/// Returns the HTTP status for a rejection.
///
/// | status | rejection |
/// |---|---|
/// | 429 | a rate limit |
/// | 413 | a call that weighs more than its rate limit ever admits |
/// | 504 | a timeout of the call, an attempt, a connect, a read, or the wait in a queue |
/// | 500 | an error of the program itself: an unsupported call, a missing idempotency store, or a runtime without timers |
/// | 503 | most other rejections, such as an open circuit, a full bulkhead or shed load |
///
/// Rejections for an idempotency key:
///
/// | status | rejection | what the client can do |
/// |---|---|---|
/// | 400 | [`InvalidKey`](RejectionKind::InvalidKey): the key is malformed | correct the key |
/// | 409 | [`InProgress`](RejectionKind::InProgress): the first request is still running | send the same request again |
/// | 409 | [`OutcomeUnknown`](RejectionKind::OutcomeUnknown) | find out whether the first request had an effect |
/// | 409 | [`StoredValueMismatch`](RejectionKind::StoredValueMismatch): the first request was executed, but its stored response cannot be read | keep the key, and look up the result in another way |
/// | 422 | [`KeyReused`](RejectionKind::KeyReused): the key belongs to another request | use a new key |
///
/// ```
/// use resilient_runtime::RejectionKind;
/// use resilient_http::status_of;
///
/// assert_eq!(status_of(RejectionKind::RateLimited), 429);
/// assert_eq!(status_of(RejectionKind::TotalTimeout), 504);
/// assert_eq!(status_of(RejectionKind::CircuitOpen), 503);
/// ```
pub fn status_of(kind: RejectionKind) -> StatusCode {
    match kind {
        RejectionKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        RejectionKind::WeightExceedsLimit => StatusCode::PAYLOAD_TOO_LARGE,
        RejectionKind::TotalTimeout
        | RejectionKind::AttemptTimeout
        | RejectionKind::ConnectTimeout
        | RejectionKind::ReadTimeout
        | RejectionKind::QueueTimeout => StatusCode::GATEWAY_TIMEOUT,
        // A stored value that cannot be read is a 409, because a 422 tells the client to use a new key, and with a new key
        // the call, which was executed already, would be executed again.
        RejectionKind::InProgress | RejectionKind::OutcomeUnknown | RejectionKind::StoredValueMismatch => {
            StatusCode::CONFLICT
        }
        RejectionKind::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        RejectionKind::InvalidKey => StatusCode::BAD_REQUEST,
        // A repeated request would be rejected again: the program makes the call incorrectly, or is set up incorrectly.
        RejectionKind::Unsupported | RejectionKind::NoStore | RejectionKind::NoTimer => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl Problem {
    /// Creates a problem from an error.
    ///
    /// If the error or one of its sources is a [`Rejection`], the problem describes only that rejection, without the texts of
    /// other errors. Any other error becomes a problem with the status `otherwise` and the text of the error.
    ///
    /// ```
    /// use http::StatusCode;
    /// use resilient_http::Problem;
    ///
    /// let error = std::io::Error::other("the disk is gone");
    /// assert_eq!(Problem::of(&error, StatusCode::BAD_GATEWAY).status(), 502);
    /// ```
    pub fn of(error: &(dyn std::error::Error + 'static), otherwise: StatusCode) -> Self {
        match Rejection::found_in(error) {
            Some(rejection) => rejection.into(),
            None => Self::new(otherwise, error.to_string()),
        }
    }
}

impl From<&Rejection> for Problem {
    fn from(rejection: &Rejection) -> Self {
        let kind = rejection.kind();
        // Error texts of a dependency can contain secrets, so they are not sent to the client.
        let mut problem = Self::new(status_of(kind), rejection.without_errors().to_string());
        problem.kind = Some(kind);
        problem.is_unexecuted =
            !matches!(rejection.classify(), Class::Uncertain { .. } | Class::Unknown { .. });
        problem.with("component", rejection.component()).after(rejection.retry_after())
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        Self::from(&rejection)
    }
}

impl Problem {
    /// Creates the response to a request with these headers, for HTTP or gRPC.
    ///
    /// A gRPC request is recognized by its `Content-Type`. Its response is a gRPC status in the headers, without a body
    /// (`Trailers-Only`). Any other request gets `application/problem+json`.
    ///
    /// | rejection | `grpc-status` |
    /// |---|---|
    /// | a rate limit, a full bulkhead, shed load | `RESOURCE_EXHAUSTED` |
    /// | an open circuit, an unavailable store | `UNAVAILABLE` |
    /// | a call that weighs more than its rate limit ever admits | `OUT_OF_RANGE` |
    /// | an unsupported call, or a program that is set up incorrectly | `INTERNAL` |
    /// | a timeout | `DEADLINE_EXCEEDED` |
    /// | an idempotency key that is malformed | `INVALID_ARGUMENT` |
    /// | an idempotency key that was used with another payload | `FAILED_PRECONDITION` |
    /// | an idempotency key whose first request is in progress | `ABORTED` |
    /// | a stored response that cannot be read | `FAILED_PRECONDITION` |
    /// | an unknown outcome of the first request, a fallback that failed | `UNKNOWN` |
    ///
    /// `grpc-message` is the `detail` text, and `grpc-retry-pushback-ms` says when the client can try again.
    ///
    /// ```
    /// use http::{HeaderMap, StatusCode};
    /// use resilient_http::Problem;
    ///
    /// let mut request = HeaderMap::new();
    /// request.insert("content-type", "application/grpc+proto".parse().unwrap());
    /// let response = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many requests").response_to(&request);
    /// assert_eq!((response.status().as_u16(), &response.headers()["grpc-status"]), (200, &http::HeaderValue::from(8)));
    /// ```
    pub fn response_to(self, request: &HeaderMap) -> Response {
        self.response_in(Protocol::of(request))
    }

    pub(crate) fn response_in(self, protocol: Protocol) -> Response {
        let Some(content_type) = protocol.grpc_content_type() else {
            return self.into_response();
        };
        let code = self.kind.map_or_else(|| code_of_status(self.status), code_of_refusal);
        let mut response = Response::new(axum::body::Body::empty());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(GRPC_STATUS, HeaderValue::from(code));
        if let Ok(message) = HeaderValue::try_from(percent_encoded(&self.detail)) {
            headers.insert(GRPC_MESSAGE, message);
        }
        if let Some(span) = self.retry_after {
            // Rounded up, and limited to the range of `i32`, which every implementation can parse.
            let millis = span.as_nanos().div_ceil(1_000_000).min(i32::MAX.unsigned_abs().into());
            headers.insert(GRPC_PUSHBACK, HeaderValue::from(u64::try_from(millis).unwrap_or(u64::MAX)));
        }
        if self.is_unexecuted {
            response.extensions_mut().insert(Unexecuted);
        }
        response
    }
}

/// Percent-encodes a `grpc-message`: everything except printable ASCII, and the percent sign.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let is_unexecuted = self.is_unexecuted;
        let name = |kind: RejectionKind| format!("urn:resilient:{}", kind.as_str());
        let kind = self.kind.map_or_else(|| "about:blank".to_owned(), name);
        let mut body = json!({
            "type": kind,
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Value::Object(members) = &mut body {
            members.extend(self.more);
            if let Some(id) = CorrelationId::current() {
                members.insert("correlation_id".into(), id.as_str().into());
            }
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(span) = self.retry_after {
            // Whole seconds, rounded up: an earlier retry would be rejected again.
            let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if is_unexecuted {
            response.extensions_mut().insert(Unexecuted);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use resilient_runtime::circuit_breaker;
    use resilient_runtime::{Component, Registry};

    use super::*;

    #[test]
    fn a_rejection_has_a_status_and_a_retry_after() {
        let registry = Registry::new();
        let breaker = registry.circuit_breaker("payment");
        let opens = circuit_breaker::Config::default().failure_threshold(1).open_for(Duration::from_secs(30));
        breaker.reconfigure(opens).unwrap();
        assert!(breaker.call(|| None::<u32>).is_none());
        let rejection = breaker.try_acquire().unwrap_err();
        let response = Problem::from(&rejection).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let seconds: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=30).contains(&seconds), "{seconds}");
    }

    #[test]
    fn the_response_to_a_grpc_request_is_a_grpc_status() {
        let mut request = HeaderMap::new();
        request.insert("content-type", "application/grpc".parse().unwrap());
        let registry = Registry::new();
        registry.circuit_breaker("100 % of a\u{f6}").force_open();
        let open = registry.circuit_breaker("100 % of a\u{f6}").try_acquire().unwrap_err();
        let response = Problem::from(&open).after(Duration::from_micros(1500)).response_to(&request);
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!((response.status().as_u16(), header("content-type")), (200, "application/grpc"));
        assert_eq!((header("grpc-status"), header("grpc-retry-pushback-ms")), ("14", "2"));
        assert!(header("grpc-message").contains("`100 %25 of a%C3%B6` is open"), "{response:?}");
        let code = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            let response = Problem::new(status, "").after(Duration::MAX).response_to(&request);
            assert_eq!(response.headers()["grpc-retry-pushback-ms"], "2147483647");
            response.headers()["grpc-status"].to_str().unwrap().to_owned()
        };
        assert_eq!([400, 429, 503, 504, 409, 418].map(code), ["3", "8", "14", "4", "10", "2"]);
        request.insert("content-type", "application/grpc-web-text+proto".parse().unwrap());
        let web = Problem::new(StatusCode::GATEWAY_TIMEOUT, "late").response_to(&request);
        assert_eq!(web.headers()["content-type"], "application/grpc-web-text");
        let plain = Problem::new(StatusCode::GATEWAY_TIMEOUT, "late").response_to(&HeaderMap::new());
        assert_eq!(plain.status(), 504);
    }

    #[test]
    fn a_problem_does_not_contain_error_texts_wherever_the_rejection_is_in_the_chain() {
        #[derive(Debug, thiserror::Error)]
        enum PayError {
            #[error("payment failed: {0}")]
            Shown(#[source] Rejection),
            #[error(transparent)]
            Transparent(#[from] Rejection),
        }
        let registry = Registry::new();
        registry
            .circuit_breaker("db")
            .reconfigure(circuit_breaker::Config::default().failure_threshold(1))
            .unwrap();
        let secret = || Err::<u32, _>(std::io::Error::other("password hunter2"));
        registry.circuit_breaker("db").call(secret).unwrap_err();
        let open = registry.circuit_breaker("db").try_acquire().unwrap_err();
        assert!(open.to_string().contains("hunter2"), "{open}");
        let errors: [Box<dyn std::error::Error>; 5] = [
            open.clone().into(),
            std::io::Error::from(open.clone()).into(),
            std::io::Error::other(PayError::Shown(open.clone())).into(),
            Box::new(PayError::Transparent(open.clone())),
            Box::new(std::sync::Arc::new(PayError::Shown(open))),
        ];
        for error in errors {
            let problem = Problem::of(&*error, StatusCode::BAD_GATEWAY);
            assert!(!problem.detail.contains("hunter2"), "{problem:?}");
            assert!(problem.detail.starts_with("circuit breaker `db` is open"), "{problem:?}");
            assert_eq!(
                (problem.status, &problem.more["component"]),
                (StatusCode::SERVICE_UNAVAILABLE, &"db".into())
            );
        }
    }

    #[test]
    fn a_permanent_rejection_does_not_ask_for_a_retry() {
        for kind in RejectionKind::ALL {
            let (status, code) = (status_of(*kind), code_of_refusal(*kind));
            assert!((1..=16).contains(&code));
            let is_permanent = matches!(
                kind,
                RejectionKind::WeightExceedsLimit
                    | RejectionKind::KeyReused
                    | RejectionKind::InvalidKey
                    | RejectionKind::StoredValueMismatch
                    | RejectionKind::NoStore
                    | RejectionKind::Unsupported
            );
            // `RESOURCE_EXHAUSTED`, `ABORTED`, `UNAVAILABLE`.
            assert!(!is_permanent || ![8, 10, 14].contains(&code), "{kind:?}: {code}");
            assert!(!is_permanent || ![429, 503, 504].contains(&status.as_u16()), "{kind:?}: {status}");
        }
        assert_eq!(code_of_refusal(RejectionKind::WeightExceedsLimit), 11);
        assert_eq!(code_of_refusal(RejectionKind::CircuitOpen), 14);
    }

    #[test]
    fn rejection_kinds_map_to_http_statuses() {
        assert_eq!(status_of(RejectionKind::RateLimited), 429);
        assert_eq!(status_of(RejectionKind::QueueTimeout), 504);
        assert_eq!(status_of(RejectionKind::InProgress), 409);
        assert_eq!(status_of(RejectionKind::KeyReused), 422);
        assert_eq!(status_of(RejectionKind::StoredValueMismatch), 409);
        assert_eq!(code_of_refusal(RejectionKind::StoredValueMismatch), 9, "FAILED_PRECONDITION");
        assert_eq!(status_of(RejectionKind::Shed), 503);
    }
}
