//! What a caller is told of the answers it got: that they were not the real ones, and why.
//!
//! A server opens a [`Degradation::scope`] around a request; whichever level answers whichever call in it, however
//! deep, leaves a note there. The scope is a thread-local that is set while its future is polled, so it is right on
//! any runtime; it does not follow `tokio::spawn`, and [`carry`](crate::carry) takes it along. Nobody who opened none pays
//! for it.

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

/// Reasons that a scope keeps; further ones are counted.
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

/// Bytes of a reason's text that are looked at; fewer are kept.
const MAX_TEXT: usize = 4096;

/// How far the answers in a scope are from the real ones. See [`Degradation::scope`].
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
    /// The worst level that answered.
    pub level: Level,
    /// The age of the oldest answer, where one came from the local cache; in seconds when serialised.
    #[serde(serialize_with = "optional_seconds")]
    pub age: Option<Duration>,
    /// One for each call that a level answered, the first [`MAX_REASONS`].
    pub reasons: Vec<Reason>,
    /// Calls that a level answered besides.
    pub omitted: u64,
}

/// A call that a level answered.
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
    /// The operation.
    pub operation: &'static str,
    /// The level that answered it.
    pub level: Level,
    /// How old the answer was, where it came from the local cache; in seconds when serialised.
    #[serde(serialize_with = "optional_seconds")]
    pub age: Option<Duration>,
    /// What refused the call, or cut it off.
    pub rejection: Option<RejectionKind>,
    /// Its error, in words, cut where it is long.
    pub text: Arc<str>,
}

/// Why a level is asked, in words.
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

    /// As a registry lets it be told.
    pub(crate) fn as_told(&self, texts: &Texts) -> Self {
        let text =
            texts.capture(|words| words.display(&self.text), |text| text.unwrap_or("it failed").into());
        Self { rejection: self.rejection, text }
    }

    /// The text.
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
    /// Runs `work`, and tells with its output whether any call in it was answered by a fallback level.
    ///
    /// # Cancel safety
    /// As of `work`. What was noted until it is dropped is known in the scopes around it.
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

    /// The same for synchronous work.
    ///
    /// ```
    /// use resilient_runtime::Degradation;
    ///
    /// let (answer, degradation) = Degradation::collect(|| 7);
    /// assert_eq!((answer, degradation), (7, None), "no fallback was asked");
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

/// What is known so far in the innermost [`Degradation::scope`] around this code; `None` where no call in it was
/// answered by a fallback level, and where there is none.
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
    /// What levels have answered since this was last looked at; see [`CollectReasons`].
    static SEEN: Cell<Option<Seen>> = const { Cell::new(None) };
}

fn current() -> Option<Arc<Collector>> {
    context::degradation()?.downcast().ok()
}

fn enter(collector: &Arc<Collector>) -> Entered<Before> {
    context::enter_degradation(Arc::<Collector>::clone(collector))
}

/// Whether somebody would like to know.
pub(crate) fn is_watched() -> bool {
    context::notes_degradation()
}

/// That levels have answered: the worst one, and the age of the oldest answer.
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

/// What levels have answered in work that was done elsewhere is known here.
pub(crate) fn saw(seen: Option<Seen>) {
    if let Some(seen) = seen {
        SEEN.set(Some(seen.and(SEEN.get())));
    }
}

/// Likewise where the work was another call's, whose answer `operation` shares: the scopes here are told, too.
#[cold]
pub(crate) fn shared(operation: &'static str, seen: Seen) {
    const WHY: &str = "the answer is that of an equal call, which was degraded";
    note(operation, seen.level, seen.age, Some(&Why::new(None, WHY)));
}

/// Does work on another thread, with what levels have answered in it; that is to be told to [`saw`] on this one.
pub(crate) fn collect_seen<R>(work: impl FnOnce() -> R) -> (R, Option<Seen>) {
    let watch = ReasonCollector::begin();
    let output = work();
    (output, watch.end())
}

/// A level has answered.
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
        // Made at the first poll, inside of the scope of whoever polls.
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

/// Whether the work that runs now gets degraded answers itself: then what it makes of them is not kept. A flag that is
/// taken down before and looked at behind it, so that it costs next to nothing.
///
/// ```
/// use resilient_runtime::{Level, Registry, fallback::{Chain, ReasonCollector}};
///
/// let rates = Registry::new().fallback("rates");
/// let watch = ReasonCollector::begin();
/// rates.call(|| None, || Chain::of(Level::Default, |_| Some(1.0)));
/// assert!(watch.end().is_some(), "a level has answered");
/// ```
#[derive(Debug)]
pub struct ReasonCollector(Option<Seen>);

impl ReasonCollector {
    /// Before the work.
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

    /// Behind it: what levels have answered in it.
    ///
    /// ```
    /// use resilient_runtime::{Level, Registry, fallback::{Chain, ReasonCollector}};
    ///
    /// let (rates, outer) = (Registry::new().fallback("rates"), ReasonCollector::begin());
    /// rates.call(|| None, || Chain::of(Level::Default, |_| Some(1.0)));
    /// assert_eq!(ReasonCollector::begin().end(), None, "not within the inner one");
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
    /// Asynchronous work, with the answer of [`ReasonCollector`].
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
    /// Watches `work`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::fallback::CollectReasons;
    ///
    /// assert_eq!(CollectReasons::new(async { "the real answer" }).await, ("the real answer", None));
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
