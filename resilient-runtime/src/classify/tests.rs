use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::Verdict;

fn kind(kind: io::ErrorKind) -> io::Error {
    kind.into()
}

#[test]
fn io_errors_are_classified_by_whether_the_request_may_have_been_sent() {
    // T33
    use io::ErrorKind;
    let class = |of| kind(of).classify();
    assert_eq!(class(ErrorKind::ConnectionRefused), Class::TRANSIENT);
    for uncertain in [ErrorKind::ConnectionReset, ErrorKind::WouldBlock, ErrorKind::InvalidData] {
        assert_eq!(class(uncertain), Class::UNCERTAIN, "{uncertain}");
    }
    for permanent in [ErrorKind::PermissionDenied, ErrorKind::NotFound, ErrorKind::InvalidInput] {
        assert_eq!(class(permanent), Class::Permanent, "{permanent}");
    }
    for unknown in [ErrorKind::Other, ErrorKind::Interrupted, ErrorKind::OutOfMemory] {
        assert_eq!(class(unknown), Class::UNKNOWN, "{unknown}");
    }
    let open = Rejection::new(RejectionKind::CircuitOpen, "db");
    assert_eq!(io::Error::from(open).classify(), Class::NotExecuted { retry_after: None });
}

#[test]
fn an_io_error_inside_another_is_found() {
    let nested = io::Error::other(io::Error::other(kind(io::ErrorKind::ConnectionRefused)));
    assert_eq!(nested.classify(), Class::TRANSIENT);
    assert_eq!(Class::found_in(&nested), Some(Class::TRANSIENT));
    let named = io::Error::new(io::ErrorKind::ConnectionReset, kind(io::ErrorKind::NotFound));
    assert_eq!(named.classify(), Class::UNCERTAIN, "the outer kind decides");
    assert_eq!(io::Error::other("a riddle").classify(), Class::UNKNOWN);
}

