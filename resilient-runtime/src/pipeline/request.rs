//! A single call with its options.

use std::any::Any;
use std::fmt;
use std::fmt::Display;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use super::honour::Demand;
use super::judges::{By, ByType, Described, Levels, OutcomeDescribed, Surface};
use super::keyed::{CoalesceKey, IdempotencyKey, KeySet, Keys, NoKeys};
use super::open::Opened;
use super::{Options, Pipeline};
use crate::classify::Judgement;
use crate::error_text::Words;
use crate::idempotency::{Codec, Fingerprint, Replay};
use crate::outcome::Outcome;
use crate::priority::Priority;

/// A call of a [`Pipeline`] with options, made by [`Pipeline::request`].
///
/// All options can be combined.
///
/// | stage of the pipeline | what the request needs |
/// |---|---|
/// | fallback | [`fallback`](Self::fallback) |
/// | coalesce | [`coalesce_key`](Self::coalesce_key) |
/// | idempotency | [`key`](Self::key) |
/// | hedge | [`call_async`](Self::call_async) |
/// | bulkhead with threads | [`call_in_threads`](Self::call_in_threads) or [`call_in_threads_async`](Self::call_in_threads_async) |
///
/// A call that would skip a stage is rejected with [`RejectionKind::Unsupported`](crate::RejectionKind::Unsupported),
/// which names the option to add. A missing idempotency key is rejected with
/// [`RejectionKind::InvalidKey`](crate::RejectionKind::InvalidKey). A key for a stage that the pipeline does not have
/// is rejected too, because it would be ignored. Other options have no effect if their stage is missing.
///
/// ```
/// use resilient_runtime::{Registry, Verdict, fallback::{Chain, Level}};
///
/// let pipeline = Registry::new().pipeline("price").coalesce("prices").fallback("prices").build();
/// let price = pipeline
///     .request()
///     .coalesce_key("EUR")
///     .judge(Verdict::of)
///     .fallback(|| Chain::of(Level::Default, |_| Some(1.0)))
///     .call(|| None);
/// assert_eq!(price, Some(1.0));
/// ```
#[must_use = "a request does nothing until it is called"]
pub struct Request<'p, R, J = ByType, A = Surface, K = NoKeys> {
    pub(super) pipeline: &'p Pipeline,
    pub(super) options: Options,
    pub(super) keys: K,
    pub(super) judge: J,
    pub(super) answer: A,
    of: PhantomData<fn() -> R>,
}

impl<R, J, A, K> fmt::Debug for Request<'_, R, J, A, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pipeline, options) = (self.pipeline.name(), &self.options);
        f.debug_struct("Request")
            .field("pipeline", &pipeline)
            .field("options", options)
            .finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Makes a call with options, such as a key, a [`Priority`] or a fallback.
    ///
    /// ```
    /// use resilient_runtime::{Class, Component, Priority, Registry, Verdict};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("user").circuit_breaker("users").build();
    /// let no_such_user = |_: &Option<u32>| Verdict::Failure(Class::Ignored);
    /// pipeline.request().priority(Priority::High).judge(no_such_user).call(|| None);
    /// assert_eq!(pipeline.stats().ignored, 1);
    /// assert_eq!(registry.circuit_breaker("users").stats().failed, 0);
    /// ```
    #[inline]
    pub fn request<R>(&self) -> Request<'_, R> {
        Request::new(self, Surface)
    }

    /// Makes a call that stays open after its outcome was returned.
    ///
    /// It ends when the [`OpenCall`](super::OpenCall) returned with the outcome has ended or is dropped. Use it for
    /// responses whose body is read later.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::sync::Arc;
    /// use resilient_runtime::{Registry, Rejection, Verdict};
    ///
    /// let pipeline = Arc::new(Registry::new().pipeline("download").retry("mirror").build());
    /// let send = async || Ok::<_, Rejection>("200 OK");
    /// let (head, call) = pipeline.open_request().judge(Verdict::by_class).call_open_async(send).await;
    /// assert_eq!((head, pipeline.stats().in_flight), (Ok("200 OK"), 1));
    /// drop(call);
    /// assert_eq!((pipeline.stats().in_flight, pipeline.stats().succeeded), (0, 1), "the body was not needed");
    /// # }
    /// ```
    pub fn open_request<R>(self: &Arc<Self>) -> Request<'_, R, ByType, Opened<'_>> {
        Request::new(self, Opened(self))
    }
}

