//! Reports which results of a request came from fallback levels, and why.
//!
//! A server opens a [`Degradation::scope`] around a request. Every call inside it that a fallback level serves adds a
//! [`Reason`] to the scope, at any depth. The scope is a thread-local variable that is set while its future is polled,
//! so it works on any runtime. It does not follow `tokio::spawn`; use [`carry`](crate::carry) to pass it to another
//! task. Without a scope no reasons are created.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use serde::Serialize;

use super::Level;
use crate::context::{self, Before, Entered};
use crate::error_text::Texts;
use crate::rejection::RejectionKind;
use crate::seconds::optional_seconds;
use crate::sync::Mutex;

/// Maximum number of reasons that a scope stores. Further reasons are only counted.
///
/// ```
/// use resilient_runtime::{Degradation, Registry, fallback::{Chain, Level, MAX_REASONS}};
///
/// let rates = Registry::new().fallback("rates");
/// let one = || rates.call(|| None, || Chain::of(Level::Default, |_| Some(1.0)));
/// let (_, seen) = Degradation::collect(|| (0..20).for_each(|_| assert!(one().is_some())));
/// let seen = seen.unwrap();
/// assert_eq!((seen.reasons.len(), seen.omitted), (MAX_REASONS, 20 - MAX_REASONS as u64));
/// ```
pub const MAX_REASONS: usize = 16;

/// Maximum number of bytes that are read from the text of a reason. Fewer are stored.
const MAX_TEXT: usize = 4096;

/// The calls of a scope that fallback levels served. See [`Degradation::scope`].
///
/// ```
/// use resilient_runtime::{Degradation, Registry, fallback::{Chain, Level}};
///
/// let fallback = Registry::new().fallback("avatar");
/// let grey = || fallback.call(|| None, || Chain::of(Level::Default, |_| Some("grey")));
/// let (_, degradation) = Degradation::collect(grey);
/// assert_eq!(degradation.unwrap().level, Level::Default);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Degradation {
    /// The level farthest from the real result that served a call.
    pub level: Level,
    /// The age of the oldest value from the local cache, if any. Serialized in seconds.
    #[serde(serialize_with = "optional_seconds")]
    pub age: Option<Duration>,
    /// One reason for each call that a level served, at most [`MAX_REASONS`].
    pub reasons: Vec<Reason>,
    /// The number of further calls that a level served.
    pub omitted: u64,
}

/// A call that a fallback level served, and the reason.
///
/// ```
/// use resilient_runtime::{Degradation, Registry, fallback::{Chain, Level}};
///
/// let pipeline = Registry::new().pipeline("price").fallback("price").build();
/// let list_price = || pipeline.request().fallback(|| Chain::of(Level::Backup, |_| Some(9))).call(|| None);
/// let reason = Degradation::collect(list_price).1.unwrap().reasons.remove(0);
/// assert_eq!((reason.operation, reason.level, reason.rejection), ("price", Level::Backup, None));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Reason {
    /// The name of the operation.
    pub operation: &'static str,
    /// The level that served the call.
    pub level: Level,
    /// The age of the value, if it came from the local cache. Serialized in seconds.
    #[serde(serialize_with = "optional_seconds")]
    pub age: Option<Duration>,
    /// The kind of rejection, if the call was rejected or timed out.
    pub rejection: Option<RejectionKind>,
    /// The text of the failure, truncated if it is long.
    pub text: Arc<str>,
}

/// The failure of a call as text, passed to the levels that handle it.
///
/// ```
/// use resilient_runtime::fallback::AllFailed;
/// use resilient_runtime::Failure;
///
/// let why = <Option<u32>>::why(&Failure::Failed(()));
/// assert_eq!(&**why.text(), "it returned nothing");
/// ```
#[derive(Clone, Debug)]
pub struct Why {
    rejection: Option<RejectionKind>,
    text: Arc<str>,
}

impl Why {
    #[doc(hidden)]
    pub fn new(rejection: Option<RejectionKind>, text: &str) -> Self {
        let end = (0..=MAX_TEXT.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        Self { rejection, text: text[..end].into() }
    }

    /// Applies the error text rule of a registry.
    pub(crate) fn as_told(&self, texts: &Texts) -> Self {
        let text =
            texts.capture(|words| words.display(&self.text), |text| text.unwrap_or("it failed").into());
        Self { rejection: self.rejection, text }
    }

    /// Returns the text.
    ///
    /// ```
    /// use resilient_runtime::{Failure, fallback::{AllFailed, BoxError}};
    ///
    /// let failure = Failure::<BoxError>::Failed("the bank is closed".into());
    /// assert_eq!(&**<Result<f64, BoxError>>::why(&failure).text(), "the bank is closed");
    /// ```
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }
}

