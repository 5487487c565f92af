//! The text of an error in statistics, events and rejections, depending on the bounds of its type.

use std::io;

use resilient_runtime::observe::{ErrorText, EventKind};
use resilient_runtime::{Component, Outcome, Registry, Rejection, resilient};

#[derive(Debug, thiserror::Error)]
enum PayError {
    #[error("the gateway failed")]
    Gateway(#[from] io::Error),
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// Returns the last error of the only operation.
fn last(registry: &Registry) -> String {
    let stats = registry.stats();
    let (_, operation) = stats.operations.first_key_value().expect("it was called");
    operation.last_error.as_ref().map(|error| error.text.clone()).unwrap_or_default()
}

#[test]
fn an_error_and_its_sources_appear_in_statistics_events_and_rejections() {
    #[resilient(
        registry = registry,
        circuit_breaker("bank", failure_threshold = 3),
        retry("bank", max = 2, base = "0ms"),
        idempotent
    )]
    fn charge(registry: &Registry) -> Result<u32, PayError> {
        Err(io::Error::new(
            io::ErrorKind::ConnectionRefused,
            format!("attempt {} refused", resilient_runtime::attempt()),
        ))?
    }
    let registry = Registry::new();
    let mut events = registry.subscribe();
    assert!(matches!(charge(&registry), Err(PayError::Gateway(_))));
    assert_eq!(last(&registry), "the gateway failed: attempt 3 refused");
    let told = std::iter::from_fn(|| events.try_recv()).filter_map(|event| match event.what {
        EventKind::Retrying { error, .. } | EventKind::Transition { error, .. } => {
            error.map(|text| text.to_string())
        }
        _ => None,
    });
    let expected = [1, 2, 3].map(|attempt| format!("the gateway failed: attempt {attempt} refused"));
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let refused = charge(&registry).expect_err("the circuit is open").to_string();
    assert!(
        refused.contains("(3 failures in a row, last error: the gateway failed: attempt 3 refused"),
        "{refused}"
    );
    registry.set_error_text(ErrorText::Off);
    registry.circuit_breaker("bank").reset();
    assert!(charge(&registry).is_err());
    assert_eq!(registry.circuit_breaker("bank").stats().last_error, None);
}

#[test]
fn error_texts_depend_on_the_type() {
    #[derive(Debug)]
    struct OnlyDebug;
    struct Nothing;
    struct Reply;
    impl Outcome for Reply {
        type Error = &'static str;
        fn is_failure(&self) -> bool {
            true
        }
        fn error(&self) -> Option<&Self::Error> {
            Some(&"the reply says no")
        }
        fn into_error(self) -> Option<Self::Error> {
            Some("the reply says no")
        }
    }
    #[resilient(registry = registry, retry(max = 1, base = "0ms"))]
    fn boxed(registry: &Registry) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
        Err(Box::new(PayError::Gateway(io::Error::other("refused"))))
    }
    #[resilient(registry = registry, retry(max = 1, base = "0ms"))]
    fn local(registry: &Registry) -> Result<u32, Box<dyn std::error::Error>> {
        Err("refused".into())
    }
    #[resilient(registry = registry, retry(max = 1, base = "0ms"))]
    fn with_context(registry: &Registry) -> anyhow::Result<u32> {
        anyhow::Context::context(Err(io::Error::other("refused")), "while charging")
    }
    #[resilient(registry = registry, retry(max = 1, base = "0ms"))]
    fn text(registry: &Registry) -> Result<u32, String> {
        Err("refused".to_owned())
    }
    #[resilient(registry = registry, retry(max = 1, base = "0ms"))]
    fn debug(registry: &Registry) -> Result<u32, OnlyDebug> {
        Err(OnlyDebug)
    }
    #[resilient(registry = registry, retry(max = 1, base = "0ms"))]
    fn silent(registry: &Registry) -> Result<u32, Nothing> {
        Err(Nothing)
    }
    #[resilient(registry = registry, retry(max = 1, base = "0ms"))]
    fn none(registry: &Registry) -> Option<u32> {
        None
    }
    #[resilient(registry = registry, retry(max = 1, base = "0ms"))]
    fn own(registry: &Registry) -> Reply {
        Reply
    }
    #[resilient(registry = registry, retry(max = 1, base = "0ms"), failure = |answer: &Result<u32, String>| answer.is_ok())]
    fn unacceptable(registry: &Registry) -> Result<u32, String> {
        Ok(0)
    }
    fn told(call: impl FnOnce(&Registry)) -> String {
        let registry = Registry::new();
        call(&registry);
        last(&registry)
    }
    assert_eq!(told(|it| drop(boxed(it))), "the gateway failed: refused");
    assert_eq!(told(|it| drop(local(it))), "refused");
    assert_eq!(told(|it| drop(with_context(it))), "while charging: refused");
    assert_eq!(told(|it| drop(text(it))), "refused");
    assert_eq!(told(|it| drop(debug(it))), "OnlyDebug");
    let silent = told(|it| drop(silent(it)));
    assert!(silent.starts_with("a failed `") && silent.contains("Nothing"), "{silent}");
    assert_eq!(told(|it| assert_eq!(none(it), None)), "it returned nothing");
    assert_eq!(told(|it| assert!(matches!(own(it), Reply))), "the reply says no");
    assert_eq!(told(|it| drop(unacceptable(it))), "it returned a value that counts as failed");
}

#[tokio::test]
async fn hedged_attempts_report_their_errors_to_the_breaker() {
    #[resilient(
        registry = registry,
        circuit_breaker("bank", failure_threshold = 1),
        hedge(after = "1h"),
        idempotent
    )]
    async fn read(registry: &Registry) -> Result<u32, PayError> {
        Err(io::Error::other("no replica"))?
    }
    let registry = Registry::new();
    assert!(read(&registry).await.is_err());
    let outage = registry.circuit_breaker("bank").stats().outage.expect("the circuit is open");
    assert_eq!(outage.error.as_deref(), Some("the gateway failed: no replica"));
}

#[test]
fn in_a_generic_function_the_text_depends_on_the_bounds() {
    #[resilient(registry = registry, retry(max = 1, base = "0ms"))]
    fn shown<E: std::fmt::Display + Clone>(registry: &Registry, error: &E) -> Result<u32, E> {
        Err(error.clone())
    }
    let registry = Registry::new();
    assert!(shown(&registry, &"refused").is_err());
    assert_eq!(last(&registry), "refused");
}