impl<'p, R, A> Request<'p, R, ByType, A> {
    #[inline]
    fn new(pipeline: &'p Pipeline, answer: A) -> Self {
        let options = Options::default();
        Self { pipeline, options, keys: NoKeys, judge: ByType, answer, of: PhantomData }
    }
}

impl<'p, R, A, K> Request<'p, R, ByType, A, K> {
    /// Judges the outcome with a function.
    ///
    /// Examples are [`Verdict::by_class`](crate::Verdict::by_class) and [`judge!`](crate::judge). The function also
    /// judges the outcome made from a rejection or timeout: it can classify it as `Permanent` or `Ignored`, and decide
    /// whether to retry. `judge!()` needs the type of the outcome, as in `request::<Result<u32, PayError>>()`.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, Verdict};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("read").retry("disk").build();
    /// let read = || std::fs::read("/no/such/file");
    /// assert!(pipeline.request().judge(Verdict::by_class).call(read).is_err());
    /// assert_eq!(registry.retry("disk").stats().not_retryable, 1, "a retry would not find it either");
    /// ```
    #[inline]
    pub fn judge<O: Into<Judgement>, F: Fn(&R) -> O>(self, judge: F) -> Request<'p, R, By<F>, A, K> {
        let Self { pipeline, options, keys, answer, of, .. } = self;
        Request { pipeline, options, keys, judge: By(judge), answer, of }
    }
}

impl<'p, R, J, K> Request<'p, R, J, Surface, K> {
    /// Runs the levels of a fallback chain if the call fails.
    ///
    /// `chain` is called only after a failure. It returns a [`Chain`](crate::fallback::Chain) or, for an asynchronous
    /// call, an [`AsyncChain`](crate::fallback::AsyncChain).
    ///
    /// ```
    /// use resilient_runtime::{Registry, fallback::{Chain, Level}};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("rate").circuit_breaker("bank").fallback("rate").build();
    /// registry.circuit_breaker("bank").force_open();
    /// let chain = || Chain::of(Level::Default, |why| why.rejection().map(|_| 1.0));
    /// assert_eq!(pipeline.request().fallback(chain).call(|| Some(1.1)), Some(1.0));
    /// assert_eq!(pipeline.stats().fell_back, 1);
    /// ```
    #[inline]
    pub fn fallback<X, C: FnOnce() -> X>(self, chain: C) -> Request<'p, R, J, Levels<C>, K> {
        let Self { pipeline, options, keys, judge, of, .. } = self;
        Request { pipeline, options, keys, judge, answer: Levels(chain), of }
    }
}

