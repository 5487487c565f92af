//! Every form of fallback.

use std::cell::{Cell, RefCell};
use std::error::Error;

use resilient_runtime::fallback::Level;
use resilient_runtime::{Component, Failure, FallbackFailed, Registry, Rejection, resilient};

use crate::{E, tick};

/// Returns a registry whose circuit `x` is open.
fn open() -> Registry {
    let registry = Registry::new();
    registry.circuit_breaker("x").force_open();
    registry
}

fn zero(_: Failure<std::num::ParseIntError>) -> Result<u32, std::num::ParseIntError> {
    Ok(0)
}

#[resilient(registry = registry, circuit_breaker = "x", fallback = zero)]
fn by_path(registry: &Registry, x: &str) -> Result<u32, std::num::ParseIntError> {
    x.parse()
}

#[resilient(registry = registry, circuit_breaker = "x", fallback = |failure| match failure {
    Failure::Rejected(_) => Ok(default),
    other => other.error().map_or(Ok(0), |_| Ok(default + 1)),
})]
fn by_closure(registry: &Registry, x: &str, default: u32) -> Result<u32, std::num::ParseIntError> {
    x.parse()
}

#[resilient(registry = registry, circuit_breaker = "x", fallback = Ok(default))]
fn by_expression(registry: &Registry, x: &str, default: u32) -> Result<u32, std::num::ParseIntError> {
    x.parse()
}

#[resilient(registry = registry, circuit_breaker = "x", fallback = 0)]
fn plain_value(registry: &Registry, x: u32) -> u32 {
    x
}

#[resilient(registry = registry, circuit_breaker = "x", fallback = |_| calls.set(1))]
fn nothing(registry: &Registry, calls: &Cell<u32>) {
    calls.set(2);
}

#[resilient(registry = registry, circuit_breaker = "x", fallback = async |_| { tick().await; Ok(default) })]
async fn by_async_closure(
    registry: &Registry,
    x: &str,
    default: u32,
) -> Result<u32, std::num::ParseIntError> {
    tick().await;
    x.parse()
}

#[resilient(registry = registry, circuit_breaker = "x", fallback = queue(x).await)]
async fn by_awaited_expression(registry: &Registry, x: &str) -> Result<u32, std::num::ParseIntError> {
    x.parse()
}

async fn queue(x: &str) -> Result<u32, std::num::ParseIntError> {
    tick().await;
    Ok(u32::try_from(x.len()).unwrap_or(u32::MAX))
}

#[resilient(registry = registry, retry(max = 1, base = "0ms"), fallback = zero)]
async fn sync_path_in_async(registry: &Registry, x: &str) -> Result<u32, std::num::ParseIntError> {
    tick().await;
    x.parse()
}

#[test]
fn each_form_handles_rejections_and_failures() {
    for registry in [Registry::new(), open()] {
        assert_eq!(by_path(&registry, "x"), Ok(0));
        assert_eq!(by_expression(&registry, "x", 3), Ok(3));
    }
    assert_eq!(by_closure(&Registry::new(), "x", 3), Ok(4));
    assert_eq!(by_closure(&open(), "1", 3), Ok(3));
    assert_eq!((plain_value(&Registry::new(), 5), plain_value(&open(), 5)), (5, 0));
    let calls = Cell::new(0);
    nothing(&open(), &calls);
    assert_eq!(calls.get(), 1);
}

#[tokio::test]
async fn each_asynchronous_form_handles_failures() {
    assert_eq!(by_async_closure(&open(), "1", 3).await, Ok(3));
    assert_eq!(by_async_closure(&Registry::new(), "1", 3).await, Ok(1));
    assert_eq!(by_awaited_expression(&open(), "abc").await, Ok(3));
    assert_eq!(sync_path_in_async(&Registry::new(), "x").await, Ok(0));
}