#[derive(Debug, thiserror::Error)]
enum Layered {
    #[error("io: {0}")]
    Io(#[from] io::Error),
    #[error("shared")]
    Shared(#[source] Arc<io::Error>),
    #[error("boxed")]
    Boxed(#[source] Box<dyn Error + Send + Sync>),
    #[error("late")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("own")]
    Own,
}

#[test]
fn the_first_known_cause_in_the_chain_decides() {
    let found = |error: &Layered| Class::found_in(error);
    let reset = || kind(io::ErrorKind::ConnectionReset);
    assert_eq!(found(&reset().into()), Some(Class::UNCERTAIN));
    assert_eq!(found(&Layered::Shared(reset().into())), Some(Class::UNCERTAIN));
    assert_eq!(found(&Layered::Boxed(reset().into())), Some(Class::UNCERTAIN));
    assert_eq!(found(&Layered::Boxed(Layered::Io(reset()).into())), Some(Class::UNCERTAIN));
    assert_eq!(found(&Layered::Own), None);
    let full = Rejection::new(RejectionKind::BulkheadFull, "db");
    assert_eq!(found(&full.into()), Some(Class::NotExecuted { retry_after: None }));
}

#[tokio::test(start_paused = true)]
async fn a_tokio_timeout_is_uncertain() {
    let late = tokio::time::timeout(Duration::ZERO, std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(Class::found_in(&Layered::from(late)), Some(Class::UNCERTAIN));
}

#[test]
fn an_error_that_is_its_own_source_does_not_cause_an_endless_loop() {
    #[derive(Debug, thiserror::Error)]
    #[error("round")]
    struct Round;
    #[derive(Debug)]
    struct Circle;
    impl std::fmt::Display for Circle {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("circle")
        }
    }
    impl Error for Circle {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            static CIRCLE: Circle = Circle;
            Some(&CIRCLE)
        }
    }
    assert_eq!((Class::found_in(&Circle), Class::found_in(&Round)), (None, None));
}

#[test]
fn without_the_attribute_known_types_are_judged_by_their_cause() {
    let reset = || kind(io::ErrorKind::ConnectionReset);
    let uncertain = Verdict::Failure(Class::UNCERTAIN);
    assert_eq!(Verdict::of(&Err::<(), _>(reset())), uncertain);
    assert_eq!(Verdict::of(&Err::<(), _>(Arc::new(reset()))), uncertain);
    assert_eq!(Verdict::of(&Err::<(), Box<dyn Error>>(reset().into())), uncertain);
    assert_eq!(Verdict::of(&Err::<(), Box<dyn Error + Send + Sync>>(Layered::Io(reset()).into())), uncertain);
    let full = Rejection::new(RejectionKind::BulkheadFull, "db");
    assert_eq!(Verdict::of(&Err::<(), _>(full)), Verdict::Failure(Class::NotExecuted { retry_after: None }));
    for unknown in [Verdict::of(&Err::<(), _>("text")), Verdict::of(&None::<u32>)] {
        assert_eq!(unknown, Verdict::Failure(Class::UNKNOWN));
    }
}

#[cfg(feature = "anyhow")]
#[test]
fn an_anyhow_error_is_judged_by_its_cause_below_all_context() {
    use anyhow::Context as _;
    let bare = || anyhow::Error::from(kind(io::ErrorKind::NotFound));
    let once = Err::<(), _>(kind(io::ErrorKind::NotFound)).context("reading").unwrap_err();
    let twice = bare().context("reading").context("starting");
    for error in [bare(), once, twice] {
        assert_eq!(error.classify(), Class::Permanent, "{error:#}");
        assert_eq!(Verdict::of(&Err::<(), _>(error)), Verdict::Failure(Class::Permanent));
    }
    assert_eq!(anyhow::anyhow!("a riddle").classify(), Class::UNKNOWN);
    let shared = Arc::new(bare().context("reading"));
    assert_eq!(Verdict::of(&Err::<(), _>(shared)), Verdict::Failure(Class::Permanent));
}

#[cfg(feature = "eyre")]
#[test]
fn an_eyre_report_is_judged_by_its_cause_below_all_context() {
    use eyre::WrapErr as _;
    let bare = || eyre::Report::from(kind(io::ErrorKind::NotFound));
    let once = Err::<(), _>(kind(io::ErrorKind::NotFound)).wrap_err("reading").unwrap_err();
    for report in [bare(), once, bare().wrap_err("reading").wrap_err("starting")] {
        assert_eq!(report.classify(), Class::Permanent, "{report:#}");
        assert_eq!(Verdict::of(&Err::<(), _>(report)), Verdict::Failure(Class::Permanent));
    }
}

#[test]
fn a_rejection_that_would_recur_is_permanent_and_one_with_a_possible_effect_is_uncertain() {
    let class = |kind| Rejection::new(kind, "once").classify();
    for kind in [RejectionKind::KeyReused, RejectionKind::InvalidKey, RejectionKind::StoredValueMismatch] {
        assert_eq!(class(kind), Class::Permanent, "{kind:?}");
    }
    for kind in [RejectionKind::OutcomeUnknown, RejectionKind::NoTimer, RejectionKind::TotalTimeout] {
        assert_eq!(class(kind), Class::UNCERTAIN, "{kind:?}");
    }
    for kind in [RejectionKind::InProgress, RejectionKind::CircuitOpen, RejectionKind::QueueTimeout] {
        assert_eq!(class(kind), Class::NotExecuted { retry_after: None }, "{kind:?}");
    }
    assert_eq!(class(RejectionKind::FallbackFailed), Class::UNKNOWN);
}

#[test]
fn an_outer_breaker_does_not_count_a_rejection_for_the_idempotency_key() {
    // T21
    use crate::{Component as _, Registry};
    let breaker = Registry::new().circuit_breaker("outer");
    for kind in [RejectionKind::KeyReused, RejectionKind::OutcomeUnknown, RejectionKind::NoTimer] {
        assert!(breaker.call(|| Err::<(), _>(Rejection::new(kind, "once"))).is_err());
        assert!(breaker.call(|| Err::<(), _>(io::Error::from(Rejection::new(kind, "once")))).is_err());
    }
    assert_eq!((breaker.stats().failed, breaker.stats().ignored), (0, 6));
}

#[cfg(feature = "http")]
#[test]
fn status_codes_are_classified_by_whether_the_server_or_the_caller_failed() {
    let class = |code: u16| http::StatusCode::from_u16(code).unwrap().classify();
    for code in [500, 502, 503, 504] {
        // The request may have been executed.
        assert_eq!(class(code), Class::UNKNOWN, "{code}");
    }
    assert_eq!((class(408), class(425)), (Class::TRANSIENT, Class::TRANSIENT));
    for code in [400, 401, 403, 404, 409, 422] {
        assert_eq!(class(code), Class::Ignored, "{code}");
    }
    assert_eq!(class(429), Class::Overload { retry_after: None });
    assert_eq!((class(501), class(505)), (Class::Permanent, Class::Permanent));
}

static CIRCLE: std::sync::LazyLock<io::Error> = std::sync::LazyLock::new(|| io::Error::other(Around));

/// An error whose source is the [`io::Error`] that contains it.
#[derive(Debug)]
struct Around;

impl std::fmt::Display for Around {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("around")
    }
}

impl Error for Around {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*CIRCLE)
    }
}

/// An error that is its own source.
#[derive(Debug)]
struct Own;

impl std::fmt::Display for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("own")
    }
}

impl Error for Own {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

#[test]
fn an_endless_chain_of_sources_is_abandoned() {
    for endless in [&Own as &(dyn Error + 'static), &*CIRCLE, &Around] {
        assert_eq!(RejectionKind::found_in(endless), None);
        assert_eq!(Rejection::found_in(endless), None);
        assert_eq!(Class::found_in(endless), None);
    }
    assert_eq!(CIRCLE.classify(), Class::UNKNOWN);
}

#[derive(Debug, thiserror::Error)]
#[error("wrapped")]
struct Wrapped(#[source] io::Error);

#[test]
fn each_error_in_a_chain_is_examined_once() {
    let nested = |depth: u32, innermost: io::Error| {
        (0..depth).fold(innermost, |inner, _| io::Error::other(Wrapped(inner)))
    };
    let started = std::time::Instant::now();
    assert_eq!(nested(60, io::Error::other("a riddle")).classify(), Class::UNKNOWN);
    assert_eq!(nested(60, kind(io::ErrorKind::ConnectionRefused)).classify(), Class::TRANSIENT);
    let deep = nested(60, Rejection::new(RejectionKind::CircuitOpen, "db").into());
    assert_eq!(deep.classify(), Class::NotExecuted { retry_after: None });
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
}