impl<'p, R, J, A, K> Request<'p, R, J, A, K> {
    /// Sets the priority of the call for the load shedder and the bulkhead queue.
    ///
    /// ```
    /// use resilient_runtime::{Component, Priority, Registry};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("pay").load_shed("api").build();
    /// pipeline.request().priority(Priority::Critical).call(|| Some(995));
    /// assert_eq!(registry.load_shedder("api").stats().classes.critical.admitted, 1);
    /// ```
    #[inline]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options = self.options.priority(priority);
        self
    }

    /// Sets how many calls this one counts for in the rate limit. Default: 1.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    ///
    /// let registry = Registry::new();
    /// registry.rate_limiter("rows").reconfigure(Config::default().rate("500/h".parse::<Rate>().unwrap())).unwrap();
    /// let pipeline = registry.pipeline("export").rate_limit("rows").build();
    /// let export = |rows| pipeline.request().weight(rows).call(|| Some(rows));
    /// assert_eq!((export(400), export(400)), (Some(400), None));
    /// ```
    #[inline]
    pub fn weight(mut self, weight: u32) -> Self {
        self.options = self.options.weight(weight);
        self
    }

    /// Uses a separate rate limit for this key.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    ///
    /// let registry = Registry::new();
    /// let upload = registry.rate_limiter("upload");
    /// upload.reconfigure(Config::default().rate("9/h".parse::<Rate>().unwrap())).unwrap();
    /// let pipeline = registry.pipeline("upload").rate_limit(&upload).build();
    /// pipeline.request().rate_key("ada").weight(5).call(|| Some(()));
    /// assert_eq!(upload.check_key_weighted("ada", 0).remaining, 4);
    /// assert_eq!(upload.check_key_weighted("bob", 0).remaining, 9);
    /// ```
    #[inline]
    pub fn rate_key<Q: Hash + ?Sized>(mut self, key: &Q) -> Self {
        self.options = self.options.rate_key(self.pipeline, key);
        self
    }

    /// Sets whether running this call twice has the same effect as running it once.
    ///
    /// By default, the setting of the pipeline applies. A call that is not idempotent is never hedged, and is retried
    /// only after a failure that cannot have had an effect.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use resilient_runtime::{Registry, Verdict, retry};
    /// # use std::time::Duration;
    /// # use resilient_runtime::Component;
    ///
    /// let registry = Registry::new();
    /// # registry.retry("r").reconfigure(retry::Config::default().base(Duration::ZERO)).unwrap();
    /// let pipeline = registry.pipeline("post").retry("r").build();
    /// let mut attempts = 0;
    /// let broken = || {
    ///     attempts += 1;
    ///     Err::<(), _>(Error::from(ErrorKind::ConnectionReset)) // it may have been executed
    /// };
    /// assert!(pipeline.request().idempotent(true).judge(Verdict::by_class).call(broken).is_err());
    /// assert_eq!(attempts, 4);
    /// ```
    #[inline]
    pub fn idempotent(mut self, is: bool) -> Self {
        self.options = self.options.idempotent(is);
        self
    }

    /// Sets all [`Options`] at once. A [`Priority`] can be passed instead.
    ///
    /// ```
    /// use resilient_runtime::{Priority, Registry, pipeline::Options};
    ///
    /// let pipeline = Registry::new().pipeline("pay").load_shed("api").build();
    /// let options = Options::default().priority(Priority::Low);
    /// assert_eq!(pipeline.request().options(options).call(|| Some(995)), Some(995));
    /// ```
    #[inline]
    pub fn options(mut self, options: impl Into<Options>) -> Self {
        self.options = options.into();
        self
    }

    /// Executes the call once for this idempotency key.
    ///
    /// If a call with this key was executed before, its stored result is returned. A failure whose effect is unknown
    /// leaves the key claimed. To classify your own errors, use a [`judge`](Self::judge).
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection, idempotency::Fingerprint};
    ///
    /// let pipeline = Registry::new().pipeline("charge").idempotency("charge").retry("gateway").build();
    /// let charge = |key: &str, cents: u32| -> Result<u32, Rejection> {
    ///     pipeline.request().key(&key).fingerprint(Fingerprint::of(&cents)).call(|| Ok(cents))
    /// };
    /// assert_eq!(charge("order 7", 995), Ok(995));
    /// assert_eq!(charge("order 7", 995), Ok(995));
    /// assert!(resilient_runtime::replayed());
    /// assert!(charge("order 7", 1).is_err(), "different payload");
    /// ```
    pub fn key(self, key: &dyn Display) -> Request<'p, R, J, A, Keys<R>>
    where
        R: Replay,
        K: KeySet<R>,
    {
        self.key_with(key, Codec::answers())
    }

    /// Like [`key`](Self::key), with a [`Codec`] that decides what is stored.
    ///
    /// A codec can also store errors, or the values of a function that cannot fail.
    ///
    /// ```
    /// use resilient_runtime::{Registry, idempotency::Codec};
    ///
    /// let pipeline = Registry::new().pipeline("refund").idempotency("refund").bulkhead("bank").build();
    /// let refund = |cents: u32| pipeline.request().key_with(&"order 7", Codec::answers()).call(|| Some(cents));
    /// assert_eq!((refund(995), refund(1)), (Some(995), Some(995)));
    /// ```
    pub fn key_with(self, key: &dyn Display, codec: Codec<R>) -> Request<'p, R, J, A, Keys<R>>
    where
        K: KeySet<R>,
    {
        let mut request = self.keyed(Demand::Idempotency);
        request.keys.idempotency = IdempotencyKey::of(request.pipeline, key, codec);
        request
    }

    /// Waits for the result of a call in progress with this key, instead of making another call.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::Registry;
    ///
    /// let pipeline = Registry::new().pipeline("rate").coalesce("rates").build();
    /// let made = std::cell::Cell::new(0);
    /// let rate = async || {
    ///     made.set(made.get() + 1);
    ///     tokio::task::yield_now().await;
    ///     Some(1.1)
    /// };
    /// let call = || pipeline.request().coalesce_key("EUR").call_async(rate);
    /// tokio::join!(call(), call());
    /// assert_eq!((made.get(), pipeline.stats().succeeded), (1, 2));
    /// # }
    /// ```
    pub fn coalesce_key<Q: Hash + ?Sized>(self, key: &Q) -> Request<'p, R, J, A, Keys<R>>
    where
        R: Outcome + Any + Clone + Send + Sync,
        K: KeySet<R>,
    {
        let mut request = self.keyed(Demand::Coalesce);
        request.keys.coalesce = CoalesceKey::of(request.pipeline, key);
        request
    }

    fn keyed(self, demand: Demand) -> Request<'p, R, J, A, Keys<R>>
    where
        K: KeySet<R>,
    {
        let Self { pipeline, options, keys, judge, answer, of } = self;
        let mut keys = keys.into_keys().unwrap_or_default();
        keys.given = keys.given.with(demand, true);
        Request { pipeline, options, keys, judge, answer, of }
    }

    /// Sets the error text for statistics, events and rejections.
    ///
    /// Without this function they contain only the type name of the error, because it need not implement
    /// `Display`.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, circuit_breaker::Config};
    ///
    /// let registry = Registry::new();
    /// registry.circuit_breaker("disk").reconfigure(Config::default().failure_threshold(1)).unwrap();
    /// let pipeline = registry.pipeline("load").circuit_breaker("disk").build();
    /// let load = || Err::<u32, _>(std::io::Error::other("the disk is gone"));
    /// let call = || pipeline.request().describe(|error: &std::io::Error, words| words.error(error)).call(load).unwrap_err();
    /// call();
    /// assert!(call().to_string().contains("1 failure in a row, last error: the disk is gone"));
    /// ```
    #[inline]
    pub fn describe<D: Fn(&R::Error, &mut Words)>(self, describe: D) -> Request<'p, R, Described<J, D>, A, K>
    where
        R: Outcome,
    {
        let Self { pipeline, options, keys, judge, answer, of } = self;
        Request { pipeline, options, keys, judge: Described { judge, describe }, answer, of }
    }

    /// Sets the error text of a failed outcome, which need not be an `Err`.
    ///
    /// Use it for the result of a client that nests its own error.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Class, Registry, Rejection, Verdict};
    ///
    /// type Answer = Result<Result<u32, &'static str>, Rejection>;
    /// let pipeline = Registry::new().pipeline("load").build();
    /// let judge = |answer: &Answer| match answer {
    ///     Ok(Ok(_)) => Verdict::Success,
    ///     Ok(Err(_)) | Err(_) => Verdict::Failure(Class::UNKNOWN),
    /// };
    /// let request = pipeline.request::<Answer>().judge(judge).describe_outcome(|answer, words| {
    ///     if let Ok(Err(error)) = answer { words.display(error) }
    /// });
    /// request.call_async(async || Ok(Err("the disk is gone"))).await.unwrap().unwrap_err();
    /// assert_eq!(pipeline.stats().last_error.unwrap().text, "the disk is gone");
    /// # }
    /// ```
    #[inline]
    pub fn describe_outcome<D: Fn(&R, &mut Words)>(
        self,
        describe: D,
    ) -> Request<'p, R, OutcomeDescribed<J, D>, A, K> {
        let Self { pipeline, options, keys, judge, answer, of } = self;
        Request { pipeline, options, keys, judge: OutcomeDescribed { judge, describe }, answer, of }
    }
}

impl<R, J, A> Request<'_, R, J, A, Keys<R>> {
    /// Sets the fingerprint of the payload, so that a key reused with a different payload is rejected.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection, RejectionKind, idempotency::Fingerprint};
    ///
    /// let pipeline = Registry::new().pipeline("charge").idempotency("charge").build();
    /// let charge = |cents: u32| -> Result<u32, Rejection> {
    ///     pipeline.request().key(&"order 7").fingerprint(Fingerprint::of(&cents)).call(|| Ok(cents))
    /// };
    /// assert_eq!(charge(995), Ok(995));
    /// assert_eq!(charge(1).unwrap_err().kind(), RejectionKind::KeyReused);
    /// ```
    pub fn fingerprint(mut self, fingerprint: Fingerprint) -> Self {
        self.keys.fingerprint = fingerprint;
        self
    }
}
