//! The thread that performs the operations of a store.
//!
//! A connection belongs to the tokio runtime that opened it. A store is used from several runtimes (each `#[tokio::test]`
//! has one), from synchronous functions that block the thread of a runtime, and from futures that are polled once and
//! dropped. Therefore the connection has a runtime of its own, and operations continue when their callers are gone.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;

/// Maximum number of optional operations at the same time.
const OPTIONAL: usize = 1024;
/// Maximum number of required operations at the same time. A service has at most one or two for each running call.
const REQUIRED: usize = 16_384;

/// Whether an operation may be refused while others wait for a server that does not respond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It begins something. If it is not sent, nothing has changed.
    Optional,
    /// It ends or keeps something that the server has acknowledged.
    Required,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts with the first operation. After it is dropped, the thread ends when all operations have ended.
#[derive(Debug)]
pub(crate) struct Worker {
    tasks: Mutex<Option<UnboundedSender<Task>>>,
    optional: Arc<Semaphore>,
    required: Arc<Semaphore>,
}

impl Worker {
    pub(crate) fn new() -> Self {
        let of = |permits| Arc::new(Semaphore::new(permits));
        Self { tasks: Mutex::new(None), optional: of(OPTIONAL), required: of(REQUIRED) }
    }

    /// Starts an operation at once. Its result arrives in the channel, unless the operation panics.
    ///
    /// # Errors
    /// Returns why the operation was not started.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        need: Need,
        operation: impl Future<Output = T> + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, String> {
        let (permits, most) = match need {
            Need::Optional => (&self.optional, OPTIONAL),
            Need::Required => (&self.required, REQUIRED),
        };
        let permit = Arc::clone(permits).try_acquire_owned();
        let permit = permit.map_err(|_| format!("{most} operations are already waiting for the server"))?;
        let (sender, receiver) = oneshot::channel();
        self.send(Box::pin(finish(operation, permit, sender)))?;
        Ok(receiver)
    }

    /// Runs something that takes no permit, because it is not an operation.
    pub(crate) fn run(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<(), String> {
        self.send(Box::pin(work))
    }

    fn send(&self, task: Task) -> Result<(), String> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match &*tasks {
            Some(sender) => sender,
            None => tasks.insert(start_thread().map_err(|error| format!("cannot start a thread: {error}"))?),
        };
        sender.send(task).map_err(|_| "the thread of the store has ended".to_owned())
    }
}

async fn finish<T>(
    operation: impl Future<Output = T>,
    permit: OwnedSemaphorePermit,
    sender: oneshot::Sender<T>,
) {
    let result = operation.await;
    drop(permit);
    // The caller may be gone.
    let _ = sender.send(result);
}

fn start_thread() -> std::io::Result<UnboundedSender<Task>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, tasks) = unbounded_channel();
    let thread = std::thread::Builder::new().name("resilient-redis".to_owned());
    thread.spawn(move || runtime.block_on(serve(tasks)))?;
    Ok(sender)
}

/// Runs tasks until the store is dropped and all of them have ended.
async fn serve(mut tasks: UnboundedReceiver<Task>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            task = tasks.recv() => match task {
                Some(task) => _ = running.spawn(task),
                None => break,
            },
            Some(_) = running.join_next() => {}
        }
    }
    while running.join_next().await.is_some() {}
}
