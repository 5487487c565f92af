//! One call in a pool, as the one who waits for it sees it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

use pin_project_lite::pin_project;

use super::{Inside, OnThread, Submitted};
use crate::bulkhead::Bulkhead;
use crate::clock::{Clock, Instant, NoTimer, Timer};
use crate::context::{Context, Scope};
use crate::priority::Priority;
use crate::sync::Mutex;

/// Work in a pool; dropped, it is withdrawn if it has not begun, and else abandoned: it runs on, keeps its place, and its
/// answer is dropped.
pub(crate) struct Running<R> {
    told: Arc<Mutex<Completion<R>>>,
    /// `None` where it ran in place, or has ended.
    submitted: Option<Submitted>,
}

/// What the work tells the one who waits.
struct Completion<R> {
    began: Option<Instant>,
    end: Option<End<R>>,
    waker: Option<Waker>,
}

/// How the work ended.
pub(crate) enum End<R> {
    Value(R),
    Panic(Box<dyn Any + Send>),
    /// It never began: there was no thread for it.
    Refused,
}

/// When it began, if it did, and how it ended.
type Ended<R> = (Option<Instant>, End<R>);

/// How far the work has come.
enum Phase<R> {
    /// It waits for a thread, or runs since then.
    Under(Option<Instant>),
    Ended(Ended<R>),
}

impl<R> Running<R> {
    /// Looks; `waker` is woken when there is something new to see.
    fn phase(&mut self, waker: &Waker) -> Phase<R> {
        let mut told = self.told.lock();
        if let Some(end) = told.end.take() {
            if let Some(submitted) = &mut self.submitted {
                submitted.is_open = false;
            }
            return Phase::Ended((told.began, end));
        }
        if !told.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            told.waker = Some(waker.clone());
        }
        Phase::Under(told.began)
    }

    /// Stops waiting. When it began, if it has: then it runs on. What has not never will.
    pub(crate) fn leave(&mut self, clock: &Clock) -> Option<Instant> {
        let runs = self.submitted.as_mut().is_some_and(Submitted::leave);
        // It may be so new on its thread that it has not told.
        self.told.lock().began.or_else(|| runs.then(|| clock.now()))
    }

    /// Waits for the end, blocking the thread, as long as `limit` says, which is asked with when it began. `None`: the
    /// time is over.
    pub(crate) fn wait_blocking(
        &mut self,
        clock: &Clock,
        mut limit: impl FnMut(Option<Instant>) -> Instant,
    ) -> Option<Ended<R>> {
        let waker = crate::clock::unparker();
        let mut reached = None;
        loop {
            // Looked at before the time: what has ended in time has made it (T65).
            let began = match self.phase(&waker) {
                Phase::Ended(ended) => return Some(ended),
                Phase::Under(began) => began,
            };
            let until = limit(began);
            // What began meanwhile has another limit.
            if reached.is_some_and(|reached| until <= reached) {
                return None;
            }
            reached = clock.park(until).then_some(until);
        }
    }
}

pin_project! {
    /// Waits for work without blocking the thread.
    pub(crate) struct Waiting<R> {
        running: Running<R>,
        #[pin]
        timer: Option<Timer>,
        // What the timer was armed for.
        armed_for: Instant,
    }
}

impl<R> Waiting<R> {
    pub(crate) fn new(running: Running<R>) -> Self {
        Self { running, timer: None, armed_for: Instant::NEVER }
    }

    /// As [`Running::leave`].
    pub(crate) fn leave(self: Pin<&mut Self>, clock: &Clock) -> Option<Instant> {
        self.project().running.leave(clock)
    }

    /// Waits as [`Running::wait_blocking`] does.
    pub(crate) fn poll_until(
        self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        clock: &Clock,
        mut limit: impl FnMut(Option<Instant>) -> Instant,
    ) -> Poll<Result<Option<Ended<R>>, NoTimer>> {
        let mut this = self.project();
        let began = match this.running.phase(cx.waker()) {
            Phase::Ended(ended) => return Poll::Ready(Ok(Some(ended))),
            Phase::Under(began) => began,
        };
        let until = limit(began);
        if until != *this.armed_for {
            this.timer.set(None);
            if until != Instant::NEVER {
                clock.arm(this.timer.as_mut(), until)?;
            }
            *this.armed_for = until;
        }
        match this.timer.as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| Ok(None)),
            None => Poll::Pending,
        }
    }
}

