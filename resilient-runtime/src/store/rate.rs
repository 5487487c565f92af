//! The role of a store that keeps shared rate limits.

use std::time::Duration;

use super::Answer;

/// How a store counts tokens.
///
/// ```
/// use resilient_runtime::rate_limit::{Algorithm, Config, Rate, RateAlgorithm, RateRule};
///
/// let config = Config::default().rate("100/s".parse::<Rate>().unwrap());
/// assert_eq!(RateRule::of(&config).unwrap().algorithm, RateAlgorithm::Bucket);
/// let window = config.algorithm(Algorithm::SlidingWindow);
/// assert_eq!(RateRule::of(&window).unwrap().algorithm, RateAlgorithm::Window);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateAlgorithm {
    /// The limit gets one token in each interval, up to its burst. A `leaky_bucket` has a burst of 1.
    Bucket,
    /// The limit grants its burst in each window.
    Window,
}

/// The rule of a limit, as the instance that asks knows it.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::rate_limit::{Config, Rate, RateRule};
///
/// let rule = RateRule::of(&Config::default().rate("100/s".parse::<Rate>().unwrap()).burst(20)).unwrap();
/// assert_eq!((rule.interval, rule.burst), (Duration::from_millis(10), 20));
/// assert_eq!(RateRule::of(&Config::default()), None, "no rate");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateRule {
    /// How tokens are counted.
    pub algorithm: RateAlgorithm,
    /// Time in which a bucket gets one token. At least 100 ns.
    pub interval: Duration,
    /// Maximum number of tokens at once, or in a window. At least 1.
    pub burst: u32,
    /// Length of the window.
    pub window: Duration,
}

/// A request for tokens of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateRequest {
    /// Identifies the limit: the name of the component, a zero byte, and the hash of the key as hexadecimal digits.
    pub limit: String,
    /// The rule of the limit.
    pub rule: RateRule,
    /// Maximum number of tokens to take, at most the burst. 0 only returns the state.
    pub tokens: u32,
    /// Minimum number of tokens to take, at most `tokens`. If fewer are available, none is taken.
    pub at_least: u32,
    /// How long the caller can wait for its tokens. A bucket then also grants tokens that it gets within this time.
    /// Windows ignore it.
    pub max_wait: Duration,
}

/// The response to a [`RateRequest`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Number of tokens that were taken. 0 if fewer than `at_least` were available.
    pub granted: u32,
    /// If tokens were taken: how long the caller must wait before it uses them, at most `max_wait`. Otherwise: the time
    /// until `at_least` tokens are available.
    pub wait: Duration,
    /// Number of tokens that are available now, after this request.
    pub remaining: u32,
    /// Time until all tokens are available, if no caller takes any.
    pub reset_after: Duration,
    /// Identifies the request when its tokens are returned. Less than 2^61.
    pub mark: u64,
    /// Whether the last request for this limit had another rule: two groups of instances share a limit by mistake.
    pub is_other_rule: bool,
}

/// Tokens that were taken and not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnedTokens {
    /// The limit, as in the request.
    pub limit: String,
    /// The rule, as in the request.
    pub rule: RateRule,
    /// Number of tokens.
    pub tokens: u32,
    /// The mark in the response.
    pub mark: u64,
}

/// Keeps rate limits that several instances share.
///
/// Each operation must be atomic. All times are measured by the clock of the store.
///
/// - A *bucket* gets one token in each interval, up to its burst. A new limit has its whole burst.
/// - With `max_wait`, a bucket grants tokens in advance, in the order of the requests. It is then in debt, and a request
///   whose tokens are not available within its `max_wait` gets none.
/// - A *window* grants at most the burst in any period of its length. It may count a token for longer, by at most a tenth
///   of the window.
/// - Returned tokens must not raise the number of tokens above what the rule admits. It is enough to restore the part that
///   was not refilled since the request. A bucket that has promised tokens for a later time than those that are returned
///   must not restore any: it would promise that later time twice.
///
/// `resilient_runtime::testing::check_rate_store` checks these rules.
/// [`MemoryStore`](crate::rate_limit::MemoryStore) is an implementation in memory.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::rate_limit::{RateRequest, RateStore, ReturnedTokens, Taken};
/// use resilient_runtime::store::Answer;
///
/// /// Grants everything.
/// #[derive(Debug)]
/// struct Unlimited;
/// impl RateStore for Unlimited {
///     fn take(&self, request: RateRequest) -> Answer<'_, Taken> {
///         let taken = Taken { granted: request.tokens, remaining: request.rule.burst, ..Taken::default() };
///         Box::pin(async move { Ok(taken) })
///     }
///     fn give_back(&self, _: ReturnedTokens) -> Answer<'_, ()> {
///         Box::pin(async { Ok(()) })
///     }
/// }
/// ```
pub trait RateStore: Send + Sync + 'static {
    /// Takes tokens.
    fn take(&self, request: RateRequest) -> Answer<'_, Taken>;

    /// Returns tokens that were not used.
    fn give_back(&self, returned: ReturnedTokens) -> Answer<'_, ()>;
}
