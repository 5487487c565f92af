//! One call in a pool, as the one who waits for it sees it.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

use super::Submitted;
use crate::bulkhead::Bulkhead;
use crate::clock::{Clock, Instant};
use crate::priority::Priority;
use crate::rejection::{Rejection, RejectionKind};
use crate::scope::Scope;
use crate::sync::Mutex;

/// How the work ended: with a value, or with a panic.
type End<R> = Result<R, Box<dyn Any + Send>>;

/// Work in a pool; dropped, it is withdrawn if it has not begun, and else abandoned: it runs on, keeps its place, and its
/// answer is dropped.
pub(crate) struct Running<R> {
    shared: Arc<Mutex<Shared<R>>>,
    /// `None` where it ran in place.
    _submitted: Option<Submitted>,
}

struct Shared<R> {
    began: Option<Instant>,
    end: Option<End<R>>,
    waker: Option<Waker>,
}

/// How far the work has come.
pub(crate) enum Phase<R> {
    Queued,
    Began(Instant),
    Ended { began: Instant, end: End<R> },
}

impl<R> fmt::Debug for Running<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running")
    }
}

impl<R> Running<R> {
    /// When it began, if it has.
    pub(crate) fn began(&self) -> Option<Instant> {
        self.shared.lock().began
    }

    /// Looks; `waker` is woken when there is something new to see.
    pub(crate) fn phase(&self, waker: &Waker) -> Phase<R> {
        let mut shared = self.shared.lock();
        match (shared.end.take(), shared.began) {
            (Some(end), began) => Phase::Ended { began: began.unwrap_or(Instant::NEVER), end },
            (None, began) => {
                if !shared.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                    shared.waker = Some(waker.clone());
                }
                began.map_or(Phase::Queued, Phase::Began)
            }
        }
    }
}

/// The place that the work has in its bulkhead, until it has ended.
struct Held(Arc<Bulkhead>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Bulkhead {
    /// Hands work to the threads; for a caller that holds a permit, which now goes with the work. Inside of `scope`, and of
    /// the span and the subscriber of `tracing` that are current here.
    ///
    /// From a thread of the pool itself the work is done in place: to wait for another could be to wait for ever.
    pub(crate) fn start<R: Send + 'static>(
        self: &Arc<Self>,
        priority: Priority,
        scope: Scope,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<Running<R>, Rejection> {
        let held = Held(Arc::clone(self));
        let shared = Arc::new(Mutex::new(Shared { began: None, end: None, waker: None }));
        let told = Arc::clone(&shared);
        let clock = self.core.clock().clone();
        let (span, dispatch) = (tracing::Span::current(), tracing::dispatcher::get_default(Clone::clone));
        let job = move || {
            tell(&told, |shared| shared.began = Some(clock.now()));
            let end = {
                let _scope = scope.enter();
                let in_span = || span.in_scope(work);
                catch_unwind(AssertUnwindSafe(|| tracing::dispatcher::with_default(&dispatch, in_span)))
            };
            // Before it is told: who waits may come again at once.
            drop(held);
            tell(&told, |shared| shared.end = Some(end));
        };
        let pool = self.pool();
        if pool.is_none_or(super::Pool::is_here) {
            job();
            return Ok(Running { shared, _submitted: None });
        }
        let submitted = pool.map(|pool| pool.submit(priority, Box::new(job)));
        match submitted.transpose() {
            Ok(submitted) => Ok(Running { shared, _submitted: submitted }),
            Err(super::NoThread) => Err(self.refuse_for(RejectionKind::BulkheadFull)),
        }
    }

    /// Waits for work, blocking the thread, until `limit` says that the time is over; its error is then given.
    pub(crate) fn wait_blocking<R>(
        clock: &Clock,
        running: &Running<R>,
        limit: impl Fn(Option<Instant>) -> Instant,
    ) -> Option<(Instant, End<R>)> {
        let waker = crate::clock::unparker();
        let mut over = false;
        loop {
            let began = match running.phase(&waker) {
                Phase::Ended { began, end } => return Some((began, end)),
                Phase::Began(began) => Some(began),
                Phase::Queued => None,
            };
            let until = limit(began);
            // What began meanwhile has another limit.
            if over && clock.now() >= until {
                return None;
            }
            over = clock.park(until);
        }
    }
}

fn tell<R>(shared: &Mutex<Shared<R>>, change: impl FnOnce(&mut Shared<R>)) {
    let waker = {
        let mut shared = shared.lock();
        change(&mut shared);
        shared.waker.take()
    };
    // Outside of the lock: who is woken looks at once.
    if let Some(waker) = waker {
        waker.wake();
    }
}
