//! The thread that performs the operations of a store.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};

use crate::sync::Mutex;

/// Maximum number of optional operations at the same time.
const OPTIONAL: usize = 1024;
/// Maximum number of required operations at the same time. A service has at most one or two for each running call.
const REQUIRED: usize = 16_384;

/// Whether an operation of a store can be left out.
///
/// ```
/// use resilient_runtime::store::{Need, Worker};
///
/// let worker = Worker::new("my store");
/// assert!(worker.start(Need::Optional, async { "a claim" }).is_ok());
/// assert!(worker.start(Need::Required, async { "the result of a call" }).is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It begins something. It fails at once if the store is degraded or busy.
    Optional,
    /// It ends or keeps something that the store has acknowledged, such as a lease. It is sent in any case.
    Required,
}

/// Performs the operations of a store on a thread of its own. For crates that implement a store.
///
/// A connection belongs to the tokio runtime that opened it. But a store is used from several runtimes (each
/// `#[tokio::test]` has one), from synchronous functions that block the thread of a runtime, and from futures that are
/// polled once and dropped. Therefore the operations have a runtime of their own, and continue when their callers are gone.
///
/// The thread starts with the first operation. After the worker is dropped, it ends when all operations have ended. At most
/// 1024 optional and 16 384 required operations run at the same time.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::store::{Need, Worker};
///
/// let worker = Worker::new("my store");
/// let started = worker.start(Need::Optional, async { 6 * 7 }).unwrap();
/// assert_eq!(started.await, Some(42));
/// # }
/// ```
#[derive(Debug)]
pub struct Worker {
    thread: TaskThread,
    optional: Arc<Semaphore>,
    required: Arc<Semaphore>,
}

impl Worker {
    /// Creates a worker. `name` is the name of its thread.
    ///
    /// ```
    /// use resilient_runtime::store::Worker;
    ///
    /// let worker = Worker::new("my store");
    /// ```
    pub fn new(name: &'static str) -> Self {
        let of = |permits| Arc::new(Semaphore::new(permits));
        let thread = TaskThread::new(name, AfterDrop::WaitForTasks);
        Self { thread, optional: of(OPTIONAL), required: of(REQUIRED) }
    }

    /// Starts an operation at once. The returned future waits for its result, which is `None` if the operation panicked.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::store::{Need, Worker};
    ///
    /// let worker = Worker::new("my store");
    /// let started = worker.start(Need::Optional, async { panic!("a bug") }).unwrap();
    /// assert_eq!(started.await, None::<()>);
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns why the operation was not started: too many operations, or there is no thread.
    ///
    /// # Cancel safety
    /// The operation continues if the returned future is dropped. Its result is then dropped too.
    pub fn start<F>(
        &self,
        need: Need,
        operation: F,
    ) -> Result<impl Future<Output = Option<F::Output>> + Send + use<F>, String>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let (permits, most) = match need {
            Need::Optional => (&self.optional, OPTIONAL),
            Need::Required => (&self.required, REQUIRED),
        };
        let permit = Arc::clone(permits).try_acquire_owned();
        let permit = permit.map_err(|_| format!("{most} operations are already waiting for the server"))?;
        let (sender, receiver) = oneshot::channel();
        self.thread.start(async move {
            let result = operation.await;
            drop(permit);
            // The caller may be gone.
            let _ = sender.send(result);
        })?;
        Ok(async move { receiver.await.ok() })
    }

    /// Runs work that is not an operation and ends by itself, such as the search for expired records.
    ///
    /// ```
    /// use resilient_runtime::store::Worker;
    ///
    /// let worker = Worker::new("my store");
    /// worker.run(async { println!("tidied up") })?;
    /// # Ok::<_, String>(())
    /// ```
    ///
    /// # Errors
    /// Returns why the thread cannot be started.
    pub fn run(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<(), String> {
        self.thread.start(work)
    }
}

/// Tasks that have not ended when their thread is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterDrop {
    WaitForTasks,
    DropTasks,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A thread with a tokio runtime that starts with the first task.
#[derive(Debug)]
pub(super) struct TaskThread {
    name: &'static str,
    after_drop: AfterDrop,
    tasks: Mutex<Option<UnboundedSender<Task>>>,
}

impl TaskThread {
    pub(super) fn new(name: &'static str, after_drop: AfterDrop) -> Self {
        Self { name, after_drop, tasks: Mutex::default() }
    }

    /// Starts a task.
    ///
    /// # Errors
    /// Returns why the thread cannot be started.
    pub(super) fn start(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), String> {
        let mut tasks = self.tasks.lock();
        let sender = match &*tasks {
            Some(sender) => sender,
            None => {
                tasks.insert(self.start_thread().map_err(|error| format!("cannot start a thread: {error}"))?)
            }
        };
        sender.send(Box::pin(task)).map_err(|_| "the thread of the store has ended".to_owned())
    }

    #[allow(clippy::disallowed_methods)] // a thread of its own, outside of any runtime
    fn start_thread(&self) -> std::io::Result<UnboundedSender<Task>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, tasks) = unbounded_channel();
        let (thread, after_drop) = (std::thread::Builder::new().name(self.name.to_owned()), self.after_drop);
        thread.spawn(move || runtime.block_on(serve(tasks, after_drop)))?;
        Ok(sender)
    }
}

/// Runs tasks until the sender is dropped.
async fn serve(mut tasks: UnboundedReceiver<Task>, after_drop: AfterDrop) {
    // A task that ends does not wake this one. It drops its sender, also if it panics.
    let (running, mut ended) = channel::<Infallible>(1);
    while let Some(task) = tasks.recv().await {
        let running = running.clone();
        tokio::spawn(async move {
            task.await;
            drop(running);
        });
    }
    drop(running);
    if after_drop == AfterDrop::WaitForTasks {
        ended.recv().await;
    }
}
