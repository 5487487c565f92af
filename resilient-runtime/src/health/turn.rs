//! Runs one probe at a time, independent of the call that started it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;

use super::Inner;
use crate::clock::Instant;

/// The probe that is running, if any.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// When the current probe started.
    since: Option<Instant>,
    /// The number of the current probe.
    number: u64,
}

/// The next step of a call that needs a result.
#[derive(Debug)]
pub(super) enum Step {
    /// A result is available.
    Ready,
    /// Start the probe with this number.
    Probe(u64),
    /// Wait for the probe of another call, at most until this point.
    Wait(Instant),
}

/// How long after its timeout a probe can still deliver its result. A busy runtime polls late.
const SLACK: Duration = Duration::from_millis(200);

impl Turn {
    /// Starts a probe, or joins the one that is running. A probe that is overdue was abandoned: no task polls it.
    pub(super) fn next(&mut self, now: Instant, timeout: Duration) -> Step {
        if let Some(since) = self.since {
            let overdue = since.after(timeout).after(SLACK);
            if now < overdue {
                return Step::Wait(overdue);
            }
        }
        self.number += 1;
        self.since = Some(now);
        Step::Probe(self.number)
    }

    /// Returns whether `number` is the current probe.
    pub(super) fn is_of(&self, number: u64) -> bool {
        self.number == number
    }
}

/// Marks a probe as ended when it is dropped.
struct Ending {
    inner: Arc<Inner>,
    number: u64,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock();
        if state.turn.is_of(self.number) {
            state.turn.since = None;
        }
        drop(state);
        self.inner.ended.notify_waiters();
    }
}

/// Runs the probe `number`. In a tokio runtime, a probe that is not ready immediately becomes a task. Its result
/// then does not depend on how long the first caller waits or how often it polls.
pub(super) async fn run(inner: &Arc<Inner>, number: u64) {
    let ending = Ending { inner: Arc::clone(inner), number };
    let mut probe: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
        ending.inner.run_probe(ending.number).await;
        drop(ending);
    });
    if std::future::poll_fn(|cx| Poll::Ready(probe.as_mut().poll(cx))).await.is_ready() {
        return;
    }
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn(probe)),
        Err(_) => probe.await,
    }
}
