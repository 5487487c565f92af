//! Phases of a call that have their own time limit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::Deadline;
use crate::clock::{Clock, Instant, Timer};
use crate::context::Scope;
use crate::outcome::{FromRejection, Reject};
use crate::rejection::{Rejection, RejectionKind};
use crate::timeout::{Phase, Phases};

/// The component name in a rejection if there is no enclosing timeout.
const NAMELESS: &str = "deadline";

/// Limits the time of connecting.
///
/// The limit is `connect` of the nearest enclosing timeout (3 s without one), and at most the remaining time of the
/// deadline. When it expires, the error is a `ConnectTimeout`: nothing was sent yet, so the call can be retried.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::io;
/// use resilient_runtime::{deadline, resilient};
/// use tokio::net::TcpStream;
///
/// #[resilient(timeout("gateway", total = "10s", connect = "500ms"))]
/// async fn reach(address: &str) -> io::Result<()> {
///     let _stream: TcpStream = deadline::connect(TcpStream::connect(address)).await?;
///     Ok(())
/// }
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
/// # reach(&listener.local_addr().unwrap().to_string()).await.unwrap();
/// # }
/// ```
///
/// # Cancel safety
/// Dropping the future drops the work.
pub fn connect<F: Future<Output: ReportsTimeout>>(work: F) -> Bounded<F> {
    Bounded::new(Phase::Connect, work)
}

/// Like [`connect`], for work of any type.
///
/// It wraps the output in a `Result`, as `tokio::time::timeout` does.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), resilient_runtime::Rejection> {
/// use resilient_runtime::deadline;
///
/// let pooled: Option<u32> = deadline::connect_timeout(async { Some(7) }).await?;
/// assert_eq!(pooled, Some(7));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Returns a `ConnectTimeout`, or a `TotalTimeout` if the deadline passed first.
///
/// # Cancel safety
/// Dropping the future drops the work.
pub fn connect_timeout<F: Future>(work: F) -> impl Future<Output = Result<F::Output, Rejection>> {
    Bounded::new(Phase::Connect, async move { Ok(work.await) })
}

/// Limits the wait for a response or a part of it.
///
/// The limit is `read` of the nearest enclosing timeout (30 s without one), and at most the remaining time of the
/// deadline. When it expires, the error is a `ReadTimeout`: the request may have had an effect.
///
/// The work returns a `Result`, which can hold the error. For other work, such as `stream.next()`, use
/// [`read_timeout`]: if a timeout became `None`, it would look like the end of the stream.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use std::time::Duration;
/// use resilient_runtime::{Component, Registry, Rejection, RejectionKind, clock::Clock, deadline, timeout};
///
/// let gateway = Registry::with_clock(Clock::tokio()).timeout("gateway");
/// gateway.reconfigure(timeout::Config::default().read(Duration::from_millis(200))).unwrap();
/// let answer = std::future::pending::<Result<u32, Rejection>>;
/// let late = gateway.call_async(async || deadline::read(answer()).await).await;
/// assert_eq!(late.unwrap_err().kind(), RejectionKind::ReadTimeout);
/// # }
/// ```
///
/// # Cancel safety
/// Dropping the future drops the work.
pub fn read<F: Future<Output: ReportsTimeout>>(work: F) -> Bounded<F> {
    Bounded::new(Phase::Read, work)
}

/// Like [`read`], for work of any type.
///
/// It wraps the output in a `Result`, as `tokio::time::timeout` does. A timeout is then an error, and `None` is the end
/// of a stream.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), resilient_runtime::Rejection> {
/// use resilient_runtime::deadline;
///
/// let (send, mut lines) = tokio::sync::mpsc::channel(1);
/// send.send("a line").await.unwrap();
/// assert_eq!(deadline::read_timeout(lines.recv()).await?, Some("a line"));
/// drop(send);
/// assert_eq!(deadline::read_timeout(lines.recv()).await?, None, "the end of the stream, not a timeout");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Returns a `ReadTimeout`, or a `TotalTimeout` if the deadline passed first.
///
/// # Cancel safety
/// Dropping the future drops the work.
pub fn read_timeout<F: Future>(work: F) -> impl Future<Output = Result<F::Output, Rejection>> {
    Bounded::new(Phase::Read, async move { Ok(work.await) })
}

/// An outcome that can hold a timeout error: a `Result` whose error can be made from a [`Rejection`].
///
/// An `Option` cannot, because its `None` has another meaning.
///
/// ```compile_fail
/// # async fn f() {
/// // A timeout would look like the end of the stream.
/// let (_send, mut lines) = tokio::sync::mpsc::channel::<u32>(1);
/// resilient_runtime::deadline::read(lines.recv()).await;
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold a timeout error",
    label = "this future returns `{Self}`, which cannot hold a timeout error",
    note = "`read` and `connect` need a future that returns a `Result<_, E>` with `E: From<resilient_runtime::Rejection>`",
    note = "for every other future use `deadline::read_timeout(..)` or `deadline::connect_timeout(..)`, which return \
            `Result<{Self}, Rejection>`, as in `deadline::read_timeout(stream.next()).await?`"
)]
pub trait ReportsTimeout: Reject {}

