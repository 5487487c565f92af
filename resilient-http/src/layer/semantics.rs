//! Semantics of HTTP ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110)) and gRPC requests and responses.

use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use resilient_runtime::observe::Words;
use resilient_runtime::{Class, Judgement, RejectionKind, Verdict};

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(crate) const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Whether executing the request twice has the same effect as once: by its method, or because it has an idempotency key.
pub(crate) fn is_idempotent(method: &Method, headers: &HeaderMap) -> bool {
    method.is_idempotent() || headers.contains_key("idempotency-key")
}

/// Judges a response by its status and headers.
///
/// A failure that might have had an effect is uncertain;
/// [`Options::idempotent`](resilient_runtime::pipeline::Options::idempotent) decides whether it is retried.
pub(crate) fn of_answer(status: StatusCode, headers: &HeaderMap) -> Judgement {
    if let Some(judgement) = of_grpc(headers) {
        return judgement;
    }
    match Class::of_response(status, headers) {
        None => Verdict::Success.into(),
        // The server might have executed the request before it failed.
        Some(Class::Unknown { retry_after }) => Class::Uncertain { retry_after }.into(),
        Some(class) => class.into(),
    }
}

/// Judges an error of a service. An unknown error is uncertain, because the request might have been sent.
pub(crate) fn of_error(error: &(dyn std::error::Error + 'static)) -> Judgement {
    Judgement::found_in(error).unwrap_or(Class::UNCERTAIN.into())
}

/// Describes a failed response in text.
pub(crate) fn describe_answer(status: StatusCode, headers: &HeaderMap, words: &mut Words) {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    match text(GRPC_STATUS) {
        None => words.display(&format_args!("HTTP status {status}")),
        Some(code) => words.display(&format_args!(
            "gRPC status {code}{}{}",
            if headers.contains_key(GRPC_MESSAGE) { ": " } else { "" },
            text(GRPC_MESSAGE).unwrap_or_default()
        )),
    }
}

/// The protocol of a request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
    GrpcWeb,
    GrpcWebText,
}

impl Protocol {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let value = headers.get(header::CONTENT_TYPE).map_or(&[][..], http::HeaderValue::as_bytes);
        let is = |name: &str| {
            let (start, rest) = value.split_at(value.len().min(name.len()));
            start.eq_ignore_ascii_case(name.as_bytes())
                && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
        };
        [Self::Grpc, Self::GrpcWeb, Self::GrpcWebText]
            .into_iter()
            .find(|protocol| protocol.grpc_content_type().is_some_and(is))
            .unwrap_or(Self::Http)
    }

    pub(crate) const fn grpc_content_type(self) -> Option<&'static str> {
        match self {
            Self::Http => None,
            Self::Grpc => Some("application/grpc"),
            Self::GrpcWeb => Some("application/grpc-web"),
            Self::GrpcWebText => Some("application/grpc-web-text"),
        }
    }
}

/// Judges by the `grpc-status` in headers or trailers; `None` if they have no `grpc-status`.
pub(crate) fn of_grpc(headers: &HeaderMap) -> Option<Judgement> {
    // gRPC defines a status that is not a number as `UNKNOWN` (2).
    let code = headers.get(GRPC_STATUS)?.to_str().ok().and_then(|code| code.trim().parse().ok());
    let pushback = headers.get(GRPC_PUSHBACK).map(http::HeaderValue::as_bytes);
    Some(Judgement::of_grpc(code.unwrap_or(2), pushback))
}

/// Whether a response reports a failure of the server itself, as 5xx does.
pub(crate) fn is_failed_server(status: StatusCode, headers: &HeaderMap) -> bool {
    let status = status_of_answer(status, headers);
    // In gRPC, an unimplemented method is the caller's mistake.
    status.is_server_error() && !(status == StatusCode::NOT_IMPLEMENTED && headers.contains_key(GRPC_STATUS))
}

