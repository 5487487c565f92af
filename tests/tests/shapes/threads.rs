//! Bodies that run on the threads of a bulkhead.

use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::{Component, Registry, Rejection, RejectionKind, resilient};

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
    count += resilient_runtime::attempt();
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
        // The body ends when the other side is dropped.
        assert!(hang.is_none_or(|end| end.recv().is_err()));
        Ok(1)
    }
}

fn default() -> usize {
    7
}

#[derive(Default)]
struct Store {
    fails: std::sync::atomic::AtomicU32,
    name: String,
}

impl Store {
    #[allow(unused_qualifications)] // in a path, `self` is the module
    #[resilient(
        bulkhead("store", threads = 2),
        retry(max = 3, base = "0ms"),
        timeout = "5s",
        clone(self, text),
        fallback = Ok(self.name.len())
    )]
    fn put(self: Arc<Self>, text: String) -> Result<usize, Error> {
        struct Nested(usize);
        impl Nested {
            fn get(&self) -> usize {
                self.0
            }
        }
        assert!(on_a_pool_thread(), "{}", self.name);
        let names = [self.name.clone(), format!("{}{}", self.name, self::default())];
        if self.fails.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) > 0 {
            return Err(Error::Down);
        }
        drop(text);
        Ok(Nested(names.len() + self::default()).get())
    }
}

#[async_trait::async_trait]
trait Report {
    async fn plain(self: Arc<Self>, rows: Vec<u32>) -> Result<u32, Error>;

    async fn again(self: Arc<Self>, rows: (Vec<u32>, u32)) -> Result<u32, Error>;
}

#[async_trait::async_trait]
impl Report for Store {
    #[resilient(bulkhead("report", threads = 2), timeout = "5s")]
    async fn plain(self: Arc<Self>, rows: Vec<u32>) -> Result<u32, Error> {
        assert!(on_a_pool_thread() && self.name == "n");
        Ok(rows.into_iter().sum())
    }

    #[resilient(bulkhead("report again", threads = 2), retry(max = 3, base = "0ms"), clone(self, rows))]
    async fn again(self: Arc<Self>, (rows, mut more): (Vec<u32>, u32)) -> Result<u32, Error> {
        more += 1;
        if self.fails.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) > 0 {
            return Err(Error::Down);
        }
        Ok(rows.into_iter().sum::<u32>() + more)
    }
}

trait Native {
    #[resilient(bulkhead("native", threads = 1), name = "native")]
    fn double(self, number: u32) -> Result<u32, Error>
    where
        Self: Sized + Send + 'static,
    {
        assert!(on_a_pool_thread());
        Ok(number * 2)
    }
}

impl Native for Store {}

#[resilient(bulkhead("shared", threads = 1), coalesce(key = number), clone(text))]
async fn shared(number: u32, text: String) -> Result<usize, Error> {
    assert!(on_a_pool_thread());
    Ok(text.len() + number as usize)
}

#[resilient(bulkhead("judged", threads = 1), failure = |n: &Result<u32, Error>| n == &Ok(1), priority = high, map_err = |_| Error::Down)]
fn judged(number: u32) -> Result<u32, Error> {
    Ok(number)
}

#[resilient(bulkhead("future", threads = 1))]
fn future(number: u32) -> impl Future<Output = Option<u32>> + Send {
    async move { on_a_pool_thread().then_some(number) }
}

/// Checks that a future is `Send`.
fn sent<T: Send>(future: T) -> T {
    future
}

#[test]
fn each_attempt_has_its_own_self() {
    let store = |fails: u32| Arc::new(Store { fails: fails.into(), name: "n".into() });
    assert_eq!(store(2).put("x".into()), Ok(9));
    assert_eq!(store(10).put("x".into()), Ok(1), "so has the fallback");
    assert_eq!(Store::default().double(4), Ok(8));
    assert_eq!(judged(1), Ok(1));
}

#[tokio::test]
async fn functions_of_all_asynchronous_shapes_run_on_the_threads() {
    let store = |fails: u32| Arc::new(Store { fails: fails.into(), name: "n".into() });
    assert_eq!(sent(store(0).plain(vec![1, 2])).await, Ok(3));
    assert_eq!(sent(store(2).again((vec![1, 2], 4))).await, Ok(8));
    assert_eq!(sent(shared(1, "ab".into())).await, Ok(3));
    assert_eq!(sent(future(5)).await, Some(5));
}

#[test]
fn bodies_on_threads_own_their_arguments() {
    let registry = Arc::new(Registry::new());
    assert_eq!(plain(Arc::clone(&registry), "hello".into()).as_deref(), Ok("hello!"));
    assert_eq!(registry.stats().bulkhead["pool"].limit, 6);
    assert_eq!(retried("x".into(), 1), Ok(("x".into(), 3)), "each attempt sees the original arguments");
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
fn a_synchronous_function_on_a_thread_times_out() {
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
