//! The expressions that a fallback can be: paths, closures and other expressions.

use resilient_runtime::fallback::Level;
use resilient_runtime::{Component, Failure, Registry, resilient};

use crate::{E, tick};

/// Returns a registry whose circuit `x` is open.
fn open() -> Registry {
    let registry = Registry::new();
    registry.circuit_breaker("x").force_open();
    registry
}

type Lost = Failure<()>;

const DEFAULT: Option<u32> = Some(1);

#[resilient(registry = registry, circuit_breaker = "x", fallback = DEFAULT)]
fn by_constant(registry: &Registry) -> Option<u32> {
    None
}

#[resilient(registry = registry, circuit_breaker = "x", fallback = None)]
fn by_none(registry: &Registry) -> Option<impl Iterator<Item = u32>> {
    Some(0..1)
}

#[resilient(registry = registry, circuit_breaker = "x", fallback = default)]
fn by_argument<'a>(registry: &Registry, default: Option<&'a str>, _other: &'a str) -> Option<&'a str> {
    None
}

fn generic<T: Default, F>(_: Failure<F>) -> Option<T> {
    Some(T::default())
}

#[resilient(registry = registry, circuit_breaker = "x", fallback = generic)]
fn by_generic_function<T: Default>(registry: &Registry, x: T) -> Option<T> {
    Some(x)
}

#[resilient(registry = registry, circuit_breaker = "x", fallback = answer)]
fn by_function_argument(registry: &Registry, answer: impl FnOnce(Lost) -> Option<u32>) -> Option<u32> {
    None
}

fn seven(_: Failure<std::convert::Infallible>) -> u32 {
    7
}

#[resilient(registry = registry, circuit_breaker = "x", fallback = seven)]
fn plain_by_function(registry: &Registry) -> u32 {
    1
}

#[resilient(registry = registry, circuit_breaker = "x", fallback = { 8 })]
fn by_block(registry: &Registry) -> u32 {
    1
}

#[resilient(registry = registry, circuit_breaker = "x", fallback = panic!("no answer"))]
fn by_panic(registry: &Registry) -> u32 {
    1
}

struct Client {
    registry: Registry,
    cached: Option<u32>,
}

impl Client {
    async fn later(_: Lost) -> Option<u32> {
        tick().await;
        Some(4)
    }

    async fn level(_: &Lost) -> Option<u32> {
        tick().await;
        None
    }

    fn sync_level(_: &Lost) -> Option<u32> {
        Some(5)
    }

    #[resilient(registry = self.registry, circuit_breaker = "x", fallback = Self::later)]
    async fn by_async_function(&self) -> Option<u32> {
        None
    }

    #[resilient(registry = self.registry, circuit_breaker = "x", fallback = self.cached)]
    async fn by_field(&self) -> Option<u32> {
        None
    }

    #[resilient(registry = self.registry, circuit_breaker = "x",
        fallback(replica = Self::level, backup = Self::sync_level, default = None))]
    async fn by_levels(&self) -> Option<u32> {
        None
    }

    #[resilient(registry = self.registry, circuit_breaker = "x", fallback = |_| async { self.cached })]
    async fn by_closure_of_a_block(&self) -> Option<u32> {
        None
    }

    #[resilient(registry = self.registry, circuit_breaker = "x", fallback = answer)]
    async fn by_async_argument(&self, answer: impl AsyncFnOnce(Lost) -> Option<u32>) -> Option<u32> {
        None
    }
}

#[test]
fn a_path_is_a_function_or_the_value() {
    let registry = open();
    assert_eq!((by_constant(&registry), by_none(&registry).is_none()), (Some(1), true));
    assert_eq!(by_argument(&registry, Some("a"), "b"), Some("a"));
    assert_eq!(by_generic_function(&registry, 3), Some(0));
    let owned = String::from("moved");
    assert_eq!(by_function_argument(&registry, move |_| u32::try_from(owned.len()).ok()), Some(5));
    assert_eq!((plain_by_function(&registry), by_block(&registry)), (7, 8));
    assert!(std::panic::catch_unwind(|| by_panic(&open())).is_err());
}

#[tokio::test]
async fn in_an_asynchronous_function_a_path_can_be_asynchronous() {
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    let client = Client { registry: open(), cached: Some(9) };
    assert_eq!(is_send(client.by_async_function()).await, Some(4));
    assert_eq!(is_send(client.by_field()).await, Some(9));
    assert_eq!(is_send(client.by_levels()).await, Some(5));
    assert_eq!(client.by_closure_of_a_block().await, Some(9));
    assert_eq!(client.by_async_argument(async |_| Some(2)).await, Some(2));
}

fn down() -> Result<u32, E> {
    Err(E::Bad)
}

#[resilient(registry = registry, retry(max = 1, base = "0ms"), name = "x",
    fallback(replica = Ok(down()? + 1), backup = return Err(E::Bad), default = Ok(9)))]
fn question_marks(registry: &Registry) -> Result<u32, E> {
    down()
}

#[resilient(registry = registry, retry(max = 1, base = "0ms"), name = "x",
    fallback(replica = { tick().await; Ok(down()? + 1) }, backup = return Err(E::Bad), default = Ok(9)))]
async fn async_question_marks(registry: &Registry) -> Result<u32, E> {
    down()
}

#[resilient(registry = registry, retry(max = 1, base = "0ms"), name = "x", fallback = Ok(down()? + 1))]
fn single_question_mark(registry: &Registry) -> Result<u32, E> {
    down()
}

#[tokio::test]
async fn a_question_mark_ends_only_the_level() {
    // T95: each level is counted as served or failed
    for asynchronous in [false, true] {
        let registry = Registry::new();
        let answer =
            if asynchronous { async_question_marks(&registry).await } else { question_marks(&registry) };
        assert_eq!(answer, Ok(9));
        let levels = registry.fallback("x").stats().levels;
        assert_eq!((levels[&Level::Replica].asked, levels[&Level::Backup].asked), (1, 1));
        assert_eq!(levels[&Level::Default].served, 1);
        assert_eq!(registry.stats().operations["x"].fell_back, 1);
    }
    let registry = Registry::new();
    assert_eq!(single_question_mark(&registry), Err(E::Bad));
    assert_eq!(registry.fallback("x").stats().all_failed, 1);
}
