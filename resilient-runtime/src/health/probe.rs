//! Runs a probe: a future, or a blocking function on a separate thread.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

type ProbeResult = Result<(), String>;
type Pending = Pin<Box<dyn Future<Output = ProbeResult> + Send>>;

/// The probe of a check. Cheap to clone.
#[derive(Clone)]
pub(super) enum Probe {
    Async(Arc<dyn Fn() -> Pending + Send + Sync>),
    Blocking(Arc<dyn Fn() -> ProbeResult + Send + Sync>, Arc<AtomicBool>),
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Async(_) => "Async",
            Self::Blocking(..) => "Blocking",
        })
    }
}

impl Probe {
    pub(super) fn of_async<F, E>(probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        Self::Async(Arc::new(move || {
            let future = probe();
            Box::pin(async move { future.await.map_err(|error| error.to_string()) })
        }))
    }

    pub(super) fn of_blocking<E: fmt::Display>(
        probe: impl Fn() -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        let run = move || probe().map_err(|error| error.to_string());
        Self::Blocking(Arc::new(run), Arc::default())
    }

    /// Runs the probe once. A panic is returned as an error.
    pub(super) async fn run(self, name: &str) -> ProbeResult {
        match self {
            Self::Async(probe) => match catch_unwind(AssertUnwindSafe(|| probe())) {
                Ok(future) => CatchUnwind(future).await,
                Err(panic) => Err(panic_text(&*panic)),
            },
            Self::Blocking(probe, busy) => on_a_thread(name, probe, busy).await,
        }
    }
}

/// Runs one probe thread at a time, so that a probe that hangs blocks only one thread, not one per caller.
async fn on_a_thread(
    name: &str,
    probe: Arc<dyn Fn() -> ProbeResult + Send + Sync>,
    busy: Arc<AtomicBool>,
) -> ProbeResult {
    if busy.swap(true, Ordering::AcqRel) {
        return Err("the previous probe is still running".into());
    }
    let (sender, receiver) = oneshot::channel();
    let is_busy = Arc::clone(&busy);
    let thread = std::thread::Builder::new().name(format!("health {name}")).spawn(move || {
        let result =
            catch_unwind(AssertUnwindSafe(|| probe())).unwrap_or_else(|panic| Err(panic_text(&*panic)));
        // Clear the flag before sending the result: its receiver can start the next probe immediately.
        is_busy.store(false, Ordering::Release);
        // The receiver can be gone.
        let _ = sender.send(result);
    });
    if let Err(error) = thread {
        busy.store(false, Ordering::Release);
        return Err(format!("cannot start a thread for the probe: {error}"));
    }
    receiver.await.unwrap_or_else(|_| Err("the probe thread ended without a result".into()))
}

/// Converts a panic of the inner future to an error.
struct CatchUnwind(Pending);

impl Future for CatchUnwind {
    type Output = ProbeResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ProbeResult> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(panic_text(&*panic))),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the probe panicked: {}", text.unwrap_or("no message"))
}
