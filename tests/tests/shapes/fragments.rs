//! Functions that a `macro_rules!` generates: its fragments reach the attribute in invisible groups.

use futures_util::future::BoxFuture;
use resilient_runtime::{Failure, Priority, Registry, resilient};

use crate::tick;

macro_rules! literals {
    ($function:ident, $name:literal, $max:literal, $open_for:literal, $output:ty, $body:block) => {
        #[resilient(registry = registry, circuit_breaker($name, open_for = $open_for),
            retry(max = $max, base = "0ms"), fallback = $crate::fragments::three)]
        fn $function(registry: &Registry) -> $output $body
    };
}
literals!(by_literals, "x", 3, "2s", Option<u32>, { None });

fn three(_: Failure<()>) -> Option<u32> {
    Some(3)
}

macro_rules! expressions {
    ($function:ident, $name:expr, $backoff:ident, $jitter:expr, $priority:expr, $fallback:expr) => {
        #[resilient(registry = registry, bulkhead($name, max_concurrent = 2, reserve(critical = 1)),
                    retry(max = 1, base = "0ms", backoff = $backoff, jitter = $jitter), priority = $priority,
                    fallback = $fallback)]
        fn $function(registry: &Registry) -> Option<u32> {
            Some(1)
        }
    };
}
expressions!(by_expressions, "x", linear, 0.5, high, |_| Some(2));
expressions!(by_path, "x", constant, "50%", Priority::Critical, three);

macro_rules! futures {
    ($function:ident, $future:ty, $argument:ty) => {
        #[resilient(retry(max = 1, base = "0ms"))]
        fn $function(x: $argument) -> $future {
            Box::pin(async move {
                tick().await;
                Some(x.len())
            })
        }
    };
}
futures!(boxed, BoxFuture<'static, Option<usize>>, String);

#[tokio::test]
async fn fragments_are_parsed_like_their_content() {
    let registry = Registry::new();
    assert_eq!(by_literals(&registry), Some(3));
    let bulkhead = registry.bulkhead("x");
    assert_eq!((by_expressions(&registry), by_path(&registry)), (Some(1), Some(1)));
    let _held = bulkhead.try_acquire().unwrap();
    assert_eq!(by_expressions(&registry), Some(2), "the last permit is reserved");
    assert_eq!(by_path(&registry), Some(1), "critical calls can use it");
    assert_eq!(boxed("ab".into()).await, Some(2));
}
