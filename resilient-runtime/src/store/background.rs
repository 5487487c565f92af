//! Work of a store that continues after the calls that started it.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::sync::Mutex;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A thread that starts with the first task, and ends when this is dropped and all tasks have ended.
///
/// Calls come from several runtimes and from threads without a runtime, so the work has a runtime of its own.
#[derive(Debug, Default)]
pub(super) struct Background(Mutex<Option<UnboundedSender<Task>>>);

impl Background {
    /// Starts a task.
    ///
    /// # Errors
    /// Returns why the thread cannot be started.
    pub(super) fn start(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), String> {
        let mut tasks = self.0.lock();
        let sender = match &*tasks {
            Some(sender) => sender,
            None => tasks.insert(start_thread().map_err(|error| format!("cannot start a thread: {error}"))?),
        };
        sender.send(Box::pin(task)).map_err(|_| "the thread of the store has ended".to_owned())
    }
}

#[allow(clippy::disallowed_methods)] // a thread of its own, outside of any runtime
fn start_thread() -> std::io::Result<UnboundedSender<Task>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (sender, tasks) = unbounded_channel();
    let thread = std::thread::Builder::new().name("resilient-store".to_owned());
    thread.spawn(move || runtime.block_on(serve(tasks)))?;
    Ok(sender)
}

/// Runs tasks until the sender is dropped. Tasks that wait are then dropped.
async fn serve(mut tasks: UnboundedReceiver<Task>) {
    let mut running = JoinSet::new();
    loop {
        let next = std::future::poll_fn(|cx| {
            // Ended tasks are removed. A task that panicked has ended too.
            while let Poll::Ready(Some(_)) = running.poll_join_next(cx) {}
            tasks.poll_recv(cx)
        });
        match next.await {
            Some(task) => _ = running.spawn(task),
            None => break,
        }
    }
}