/// Returns the status of a response. For a gRPC response, which always has status 200, it is the equivalent of its code.
pub(crate) fn status_of_answer(status: StatusCode, headers: &HeaderMap) -> StatusCode {
    let Some(code) = headers.get(GRPC_STATUS).filter(|_| status == StatusCode::OK) else { return status };
    match code.to_str().ok().and_then(|code| code.trim().parse().ok()).unwrap_or(code::UNKNOWN) {
        code::OK => status,
        code::CANCELLED => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        code::INVALID_ARGUMENT | code::OUT_OF_RANGE | code::FAILED_PRECONDITION => StatusCode::BAD_REQUEST,
        code::DEADLINE_EXCEEDED => StatusCode::GATEWAY_TIMEOUT,
        code::NOT_FOUND => StatusCode::NOT_FOUND,
        code::ALREADY_EXISTS | code::ABORTED => StatusCode::CONFLICT,
        code::PERMISSION_DENIED => StatusCode::FORBIDDEN,
        code::UNAUTHENTICATED => StatusCode::UNAUTHORIZED,
        code::RESOURCE_EXHAUSTED => StatusCode::TOO_MANY_REQUESTS,
        code::UNIMPLEMENTED => StatusCode::NOT_IMPLEMENTED,
        code::UNAVAILABLE => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The gRPC [status codes](https://grpc.io/docs/guides/status-codes/).
pub(crate) mod code {
    pub(crate) const OK: u32 = 0;
    pub(crate) const CANCELLED: u32 = 1;
    pub(crate) const UNKNOWN: u32 = 2;
    pub(crate) const INVALID_ARGUMENT: u32 = 3;
    pub(crate) const DEADLINE_EXCEEDED: u32 = 4;
    pub(crate) const NOT_FOUND: u32 = 5;
    pub(crate) const ALREADY_EXISTS: u32 = 6;
    pub(crate) const PERMISSION_DENIED: u32 = 7;
    pub(crate) const RESOURCE_EXHAUSTED: u32 = 8;
    pub(crate) const FAILED_PRECONDITION: u32 = 9;
    pub(crate) const ABORTED: u32 = 10;
    pub(crate) const OUT_OF_RANGE: u32 = 11;
    pub(crate) const UNIMPLEMENTED: u32 = 12;
    pub(crate) const INTERNAL: u32 = 13;
    pub(crate) const UNAVAILABLE: u32 = 14;
    pub(crate) const UNAUTHENTICATED: u32 = 16;
}

/// Returns the gRPC code of a rejection. `UNAVAILABLE` asks the client to retry, so no permanent rejection has this code.
pub(crate) fn code_of_refusal(kind: RejectionKind) -> u32 {
    match kind {
        RejectionKind::RateLimited | RejectionKind::Shed | RejectionKind::BulkheadFull => {
            code::RESOURCE_EXHAUSTED
        }
        RejectionKind::TotalTimeout
        | RejectionKind::AttemptTimeout
        | RejectionKind::ConnectTimeout
        | RejectionKind::ReadTimeout
        | RejectionKind::QueueTimeout => code::DEADLINE_EXCEEDED,
        RejectionKind::InvalidKey => code::INVALID_ARGUMENT,
        RejectionKind::WeightExceedsLimit => code::OUT_OF_RANGE,
        RejectionKind::KeyReused | RejectionKind::StoredValueMismatch => code::FAILED_PRECONDITION,
        RejectionKind::InProgress => code::ABORTED,
        RejectionKind::OutcomeUnknown | RejectionKind::FallbackFailed => code::UNKNOWN,
        RejectionKind::CircuitOpen | RejectionKind::StoreUnavailable => code::UNAVAILABLE,
        // An error of the server program: it makes the call incorrectly, or is set up incorrectly.
        _ => code::INTERNAL,
    }
}

/// Returns the gRPC code that corresponds to the HTTP status of a layer's response.
pub(crate) fn code_of_status(status: StatusCode) -> u32 {
    match status.as_u16() {
        400 => code::INVALID_ARGUMENT,
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 => code::NOT_FOUND,
        409 => code::ABORTED,
        412 | 422 => code::FAILED_PRECONDITION,
        413 | 429 => code::RESOURCE_EXHAUSTED,
        408 | 504 => code::DEADLINE_EXCEEDED,
        499 => code::CANCELLED,
        500 => code::INTERNAL,
        501 => code::UNIMPLEMENTED,
        502 | 503 => code::UNAVAILABLE,
        _ => code::UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_server_failure_is_uncertain_and_a_rejection_had_no_effect() {
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
    fn the_method_or_a_key_makes_a_request_idempotent() {
        let none = HeaderMap::new();
        assert!(is_idempotent(&Method::GET, &none) && is_idempotent(&Method::DELETE, &none));
        assert!(!is_idempotent(&Method::POST, &none) && !is_idempotent(&Method::PATCH, &none));
        let mut keyed = HeaderMap::new();
        keyed.insert("idempotency-key", "7".parse().unwrap());
        assert!(is_idempotent(&Method::POST, &keyed));
    }

    #[test]
    fn the_content_type_identifies_grpc() {
        let is = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            Protocol::of(&headers)
        };
        for kind in ["application/grpc", "application/grpc+proto", "Application/gRPC;x=1"] {
            assert_eq!(is(kind), Protocol::Grpc, "{kind}");
        }
        assert_eq!(is("application/grpc-web+proto"), Protocol::GrpcWeb);
        assert_eq!(is("application/grpc-web-text"), Protocol::GrpcWebText);
        for other in ["application/json", "application/grpcish", "application/grp", ""] {
            assert_eq!(is(other), Protocol::Http, "{other}");
        }
        assert_eq!(Protocol::of(&HeaderMap::new()), Protocol::Http);
    }

    #[test]
    fn a_grpc_response_is_judged_by_its_code_and_pushback() {
        let of = |code: &str, pushback: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_STATUS, code.parse().unwrap());
            if let Some(pushback) = pushback {
                headers.insert(GRPC_PUSHBACK, pushback.parse().unwrap());
            }
            of_answer(StatusCode::OK, &headers)
        };
        let retry_after = Some(Duration::from_millis(1500));
        assert_eq!(of("0", None), Verdict::Success);
        assert_eq!(of("5", None), Judgement::from(Class::Ignored));
        assert_eq!(of("8", Some("1500")), Judgement::from(Class::Overload { retry_after }));
        assert_eq!(of("14", None), Judgement::from(Class::UNCERTAIN));
        // A negative pushback forbids a retry, but does not prove that the request had no effect.
        assert_eq!(of("14", Some("-1")), Judgement::from(Class::UNCERTAIN).retry_when(false));
        assert_eq!(of("soon", None), Judgement::from(Class::UNCERTAIN));
        let server = |code: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_STATUS, code.parse().unwrap());
            is_failed_server(StatusCode::OK, &headers)
        };
        assert!(server("13") && server("14") && server("2"));
        assert!(!server("0") && !server("3") && !server("5") && !server("12") && !server("8"));
    }

    #[test]
    fn a_grpc_code_has_the_same_judgement_in_a_response_and_in_a_tonic_status() {
        for code in 1..=16 {
            for pushback in [None, Some("40"), Some("-1")] {
                let (mut headers, mut metadata) = (HeaderMap::new(), tonic::metadata::MetadataMap::new());
                headers.insert(GRPC_STATUS, code.into());
                if let Some(pushback) = pushback {
                    headers.insert(GRPC_PUSHBACK, pushback.parse().unwrap());
                    metadata.insert("grpc-retry-pushback-ms", pushback.parse().unwrap());
                }
                let status = tonic::Status::with_metadata(code.into(), "", metadata);
                assert_eq!(Judgement::found_in(&status), of_grpc(&headers), "{code} {pushback:?}");
            }
        }
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_STATUS, 0.into());
        assert_eq!(of_grpc(&headers), Some(Verdict::Success.into()));
    }
}
