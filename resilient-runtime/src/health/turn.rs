//! One probe at a time, whatever becomes of the call that started it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;

use super::Inner;
use crate::clock::Instant;

/// Whether a probe is under way.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// When the current probe began.
    since: Option<Instant>,
    /// Its number.
    number: u64,
}

/// What a call that needs an answer does next.
#[derive(Debug)]
pub(super) enum Step {
    /// There is an answer.
    Answered,
    /// Start the probe with this number.
    Probe(u64),
    /// Wait for the probe of another call, at most until then.
    Wait(Instant),
}

/// How long after its timeout a probe may still deliver its answer: a busy runtime polls late.
const SLACK: Duration = Duration::from_millis(200);

impl Turn {
    /// Begins a probe, or joins the one that is under way. A probe that is overdue has been abandoned: no task polls it.
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

    /// Whether the probe `number` is the current one.
    pub(super) fn is_of(&self, number: u64) -> bool {
        self.number == number
    }
}

/// Ends the turn of a probe when it is dropped.
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

/// Makes the probe `number`. In a tokio runtime one that is not answered at once becomes a task, so that its answer depends
/// neither on the patience nor on the polls of whoever asked first.
pub(super) async fn run(inner: &Arc<Inner>, number: u64) {
    let ending = Ending { inner: Arc::clone(inner), number };
    let mut probe: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
        ending.inner.ask(ending.number).await;
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
