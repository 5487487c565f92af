//! How a check finds out: a future, or a function that may block and so gets a thread of its own.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

type Answer = Result<(), String>;
type Pending = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What is asked. Cheap to clone.
#[derive(Clone)]
pub(super) enum Probe {
    Async(Arc<dyn Fn() -> Pending + Send + Sync>),
    Blocking(Arc<dyn Fn() -> Answer + Send + Sync>, Arc<AtomicBool>),
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
            let asked = probe();
            Box::pin(async move { asked.await.map_err(|error| error.to_string()) })
        }))
    }

    pub(super) fn of_blocking<E: fmt::Display>(
        probe: impl Fn() -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        let ask = move || probe().map_err(|error| error.to_string());
        Self::Blocking(Arc::new(ask), Arc::default())
    }

    /// Asks once. A panic is an answer, too.
    pub(super) async fn ask(self, name: &str) -> Answer {
        match self {
            Self::Async(probe) => match catch_unwind(AssertUnwindSafe(|| probe())) {
                Ok(asked) => Caught(asked).await,
                Err(panic) => Err(said(&*panic)),
            },
            Self::Blocking(probe, busy) => on_a_thread(name, probe, busy).await,
        }
    }
}

/// One thread at a time: a probe that hangs costs one, and not one with each who asks.
async fn on_a_thread(
    name: &str,
    probe: Arc<dyn Fn() -> Answer + Send + Sync>,
    busy: Arc<AtomicBool>,
) -> Answer {
    if busy.swap(true, Ordering::AcqRel) {
        return Err("the last probe has not ended yet".into());
    }
    let (tell, told) = oneshot::channel();
    let is_busy = Arc::clone(&busy);
    let thread = std::thread::Builder::new().name(format!("health {name}")).spawn(move || {
        let answer = catch_unwind(AssertUnwindSafe(|| probe())).unwrap_or_else(|panic| Err(said(&*panic)));
        // Before the answer is there: who gets it may ask again at once.
        is_busy.store(false, Ordering::Release);
        // Who asked may have given up.
        let _ = tell.send(answer);
    });
    if let Err(error) = thread {
        busy.store(false, Ordering::Release);
        return Err(format!("no thread can be had for the probe: {error}"));
    }
    told.await.unwrap_or_else(|_| Err("the probe's thread was lost".into()))
}

/// A future whose panic is an answer.
struct Caught(Pending);

impl Future for Caught {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(said(&*panic))),
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the probe panicked: {}", text.unwrap_or("without words"))
}