/// The place that the work has in its bulkhead, until it has ended.
struct PermitGuard(Arc<Bulkhead>);

impl Drop for PermitGuard {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Tells the one who waits how the work has ended; dropped before, that it will never begin.
struct Teller<R> {
    told: Arc<Mutex<Completion<R>>>,
    /// `None` where it has none, and once it has ended.
    held: Option<PermitGuard>,
    has_ended: bool,
}

impl<R> Teller<R> {
    fn began(&self, now: Instant, is_awaited: bool) {
        let waker = {
            let mut told = self.told.lock();
            told.began = Some(now);
            if is_awaited { told.waker.take() } else { None }
        };
        wake(waker);
    }

    fn ended(&mut self, end: End<R>) {
        // Before it is told: who waits may look, or come again, at once.
        self.held = None;
        self.has_ended = true;
        let waker = {
            let mut told = self.told.lock();
            told.end = Some(end);
            told.waker.take()
        };
        wake(waker);
    }
}

impl<R> Drop for Teller<R> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.ended(End::Refused);
        }
    }
}

/// Outside of the lock: who is woken looks at once.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn caught<R>(work: impl FnOnce() -> R) -> End<R> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(value) => End::Value(value),
        Err(panic) => End::Panic(panic),
    }
}

/// What is around a call on its own thread, and goes with its work to another.
struct Around {
    context: Context,
    dispatch: tracing::Dispatch,
}

impl Around {
    fn here(scope: Scope) -> Self {
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        Self { context: Context::current().with_scope(scope), dispatch }
    }

    fn run<R>(self, work: impl FnOnce() -> R) -> R {
        tracing::dispatcher::with_default(&self.dispatch, || self.context.run(work))
    }
}

/// Does the work here and now: it has ended.
pub(crate) fn in_place<R>(clock: &Clock, scope: Scope, work: impl FnOnce() -> R) -> Running<R> {
    let began = Some(clock.now());
    let entered = scope.enter();
    let end = Some(caught(work));
    drop(entered);
    let told = Completion { began, end, waker: None };
    Running { told: Arc::new(Mutex::new(told)), submitted: None }
}

/// Does the work on a thread that tokio has for what blocks; in place where there is no tokio. For asynchronous callers,
/// whose thread must not block, where no bulkhead has threads: protection is switched off, or there never was any.
pub(crate) fn beside<R: Send + 'static>(
    clock: &Clock,
    scope: Scope,
    work: impl FnOnce() -> R + Send + 'static,
) -> Running<R> {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return in_place(clock, scope, work) };
    let told = Arc::new(Mutex::new(Completion { began: Some(clock.now()), end: None, waker: None }));
    let mut teller = Teller { told: Arc::clone(&told), held: None, has_ended: false };
    let around = Around::here(scope);
    runtime.spawn_blocking(move || teller.ended(caught(|| around.run(work))));
    Running { told, submitted: None }
}

impl Bulkhead {
    /// Hands work to the threads; for a caller that holds a permit, which now goes with the work. Inside of `scope`, and of
    /// the rest of the context and the subscriber of `tracing` that are current here. Who waits is woken when the work begins only if
    /// `tells_begin`: each time is a change of threads.
    ///
    /// From a thread of the pool itself, and from what such a thread waits for, the work is done in place: to wait for
    /// another could be to wait for ever.
    pub(crate) fn start<R: Send + 'static>(
        self: &Arc<Self>,
        priority: Priority,
        scope: Scope,
        tells_begin: bool,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Running<R> {
        let held = PermitGuard(Arc::clone(self));
        let clock = self.core.clock();
        let pool = self.pool();
        let Some((pool, inside)) = pool.and_then(|pool| Some((pool, Inside::of(pool)?))) else {
            let running = in_place(clock, scope, work);
            drop(held);
            return running;
        };
        let told = Arc::new(Mutex::new(Completion { began: None, end: None, waker: None }));
        let mut teller = Teller { told: Arc::clone(&told), held: Some(held), has_ended: false };
        let clock = clock.clone();
        let around = Around::here(scope);
        let job = move |on_thread: OnThread<'_>| {
            teller.began(clock.now(), tells_begin);
            let end = {
                let _inside = inside.enter();
                caught(|| around.run(work))
            };
            drop(on_thread);
            teller.ended(end);
        };
        let submitted = pool.submit(priority, Box::new(job));
        if submitted.has_to_wait {
            self.counters.queued();
        }
        Running { told, submitted: Some(submitted) }
    }
}
