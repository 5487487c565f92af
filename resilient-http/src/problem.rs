//! Errors as HTTP answers: `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use resilient::correlation::CorrelationId;
use resilient::{Rejection, RejectionKind};
use serde_json::{Map, Value, json};

/// An answer that says what went wrong, in a form that programs can read, too.
///
/// ```
/// use http::StatusCode;
/// use resilient_http::Problem;
///
/// let problem = Problem::new(StatusCode::NOT_FOUND, "there is no such order").with("order", "7");
/// assert_eq!(problem.status(), 404);
/// ```
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    /// The last part of the `type`; the status says it all where there is none.
    kind: Option<&'static str>,
    more: Map<String, Value>,
    retry_after: Option<std::time::Duration>,
}

impl Problem {
    /// A problem in words.
    ///
    /// ```
    /// use axum::response::IntoResponse;
    /// use http::StatusCode;
    /// use resilient_http::Problem;
    ///
    /// let answer = Problem::new(StatusCode::GONE, "the offer has ended").into_response();
    /// assert_eq!(answer.headers()["content-type"], "application/problem+json");
    /// ```
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), kind: None, more: Map::new(), retry_after: None }
    }

    /// With another member.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use axum::{body::to_bytes, response::IntoResponse};
    /// use http::StatusCode;
    /// use resilient_http::Problem;
    ///
    /// let answer = Problem::new(StatusCode::NOT_FOUND, "there is no such order").with("order", 7).into_response();
    /// let body = to_bytes(answer.into_body(), 1000).await.unwrap();
    /// assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap()["order"], 7);
    /// # }
    /// ```
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// With a `Retry-After`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use axum::response::IntoResponse;
    /// use http::StatusCode;
    /// use resilient_http::Problem;
    ///
    /// let busy = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "we are full").after(Duration::from_secs(30));
    /// assert_eq!(busy.into_response().headers()["retry-after"], "30");
    /// ```
    #[must_use]
    pub fn after(mut self, span: impl Into<Option<std::time::Duration>>) -> Self {
        self.retry_after = span.into();
        self
    }

    /// The status of the answer.
    ///
    /// ```
    /// use http::StatusCode;
    /// use resilient_http::Problem;
    ///
    /// assert_eq!(Problem::new(StatusCode::CONFLICT, "it was changed meanwhile").status(), 409);
    /// ```
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

/// What a caller is told of a refusal: 429 for its own rate, 409 and 422 for its idempotency key, 504 where time ran
/// out, 503 for all that is ours.
///
/// ```
/// use resilient::RejectionKind;
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
        RejectionKind::InProgress | RejectionKind::OutcomeUnknown => StatusCode::CONFLICT,
        RejectionKind::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        RejectionKind::InvalidKey => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl Problem {
    /// What an error says; a refusal in it decides status and `Retry-After`, and `otherwise` is for the rest.
    ///
    /// ```
    /// use http::StatusCode;
    /// use resilient_http::Problem;
    ///
    /// let error = std::io::Error::other("the disk is gone");
    /// assert_eq!(Problem::of(&error, StatusCode::BAD_GATEWAY).status(), 502);
    /// ```
    pub fn of(error: &(dyn std::error::Error + 'static), otherwise: StatusCode) -> Self {
        match RejectionKind::found_in(error) {
            Some((kind, retry_after)) => {
                let problem = Self::new(status_of(kind), error.to_string()).after(retry_after);
                Self { kind: Some(kind.as_str()), ..problem }
            }
            None => Self::new(otherwise, error.to_string()),
        }
    }
}

impl From<&Rejection> for Problem {
    fn from(rejection: &Rejection) -> Self {
        let kind = rejection.kind();
        let mut problem = Self::new(status_of(kind), rejection.to_string());
        problem.kind = Some(kind.as_str());
        problem.with("component", rejection.component()).after(rejection.retry_after())
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        Self::from(&rejection)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = self.kind.map_or_else(|| "about:blank".to_owned(), |kind| format!("urn:resilient:{kind}"));
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
            // Whole seconds, rounded up: too early would be in vain.
            let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use resilient::circuit_breaker;
    use resilient::{Component, Registry};

    use super::*;

    #[test]
    fn a_refusal_says_what_and_when_again() {
        let registry = Registry::new();
        let breaker = registry.circuit_breaker("payment");
        let opens =
            circuit_breaker::Config::default().failure_threshold(1u32).open_for(Duration::from_secs(30));
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
    fn every_kind_has_a_status_that_fits() {
        assert_eq!(status_of(RejectionKind::RateLimited), 429);
        assert_eq!(status_of(RejectionKind::QueueTimeout), 504);
        assert_eq!(status_of(RejectionKind::InProgress), 409);
        assert_eq!(status_of(RejectionKind::KeyReused), 422);
        assert_eq!(status_of(RejectionKind::Shed), 503);
    }
}