impl Degradation {
    /// Records that the result of the work that is running is degraded, although no fallback level made it. `text` is the
    /// reason.
    ///
    /// It has no effect outside of a [`scope`](Self::scope), and of a function that stores its results in a built-in cache: this
    /// one does not store a degraded result.
    ///
    /// ```
    /// use resilient_runtime::{Degradation, Level};
    ///
    /// let near = || {
    ///     Degradation::note("prices", Level::Replica, None, "two of three members did not answer");
    ///     995
    /// };
    /// let (price, degradation) = Degradation::collect(near);
    /// assert_eq!((price, degradation.unwrap().level), (995, Level::Replica));
    /// ```
    pub fn note(operation: &'static str, level: Level, age: Option<Duration>, text: &str) {
        note(operation, level, age, Some(&Why::new(None, text)));
    }

    /// Runs `work`, and returns its output together with the calls in it that fallback levels served.
    ///
    /// # Cancel safety
    /// Same as `work`. When the future is dropped, the enclosing scopes keep the reasons recorded so far.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Level, Rejection, fallback::Degradation, resilient};
    ///
    /// #[resilient(retry(max = 1, base = "0ms"), fallback(default = Ok(1.0)), name = "rate")]
    /// async fn rate(known: Option<f64>) -> Result<f64, std::io::Error> {
    ///     known.ok_or_else(|| std::io::Error::other("the bank is closed"))
    /// }
    ///
    /// let (rate_now, degraded) = Degradation::scope(rate(None)).await;
    /// let degraded = degraded.unwrap();
    /// assert_eq!((rate_now.unwrap(), degraded.level), (1.0, Level::Default));
    /// assert_eq!((degraded.reasons[0].operation, &*degraded.reasons[0].text), ("rate", "the bank is closed"));
    /// # }
    /// ```
    pub fn scope<F: Future>(work: F) -> DegradationScope<F> {
        DegradationScope { work, collector: None }
    }

    /// Like [`scope`](Self::scope), for synchronous work.
    ///
    /// ```
    /// use resilient_runtime::Degradation;
    ///
    /// let (answer, degradation) = Degradation::collect(|| 7);
    /// assert_eq!((answer, degradation), (7, None), "no fallback level ran");
    /// ```
    pub fn collect<R>(work: impl FnOnce() -> R) -> (R, Option<Self>) {
        let collector = Collector::inside();
        let entered = enter(&collector);
        let output = work();
        drop(entered);
        (output, collector.taken())
    }

    fn add(&mut self, reason: Reason) {
        self.level = self.level.max(reason.level);
        self.age = self.age.max(reason.age);
        if self.reasons.len() < MAX_REASONS {
            self.reasons.push(reason);
        } else {
            self.omitted += 1;
        }
    }
}

/// Returns what the innermost [`Degradation::scope`] has collected so far.
///
/// `None` if no fallback level has served a call in it, or if there is no scope.
///
/// ```
/// assert!(resilient_runtime::degraded().is_none());
/// ```
pub fn degraded() -> Option<Degradation> {
    current()?.found.lock().clone()
}

#[derive(Debug)]
struct Collector {
    around: Option<Arc<Self>>,
    found: Mutex<Option<Degradation>>,
}

impl Collector {
    fn inside() -> Arc<Self> {
        Arc::new(Self { around: current(), found: Mutex::new(None) })
    }

    fn taken(&self) -> Option<Degradation> {
        self.found.lock().take()
    }
}

thread_local! {
    /// A record of the levels that served calls since the last reset. See [`CollectReasons`].
    static SEEN: Cell<Option<Seen>> = const { Cell::new(None) };
}

fn current() -> Option<Arc<Collector>> {
    context::degradation()?.downcast().ok()
}

fn enter(collector: &Arc<Collector>) -> Entered<Before> {
    context::enter_degradation(Arc::<Collector>::clone(collector))
}

/// Whether a scope is open.
pub(crate) fn is_watched() -> bool {
    context::notes_degradation()
}

/// Records that fallback levels served calls.
///
/// It holds the level farthest from the real result, and the age of the oldest value.
///
/// ```
/// use resilient_runtime::{Level, Registry, fallback::{Chain, Seen, ReasonCollector}};
///
/// let (mail, watch) = (Registry::new().fallback("mail"), ReasonCollector::begin());
/// mail.call(|| None, || Chain::of(Level::Backup, |_| Some("queued")));
/// let seen: Seen = watch.end().unwrap();
/// assert!(format!("{seen:?}").contains("Backup"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    level: Level,
    age: Option<Duration>,
}

impl Seen {
    fn and(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        Self { level: self.level.max(other.level), age: self.age.max(other.age) }
    }
}

/// Adds what levels served in work on another thread or task to the record of this thread.
pub(crate) fn saw(seen: Option<Seen>) {
    if let Some(seen) = seen {
        SEEN.set(Some(seen.and(SEEN.get())));
    }
}

/// Like [`saw`], when `operation` shares the result of a coalesced call. Adds a reason to the open scopes, too.
#[cold]
pub(crate) fn shared(operation: &'static str, seen: Seen) {
    const WHY: &str = "the result is shared with a coalesced call, which was degraded";
    note(operation, seen.level, seen.age, Some(&Why::new(None, WHY)));
}

