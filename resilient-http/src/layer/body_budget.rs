//! Memory and time limits for request bodies that are read completely.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::StatusCode;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::Sleep;

use crate::Problem;

/// The default memory limit for all bodies.
const DEFAULT_BYTES: usize = 64 << 20;
/// The first allocation for a body, unless its maximum size is smaller.
const FIRST_CAPACITY: usize = 4096;
/// Bodies up to this size can use the whole budget; larger ones can use three quarters of it.
const SMALL: usize = 16 << 10;
/// The `Retry-After` of a rejected request.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A memory limit for request bodies.
///
/// It limits the bytes of all request bodies that are in memory at the same time, in all layers that share it or in an
/// [`HttpServer`](crate::HttpServer). A request whose body exceeds the limit gets 503 and `Retry-After` at once.
///
/// Bodies of more than 16 KiB can use three quarters of the budget. The rest is reserved for small bodies, so that large
/// uploads do not block ordinary requests.
///
/// A body counts with the memory that it uses, not with its `Content-Length`, until the handler has read it.
///
/// ```
/// use resilient_http::layer::{BodyBudget, IdempotencyLayer};
///
/// let budget = BodyBudget::new(16 << 20);
/// let registry = resilient_runtime::Registry::new();
/// let orders = IdempotencyLayer::new(registry.idempotency("orders")).body_budget(&budget);
/// let refunds = IdempotencyLayer::new(registry.idempotency("refunds")).body_budget(&budget);
/// assert_eq!((budget.held(), budget.refused()), (0, 0));
/// ```
#[derive(Clone)]
pub struct BodyBudget(Arc<Inner>);

struct Inner {
    most: usize,
    /// `Relaxed` is enough for both counters: no other memory depends on them.
    held: AtomicUsize,
    refused: AtomicU64,
}

impl BodyBudget {
    /// Creates a budget of this many bytes.
    ///
    /// ```
    /// use resilient_http::layer::BodyBudget;
    ///
    /// assert_eq!(BodyBudget::new(1 << 20).held(), 0);
    /// ```
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Inner { most: bytes, held: AtomicUsize::new(0), refused: AtomicU64::new(0) }))
    }

    /// Returns the budget of the process, of 64 MiB.
    ///
    /// All layers share it by default.
    ///
    /// ```
    /// use resilient_http::layer::BodyBudget;
    ///
    /// assert_eq!(BodyBudget::of_process().refused(), 0);
    /// ```
    pub fn of_process() -> Self {
        static ALL: OnceLock<BodyBudget> = OnceLock::new();
        ALL.get_or_init(|| Self::new(DEFAULT_BYTES)).clone()
    }

    /// Returns the number of bytes in use.
    ///
    /// ```
    /// # use resilient_http::layer::BodyBudget;
    /// assert_eq!(BodyBudget::new(1).held(), 0);
    /// ```
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Returns how many requests were rejected for lack of budget.
    ///
    /// ```
    /// # use resilient_http::layer::BodyBudget;
    /// assert_eq!(BodyBudget::new(1).refused(), 0);
    /// ```
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Takes `bytes` for a body that then uses `total` bytes.
    fn take(&self, bytes: usize, total: usize) -> bool {
        let most = if total <= SMALL { self.0.most } else { self.0.most - self.0.most / 4 };
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= most);
        self.0.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Returns a reservation of zero bytes.
    pub(crate) fn room(&self) -> Room {
        Room { budget: self.clone(), bytes: AtomicUsize::new(0) }
    }

    /// Reads a body of at most `most` bytes, in at most `span`.
    pub(super) async fn read(
        &self,
        mut body: Body,
        most: usize,
        span: Duration,
    ) -> Result<(Bytes, Room), Problem> {
        if body.size_hint().lower() > most as u64 {
            return Err(too_large(most));
        }
        let (mut bytes, room) = (Vec::new(), self.room());
        let mut timer = None;
        loop {
            let frame = match within(body.frame(), &mut timer, span).await {
                None => return Err(too_slow(span)),
                Some(None) => return Ok((bytes.into(), room)),
                Some(Some(Err(error))) => {
                    let what = format!("cannot read the request body: {error}");
                    return Err(Problem::new(StatusCode::BAD_REQUEST, what));
                }
                Some(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > most {
                return Err(too_large(most));
            }
            if length > bytes.capacity() {
                let capacity = length.max(bytes.capacity() * 2).max(FIRST_CAPACITY).min(most);
                if !room.grow(capacity) {
                    return Err(no_room());
                }
                bytes.reserve_exact(capacity - bytes.len());
            }
            bytes.extend_from_slice(&data);
        }
    }
}

/// The response to a request whose body exceeds the budget.
pub(crate) fn no_room() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the memory limit for request bodies is reached")
        .after(RETRY_AFTER)
        .unexecuted()
}

fn too_large(most: usize) -> Problem {
    let what = format!("the body of a request with an `Idempotency-Key` must not exceed {most} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, what)
}

fn too_slow(span: Duration) -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the request body did not arrive within {span:?}"))
}

/// Returns the output of a future, or `None` if the time limit passes first. The time begins with the first wait.
async fn within<F: Future + Unpin>(
    mut work: F,
    timer: &mut Option<Pin<Box<Sleep>>>,
    span: Duration,
) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        if let std::task::Poll::Ready(output) = Pin::new(&mut work).poll(cx) {
            return std::task::Poll::Ready(Some(output));
        }
        if timer.is_none() {
            // `sleep` panics in a runtime without timers. There the body has no time limit.
            *timer = catch_unwind(AssertUnwindSafe(|| Box::pin(tokio::time::sleep(span)))).ok();
        }
        match timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| None),
            None => std::task::Poll::Pending,
        }
    })
    .await
}

impl fmt::Debug for BodyBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { most, held, refused } = &*self.0;
        f.debug_struct("BodyBudget")
            .field("most", most)
            .field("held", held)
            .field("refused", refused)
            .finish()
    }
}

/// The reservation of one body.
#[derive(Debug)]
pub(crate) struct Room {
    budget: BodyBudget,
    /// Only one thread at a time changes it.
    bytes: AtomicUsize,
}

impl Room {
    /// Grows the reservation to `bytes`. Returns whether the budget allowed it.
    pub(crate) fn grow(&self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes.load(Ordering::Relaxed));
        let has_room = self.budget.take(more, bytes);
        if has_room {
            self.bytes.fetch_add(more, Ordering::Relaxed);
        } else {
            self.budget.0.refused.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.0.held.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}