#[derive(Debug, thiserror::Error)]
enum Chained {
    #[error("{0} is down")]
    Down(&'static str),
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    AllFailed(#[from] FallbackFailed),
}

type Asked = RefCell<Vec<&'static str>>;

fn ask(asked: &Asked, name: &'static str, up: &str) -> Result<u32, Chained> {
    asked.borrow_mut().push(name);
    if name == up { Ok(1) } else { Err(Chained::Down(name)) }
}

#[resilient(
    registry = registry,
    circuit_breaker = "x",
    fallback(
        default = |_| ask(asked, "default", up),
        backup = ask(asked, "backup", up),
        local_cache = |failure: &Failure<Chained>| { assert!(failure.error().is_some()); ask(asked, "local", up) },
        replica = ask(asked, "replica", up),
        distributed_cache = ask(asked, "distributed", up),
    ),
    name = "chained"
)]
fn chain(registry: &Registry, asked: &Asked, up: &str) -> Result<u32, Chained> {
    ask(asked, "primary", up)
}

#[test]
fn levels_run_in_fixed_order_until_one_succeeds() {
    let (registry, asked) = (Registry::new(), Asked::default());
    assert!(chain(&registry, &asked, "backup").is_ok_and(|n| n == 1));
    assert_eq!(*asked.borrow(), ["primary", "replica", "distributed", "local", "backup"]);
    let stats = registry.fallback("chained").stats();
    assert_eq!((stats.levels[&Level::Backup].served, stats.levels[&Level::Default].asked), (1, 0));
    assert_eq!(registry.stats().operations["chained"].fell_back, 1);
}

#[test]
fn a_success_runs_no_level() {
    // T96
    let (registry, asked) = (Registry::new(), Asked::default());
    assert!(chain(&registry, &asked, "primary").is_ok());
    assert_eq!(*asked.borrow(), ["primary"]);
}

#[test]
fn if_all_levels_fail_the_error_holds_the_first_and_the_last_error() {
    // T95
    let (registry, asked) = (Registry::new(), Asked::default());
    let error = chain(&registry, &asked, "none").unwrap_err();
    assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("primary is down"));
    let Chained::AllFailed(all) = error else { panic!("{error:?}") };
    assert_eq!((all.level(), all.last().to_string().as_str()), (Level::Default, "default is down"));
    let stats = registry.stats();
    assert_eq!((stats.fallback["chained"].all_failed, stats.operations["chained"].failed), (1, 1));
}

#[test]
fn an_error_type_that_cannot_hold_both_gets_the_error_of_the_call() {
    #[resilient(registry = registry, retry(max = 1, base = "0ms"), fallback(backup = Err(E::Bad)))]
    fn call(registry: &Registry) -> Result<u32, E> {
        Ok("x".parse()?)
    }
    assert!(matches!(call(&Registry::new()), Err(E::Parse(_))));
}

#[tokio::test]
async fn levels_can_await() {
    #[resilient(
        registry = registry,
        retry(max = 1, base = "0ms"),
        fallback(replica = other(false).await, backup = async |_| other(true).await, default = Ok(9))
    )]
    async fn call(registry: &Registry) -> Result<u32, E> {
        tick().await;
        Err(E::Bad)
    }
    async fn other(up: bool) -> Result<u32, E> {
        tick().await;
        if up { Ok(2) } else { Err(E::Bad) }
    }
    assert_eq!(call(&Registry::new()).await, Ok(2));
}

#[test]
fn a_plain_function_with_levels_always_returns_a_value() {
    #[resilient(registry = registry, circuit_breaker = "x", fallback(default = 7))]
    fn call(registry: &Registry) -> u32 {
        1
    }
    assert_eq!((call(&Registry::new()), call(&open())), (1, 7));
}

#[test]
fn a_value_that_counts_as_failed_falls_back() {
    #[resilient(registry = registry, circuit_breaker = "x", failure = |n| *n == 0, fallback = |failure| {
        assert!(matches!(failure, Failure::Unacceptable));
        5
    })]
    fn call(registry: &Registry, given: u32) -> u32 {
        given
    }
    let registry = Registry::new();
    assert_eq!((call(&registry, 3), call(&registry, 0)), (3, 5));
    assert_eq!(registry.circuit_breaker("x").stats().window.failed, 1);
}