/// Runs work on another thread and returns what levels served in it. Pass that to [`saw`] on the calling thread.
pub(crate) fn collect_seen<R>(work: impl FnOnce() -> R) -> (R, Option<Seen>) {
    let watch = ReasonCollector::begin();
    let output = work();
    (output, watch.end())
}

/// Records that a level served a call.
#[cold]
pub(crate) fn note(operation: &'static str, level: Level, age: Option<Duration>, why: Option<&Why>) {
    saw(Some(Seen { level, age }));
    let Some(innermost) = current() else { return };
    let reason = Reason {
        operation,
        level,
        age,
        rejection: why.and_then(|why| why.rejection),
        text: why.map_or_else(|| "it failed".into(), |why| Arc::clone(&why.text)),
    };
    let mut next = Some(&innermost);
    while let Some(collector) = next {
        let mut found = collector.found.lock();
        found
            .get_or_insert_with(|| Degradation { level, age, reasons: Vec::new(), omitted: 0 })
            .add(reason.clone());
        drop(found);
        next = collector.around.as_ref();
    }
}

pin_project! {
    /// The future of [`Degradation::scope`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::fallback::{Degradation, DegradationScope};
    ///
    /// let work: DegradationScope<_> = Degradation::scope(async { 7 });
    /// assert_eq!(work.await, (7, None));
    /// # }
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct DegradationScope<F> {
        #[pin]
        work: F,
        // Created at the first poll, inside the scope of the polling task.
        collector: Option<Arc<Collector>>,
    }
}

impl<F: Future> Future for DegradationScope<F> {
    type Output = (F::Output, Option<Degradation>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let collector = this.collector.get_or_insert_with(Collector::inside);
        let entered = enter(collector);
        let poll = this.work.poll(cx);
        drop(entered);
        poll.map(|output| (output, collector.taken()))
    }
}

/// Detects whether work receives degraded results.
///
/// A result computed from them is not stored in the local cache. The collector clears a thread-local flag before
/// the work and reads it afterwards, so it costs almost nothing.
///
/// ```
/// use resilient_runtime::{Level, Registry, fallback::{Chain, ReasonCollector}};
///
/// let rates = Registry::new().fallback("rates");
/// let watch = ReasonCollector::begin();
/// rates.call(|| None, || Chain::of(Level::Default, |_| Some(1.0)));
/// assert!(watch.end().is_some(), "a level served the call");
/// ```
#[derive(Debug)]
pub struct ReasonCollector(Option<Seen>);

impl ReasonCollector {
    /// Starts to collect. Call it before the work.
    ///
    /// ```
    /// use resilient_runtime::fallback::ReasonCollector;
    ///
    /// assert_eq!(ReasonCollector::begin().end(), None);
    /// ```
    #[inline]
    pub fn begin() -> Self {
        Self(SEEN.replace(None))
    }

    /// Returns what levels served since [`begin`](Self::begin). Call it after the work.
    ///
    /// ```
    /// use resilient_runtime::{Level, Registry, fallback::{Chain, ReasonCollector}};
    ///
    /// let (rates, outer) = (Registry::new().fallback("rates"), ReasonCollector::begin());
    /// rates.call(|| None, || Chain::of(Level::Default, |_| Some(1.0)));
    /// assert_eq!(ReasonCollector::begin().end(), None, "not inside the inner collector");
    /// assert!(outer.end().is_some());
    /// ```
    #[inline]
    pub fn end(self) -> Option<Seen> {
        let seen = SEEN.get();
        if self.0.is_some() {
            saw(self.0);
        }
        seen
    }
}

pin_project! {
    /// A future that returns the output of its work together with the result of a [`ReasonCollector`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Level, Registry, fallback::{Chain, CollectReasons}};
    ///
    /// let rates = Registry::new().fallback("rates");
    /// let work = async || rates.call(|| None, || Chain::of(Level::Default, |_| Some(1.0)));
    /// let (rate, seen) = CollectReasons::new(work()).await;
    /// assert!(rate == Some(1.0) && seen.is_some());
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct CollectReasons<F> {
        #[pin]
        work: F,
        seen: Option<Seen>,
    }
}

impl<F> CollectReasons<F> {
    /// Wraps `work`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::fallback::CollectReasons;
    ///
    /// assert_eq!(CollectReasons::new(async { "real result" }).await, ("real result", None));
    /// # }
    /// ```
    #[inline]
    pub fn new(work: F) -> Self {
        Self { work, seen: None }
    }
}

impl<F: Future> Future for CollectReasons<F> {
    type Output = (F::Output, Option<Seen>);

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let watch = ReasonCollector::begin();
        let poll = this.work.poll(cx);
        if let Some(seen) = watch.end() {
            *this.seen = Some(seen.and(*this.seen));
        }
        poll.map(|output| (output, *this.seen))
    }
}