impl<T, E: FromRejection> ReportsTimeout for Result<T, E> {}

pin_project! {
    /// The future of [`connect`] and [`read`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::deadline::{self, Bounded};
    ///
    /// use resilient_runtime::Rejection;
    ///
    /// let reading: Bounded<_> = deadline::read(async { Ok::<_, Rejection>("ready at once") });
    /// assert_eq!(reading.await, Ok("ready at once"));
    /// # }
    /// ```
    #[derive(Debug)]
    #[must_use = "a future does nothing unless it is awaited"]
    pub struct Bounded<F> {
        #[pin]
        work: F,
        #[pin]
        timer: Option<Timer>,
        phase: Phase,
        state: State,
    }
}

#[derive(Debug)]
enum State {
    New,
    /// The timer is armed, or there is no limit.
    Limited(Limit),
    /// The deadline has passed. An enclosing call with the same deadline is polled before this one is polled again.
    Yielded(Limit),
}

impl<F> Bounded<F> {
    fn new(phase: Phase, work: F) -> Self {
        Self { work, timer: None, phase, state: State::New }
    }
}

impl<F: Future<Output: Reject>> Future for Bounded<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if matches!(this.state, State::New)
            && let Some(rejection) = refusal(*this.phase)
        {
            return Poll::Ready(Reject::from_rejection(rejection));
        }
        // The work comes first: if it is ready in the same poll as the timer, it is in time (T65).
        if let Poll::Ready(output) = this.work.poll(cx) {
            return Poll::Ready(output);
        }
        poll_limit(this.timer, *this.phase, this.state, cx).map(Reject::from_rejection)
    }
}

/// The rejection if no time is left.
fn refusal(phase: Phase) -> Option<Rejection> {
    let over = Deadline::current().is_some_and(|deadline| deadline.is_over());
    over.then(|| Limit::of(phase).reached())
}

/// Not part of the generic future, so that it is compiled once.
fn poll_limit(
    mut timer: Pin<&mut Option<Timer>>,
    phase: Phase,
    state: &mut State,
    cx: &mut Context<'_>,
) -> Poll<Rejection> {
    if matches!(state, State::New) {
        let limit = Limit::of(phase);
        if limit.at != Instant::NEVER && limit.clock.arm(timer.as_mut(), limit.at).is_err() {
            return Poll::Ready(limit.no_timer());
        }
        *state = State::Limited(limit);
    }
    if let Some(armed) = timer.as_mut().as_pin_mut() {
        ready!(armed.poll(cx));
    } else if matches!(state, State::Limited(_)) {
        return Poll::Pending;
    }
    match std::mem::replace(state, State::New) {
        State::Limited(limit) if limit.kind == RejectionKind::TotalTimeout => {
            *state = State::Yielded(limit);
            timer.set(None);
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        State::Limited(limit) | State::Yielded(limit) => Poll::Ready(limit.reached()),
        State::New => Poll::Pending,
    }
}

/// The limit of a phase, and the timeout it belongs to.
#[derive(Debug)]
struct Limit {
    at: Instant,
    kind: RejectionKind,
    started: Instant,
    clock: Clock,
    timeout: Option<Arc<Phases>>,
}

impl Limit {
    /// The limit of a phase that starts now.
    fn of(phase: Phase) -> Self {
        let scope = Scope::current();
        let timeout = Phases::find(scope.timeout());
        let clock = match (&timeout, scope.deadline()) {
            (Some(timeout), _) => timeout.clock().clone(),
            (None, Some((_, clock))) => clock,
            (None, None) => Clock::system(),
        };
        let span = timeout.as_ref().map_or(phase.usual(), |timeout| timeout.limit(phase));
        let started = clock.now();
        let (own, deadline) = (started.after(span), scope.deadline_on(&clock));
        let (at, kind) =
            if own < deadline { (own, phase.kind()) } else { (deadline, RejectionKind::TotalTimeout) };
        Self { at, kind, started, clock, timeout }
    }

    #[cold]
    fn reached(&self) -> Rejection {
        let elapsed: Duration = self.clock.now().since(self.started);
        match &self.timeout {
            Some(timeout) => timeout.fired(self.kind, elapsed),
            None => Rejection::timed_out(self.kind, NAMELESS, elapsed),
        }
    }

    #[cold]
    fn no_timer(&self) -> Rejection {
        match &self.timeout {
            Some(timeout) => timeout.no_timer(),
            None => Rejection::new(RejectionKind::NoTimer, NAMELESS),
        }
    }
}
