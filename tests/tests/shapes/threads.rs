//! Bodies on threads of their bulkhead.

use std::sync::Arc;
use std::time::Duration;

use resilient::{Component, Registry, Rejection, RejectionKind, resilient};

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
enum Error {
    #[error("down")]
    Down,
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

fn on_a_pool_thread() -> bool {
    std::thread::current().name().is_some_and(|name| name.starts_with("resilient-"))
}

#[resilient(registry = registry, bulkhead("pool", threads = 2, max_queue = 4))]
fn plain(registry: Arc<Registry>, text: String) -> Result<String, Error> {
    assert!(on_a_pool_thread() && registry.stats().bulkhead["pool"].in_use > 0);
    Ok(text + "!")
}

#[resilient(
    bulkhead("retried", threads = 2),
    retry(max = 2, base = "0ms"),
    timeout(total = "5s", attempt = "2s"),
    clone(text)
)]
fn retried(text: String, mut count: u32) -> Result<(String, u32), Error> {
    count += resilient::attempt();
    if count < 3 { Err(Error::Down) } else { Ok((text, count)) }
}

#[resilient(bulkhead("blocking", threads = 2), timeout = "5s", fallback = Ok(number.len()))]
async fn blocking(fails: bool, number: &'static str) -> Result<usize, Error> {
    assert!(on_a_pool_thread());
    if fails { Err(Error::Down) } else { number.parse().map_err(|_| Error::Down) }
}

#[resilient(bulkhead("generic", threads = 1))]
fn generic<T: Send + 'static + Clone, E: From<Rejection> + Send + 'static>(
    value: Option<T>,
    error: E,
) -> Result<T, E> {
    value.ok_or(error)
}

struct Service {
    registry: Registry,
    hang: std::sync::Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

impl Service {
    #[resilient(registry = self.registry, name = "hang", bulkhead("hang", threads = 1), timeout(attempt = "20ms"))]
    fn hang(self: Arc<Self>) -> Result<u32, Error> {
        let hang = self.hang.lock().expect("no panic").take();
        // It ends when the other side is dropped.
        assert!(hang.is_none_or(|end| end.recv().is_err()));
        Ok(1)
    }
}

#[test]
fn they_run_there_with_arguments_of_their_own() {
    let registry = Arc::new(Registry::new());
    assert_eq!(plain(Arc::clone(&registry), "hello".into()).as_deref(), Ok("hello!"));
    assert_eq!(registry.stats().bulkhead["pool"].limit, 6);
    assert_eq!(retried("x".into(), 1), Ok(("x".into(), 3)), "each attempt finds its arguments as they were");
    assert_eq!(generic::<_, Error>(Some(7), Error::Down), Ok(7));
}

#[tokio::test]
async fn blocking_code_is_awaited() {
    assert_eq!(blocking(false, "17").await, Ok(17));
    assert_eq!(blocking(true, "17").await, Ok(2));
}

fn kind(error: &Error) -> Option<RejectionKind> {
    if let Error::Rejected(rejection) = error { Some(rejection.kind()) } else { None }
}

#[test]
fn a_synchronous_function_is_left_in_time() {
    let (end, hang) = std::sync::mpsc::channel();
    let service = Arc::new(Service { registry: Registry::new(), hang: std::sync::Mutex::new(Some(hang)) });
    let late = Arc::clone(&service).hang().unwrap_err();
    assert_eq!(kind(&late), Some(RejectionKind::AttemptTimeout), "{late}");
    let bulkhead = service.registry.bulkhead("hang");
    assert_eq!((bulkhead.stats().in_use, bulkhead.stats().pool.unwrap().abandoned), (1, 1));
    let full = Arc::clone(&service).hang().unwrap_err();
    assert_eq!(kind(&full), Some(RejectionKind::BulkheadFull), "{full}");
    drop(end);
    let patience = std::time::Instant::now() + Duration::from_secs(20);
    while bulkhead.stats().in_use > 0 {
        assert!(std::time::Instant::now() < patience);
        std::thread::yield_now();
    }
    assert_eq!(service.hang(), Ok(1));
}