#[test]
fn an_option_falls_back() {
    #[resilient(registry = registry, circuit_breaker = "x", fallback = |failure| failure.rejection().map(|_| 7))]
    fn call(registry: &Registry, x: u32) -> Option<u32> {
        Some(x)
    }
    assert_eq!((call(&Registry::new(), 1), call(&open(), 1)), (Some(1), Some(7)));
}

#[test]
fn levels_can_be_paths() {
    fn seven(failure: &Failure<E>) -> Result<u32, E> {
        assert_eq!(failure.error(), Some(&E::Bad));
        Ok(7)
    }
    #[resilient(registry = registry, retry(max = 1, base = "0ms"), fallback(local_cache = seven))]
    fn call(registry: &Registry) -> Result<u32, E> {
        Err(E::Bad)
    }
    assert_eq!(call(&Registry::new()), Ok(7));
}

#[test]
fn a_success_evaluates_no_fallback() {
    // T96
    #[resilient(registry = registry, circuit_breaker = "x", fallback = { asked.set(true); Ok(0) })]
    fn by_block(registry: &Registry, asked: &Cell<bool>) -> Result<u32, E> {
        Ok(1)
    }
    #[resilient(registry = registry, circuit_breaker = "x", fallback = |_| { asked.set(true); Ok(0) })]
    fn by_closure(registry: &Registry, asked: &Cell<bool>) -> Result<u32, E> {
        Ok(1)
    }
    let (registry, asked) = (Registry::new(), Cell::new(false));
    assert_eq!((by_block(&registry, &asked), by_closure(&registry, &asked)), (Ok(1), Ok(1)));
    assert!(!asked.get());
    assert_eq!((by_block(&open(), &asked), asked.get()), (Ok(0), true));
}

macro_rules! answered {
    ($name:ident, $registry:ident, $answer:expr) => {
        #[resilient(registry = $registry, circuit_breaker = "x", fallback = $answer)]
        fn $name($registry: &Registry) -> Result<u32, E> {
            Ok(1)
        }
    };
}
answered!(made_by_expression, registry, Ok(5));
answered!(made_by_closure, registry, |_| Ok(6));

#[test]
fn a_macro_can_pass_the_fallback_expression() {
    assert_eq!((made_by_expression(&open()), made_by_closure(&open())), (Ok(5), Ok(6)));
}

struct Price(u32);

#[async_trait::async_trait]
trait Quotes {
    async fn quote(&self, registry: &Registry, x: u32) -> u32;
}

#[async_trait::async_trait]
impl Quotes for Price {
    #[resilient(registry = registry, circuit_breaker = "x", fallback = async |_| { tick().await; x + self.0 })]
    async fn quote(&self, registry: &Registry, x: u32) -> u32 {
        tick().await;
        x
    }
}

#[tokio::test]
async fn every_asynchronous_shape_falls_back() {
    #[resilient(registry = registry, circuit_breaker = "x", fallback = later(x).await)]
    fn future(registry: &Registry, x: u32) -> impl Future<Output = u32> {
        async move { x }
    }
    #[resilient(registry = registry, circuit_breaker = "x", retry(max = 2, base = "0ms"), fallback = later(x).await)]
    fn boxed(registry: &Registry, x: u32) -> futures_util::future::BoxFuture<'_, u32> {
        Box::pin(async move { x })
    }
    async fn later(x: u32) -> u32 {
        tick().await;
        x + 1
    }
    let (up, down) = (Registry::new(), open());
    assert_eq!((future(&up, 1).await, future(&down, 1).await), (1, 2));
    assert_eq!((boxed(&up, 1).await, boxed(&down, 1).await), (1, 2));
    assert_eq!((Price(5).quote(&up, 1).await, Price(5).quote(&down, 1).await), (1, 6));
}
