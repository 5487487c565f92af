//! The options of a single call.

use std::hash::Hash;

use super::stages::retry::Repeats;
use super::{Call, Pipeline};
use crate::priority::Priority;
use crate::rate_limit::Request;

/// The options of one call, as a value.
///
/// [`Request`](super::Request) has a method for each option, and [`options`](super::Request::options) for all at once.
/// A [`Priority`] can be passed instead.
///
/// ```
/// use resilient_runtime::{Component, Priority, Registry, pipeline::Options};
///
/// let registry = Registry::new();
/// let pipeline = registry.pipeline("search").load_shed("index").build();
/// let options = |is_paid: bool| Options::default().priority(if is_paid { Priority::High } else { Priority::Low });
/// pipeline.request().options(options(true)).call(|| Some(1));
/// assert_eq!(registry.load_shedder("index").stats().classes.high.admitted, 1);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Options {
    priority: Priority,
    request: Request,
    repeats: Repeats,
}

impl Default for Options {
    fn default() -> Self {
        Self { priority: Priority::Normal, request: Request::ONE, repeats: Repeats::AsPipeline }
    }
}

impl From<Priority> for Options {
    fn from(priority: Priority) -> Self {
        Self::default().priority(priority)
    }
}

impl Options {
    /// Sets the priority of the call.
    ///
    /// ```
    /// use resilient_runtime::{Component, Priority, Registry, pipeline::Options};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("pay").load_shed("api").build();
    /// pipeline.request().options(Options::default().priority(Priority::Critical)).call(|| Some(995));
    /// assert_eq!(registry.load_shedder("api").stats().classes.critical.admitted, 1);
    /// ```
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// Sets how many calls this one counts for in the rate limit. Default: 1.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, pipeline::Options, rate_limit::{Config, Rate}};
    ///
    /// let registry = Registry::new();
    /// registry.rate_limiter("rows").reconfigure(Config::default().rate("500/h".parse::<Rate>().unwrap())).unwrap();
    /// let pipeline = registry.pipeline("export").rate_limit("rows").build();
    /// let export = |rows| pipeline.request().options(Options::default().weight(rows)).call(|| Some(rows));
    /// assert_eq!((export(400), export(400)), (Some(400), None));
    /// ```
    pub fn weight(self, weight: u32) -> Self {
        Self { request: self.request.with_weight(weight), ..self }
    }

    /// Sets whether running this call twice has the same effect as running it once.
    ///
    /// By default, the setting of the pipeline applies. A call that is not idempotent is never hedged, and is retried
    /// only after a failure that cannot have had an effect.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use resilient_runtime::{Registry, Verdict, pipeline::Options, retry};
    /// # use std::time::Duration;
    /// # use resilient_runtime::Component;
    ///
    /// let registry = Registry::new();
    /// # registry.retry("r").reconfigure(retry::Config::default().base(Duration::ZERO)).unwrap();
    /// let pipeline = registry.pipeline("post").retry("r").build();
    /// let attempts = |options: Options| {
    ///     let mut attempts = 0;
    ///     let broken = || {
    ///         attempts += 1;
    ///         Err::<(), _>(Error::from(ErrorKind::ConnectionReset)) // it may have been executed
    ///     };
    ///     assert!(pipeline.request().options(options).judge(Verdict::by_class).call(broken).is_err());
    ///     attempts
    /// };
    /// assert_eq!(attempts(Options::default()), 1);
    /// assert_eq!(attempts(Options::default().idempotent(true)), 4);
    /// ```
    pub fn idempotent(self, is: bool) -> Self {
        Self { repeats: if is { Repeats::Safe } else { Repeats::Unsafe }, ..self }
    }

    /// Sets the rate limit key and keeps the weight.
    #[inline]
    pub(super) fn rate_key<K: Hash + ?Sized>(self, pipeline: &Pipeline, key: &K) -> Self {
        let request =
            pipeline.stages.rate_limit.as_ref().map_or(Request::ONE, |limiter| limiter.request(key));
        Self { request: Request::of(request.key(), self.request.weight()), ..self }
    }

    #[inline]
    pub(super) fn give_to(self, call: &mut Call<'_>) {
        call.priority = self.priority;
        call.rate_key = self.request.key();
        call.weight = self.request.weight();
        call.repeats = self.repeats;
    }
}
