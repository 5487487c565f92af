//! One call in a pool, from the caller's side.

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

/// Work in a pool.
///
/// Dropping it withdraws work that has not started. Work that has started is abandoned: it continues, keeps its
/// permit, and its result is dropped.
pub(crate) struct Running<R> {
    told: Arc<Mutex<Completion<R>>>,
    /// `None` if the work ran on the caller's thread, or has ended.
    submitted: Option<Submitted>,
}

/// The report of the work to its caller.
struct Completion<R> {
    began: Option<Instant>,
    end: Option<End<R>>,
    waker: Option<Waker>,
}

/// How the work ended.
pub(crate) enum End<R> {
    Value(R),
    Panic(Box<dyn Any + Send>),
    /// The work never started: there was no thread for it.
    Refused,
}

/// When the work started, if it did, and how it ended.
type Ended<R> = (Option<Instant>, End<R>);

/// The progress of the work.
enum Phase<R> {
    /// The work is queued, or has been running since this time.
    Under(Option<Instant>),
    Ended(Ended<R>),
}

impl<R> Running<R> {
    /// Returns the progress. `waker` is woken when it changes.
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

    /// Stops waiting. Returns the start time of work that has started; such work continues. Other work never
    /// runs.
    pub(crate) fn leave(&mut self, clock: &Clock) -> Option<Instant> {
        let runs = self.submitted.as_mut().is_some_and(Submitted::leave);
        // The work might have started so recently that it has not reported it yet.
        self.told.lock().began.or_else(|| runs.then(|| clock.now()))
    }

    /// Blocks the thread until the work ends or its time is over.
    ///
    /// `limit` gets the time at which the work started, if it has, and returns the deadline. Returns `None` if the time
    /// is over.
    pub(crate) fn wait_blocking(
        &mut self,
        clock: &Clock,
        mut limit: impl FnMut(Option<Instant>) -> Instant,
    ) -> Option<Ended<R>> {
        let waker = crate::clock::unparker();
        let mut reached = None;
        loop {
            // Checked before the time: work that has ended in time counts as in time (T65).
            let began = match self.phase(&waker) {
                Phase::Ended(ended) => return Some(ended),
                Phase::Under(began) => began,
            };
            let until = limit(began);
            // Work that started in the meantime has another deadline.
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
        // The deadline of the timer.
        armed_for: Instant,
    }
}

impl<R> Waiting<R> {
    pub(crate) fn new(running: Running<R>) -> Self {
        Self { running, timer: None, armed_for: Instant::NEVER }
    }

    /// Like [`Running::leave`].
    pub(crate) fn leave(self: Pin<&mut Self>, clock: &Clock) -> Option<Instant> {
        self.project().running.leave(clock)
    }

    /// Like [`Running::wait_blocking`], without blocking the thread.
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

/// The permit of the work, until it ends.
struct PermitGuard(Arc<Bulkhead>);

impl Drop for PermitGuard {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Reports to the caller how the work ended. Dropping it earlier reports that the work will never start.
struct Teller<R> {
    told: Arc<Mutex<Completion<R>>>,
    /// `None` if the work has no permit, or has ended.
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
        // Release the permit before reporting the end: the caller might check the statistics or call again at once.
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

/// Must be called without the lock: a woken caller checks at once.
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

/// The context of a call, which moves with its work to another thread.
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

/// Runs the work on this thread.
pub(crate) fn in_place<R>(clock: &Clock, scope: Scope, work: impl FnOnce() -> R) -> Running<R> {
    let began = Some(clock.now());
    let entered = scope.enter();
    let end = Some(caught(work));
    drop(entered);
    let told = Completion { began, end, waker: None };
    Running { told: Arc::new(Mutex::new(told)), submitted: None }
}

/// Runs the work on a blocking thread of tokio, or on this thread without a tokio runtime.
///
/// For asynchronous callers, whose thread must not block, when no bulkhead has threads: protection is turned off,
/// or there is no bulkhead.
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
    /// Submits work to the threads, for a caller that holds a permit. The permit moves with the work.
    ///
    /// The work runs inside `scope`, with the rest of the current context and the current `tracing` subscriber. The
    /// start of the work wakes the caller only if `tells_begin` is set, because each wake-up is a thread switch.
    ///
    /// On a thread of this pool, or on a thread that such a thread waits for, the work runs in place: waiting for
    /// another thread could deadlock.
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
