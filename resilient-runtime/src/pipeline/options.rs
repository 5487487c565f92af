//! What one call by hand says about itself.

use std::hash::Hash;

use super::call::Repeats;
use super::{Call, Pipeline};
use crate::priority::Priority;
use crate::rate_limit::Request;

/// What one call says about itself: its priority, and by whose rate limit it goes. A [`Priority`] alone will do.
///
/// ```
/// use resilient_runtime::{Component, Priority, Registry, Rejection, Verdict, rate_limit};
///
/// let registry = Registry::new();
/// let limit = rate_limit::Config::default().rate("1/min".parse::<rate_limit::Rate>().unwrap());
/// registry.rate_limiter("per user").reconfigure(limit).unwrap();
/// let pipeline = registry.pipeline("search").rate_limit("per user").bulkhead("index").build();
///
/// let search = |user: &str| -> Result<u32, Rejection> {
///     let options = pipeline.keyed(user).priority(Priority::High);
///     pipeline.call_judged(options, || Ok(1), Verdict::by_class)
/// };
/// assert!(search("ada").is_ok() && search("bob").is_ok());
/// assert!(search("ada").is_err());
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
    /// How important the call is.
    ///
    /// ```
    /// use resilient_runtime::{Component, Priority, Registry, Verdict, pipeline::Options};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("pay").load_shed("api").build();
    /// pipeline.call_judged(Options::default().priority(Priority::Critical), || Some(995), Verdict::of);
    /// assert_eq!(registry.load_shedder("api").stats().classes.critical.admitted, 1);
    /// ```
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// How many calls it counts for in the rate limit; 1 where nothing is said.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, Verdict, pipeline::Options, rate_limit::{Config, Rate}};
    ///
    /// let registry = Registry::new();
    /// registry.rate_limiter("rows").reconfigure(Config::default().rate("500/h".parse::<Rate>().unwrap())).unwrap();
    /// let pipeline = registry.pipeline("export").rate_limit("rows").build();
    /// let export = |rows| pipeline.call_judged(Options::default().weight(rows), || Some(rows), Verdict::of);
    /// assert_eq!((export(400), export(400)), (Some(400), None));
    /// ```
    pub fn weight(self, weight: u32) -> Self {
        Self { request: self.request.with_weight(weight), ..self }
    }

    /// Whether carrying this call out twice has the effect of once; where nothing is said, as the pipeline says. One that is
    /// not is never hedged, and repeated only after what surely had no effect.
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
    ///         Err::<(), _>(Error::from(ErrorKind::ConnectionReset)) // it may have been carried out
    ///     };
    ///     assert!(pipeline.call_judged(options, broken, Verdict::by_class).is_err());
    ///     attempts
    /// };
    /// assert_eq!(attempts(Options::default()), 1);
    /// assert_eq!(attempts(Options::default().idempotent(true)), 4);
    /// ```
    pub fn idempotent(self, is: bool) -> Self {
        Self { repeats: if is { Repeats::Safe } else { Repeats::Unsafe }, ..self }
    }

    #[inline]
    pub(super) fn give_to(self, call: &mut Call<'_>) {
        call.priority = self.priority;
        call.rate_key = self.request.key();
        call.weight = self.request.weight();
        call.repeats = self.repeats;
    }
}

impl Pipeline {
    /// The options of a call that goes by the rate limit of this key alone.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, Verdict, rate_limit::{Config, Rate}};
    ///
    /// let registry = Registry::new();
    /// let upload = registry.rate_limiter("upload");
    /// upload.reconfigure(Config::default().rate("9/h".parse::<Rate>().unwrap())).unwrap();
    /// let pipeline = registry.pipeline("upload").rate_limit(&upload).build();
    /// pipeline.call_judged(pipeline.keyed("ada").weight(5), || Some(()), Verdict::of);
    /// assert_eq!(upload.check_key_weighted("ada", 0).remaining, 4);
    /// assert_eq!(upload.check_key_weighted("bob", 0).remaining, 9);
    /// ```
    pub fn keyed<K: Hash + ?Sized>(&self, key: &K) -> Options {
        let request = self.rate_limit.as_ref().map_or(Request::ONE, |limiter| limiter.request(key));
        Options { request, ..Options::default() }
    }
}
