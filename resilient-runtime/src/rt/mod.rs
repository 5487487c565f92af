//! Items for generated code. Not public API: they change with any release.

pub use std::borrow::Cow;

pub use crate::classify::{Class, Classify};
pub use crate::classify::{Judgement, Verdict};
pub use crate::component::Kind;
pub use crate::fallback::{CollectReasons, NoAnswer, ReasonCollector};
pub use crate::idempotency::{ClaimOutcome, Fingerprint, TransactionClaim};
pub use crate::level::Level;
pub use crate::membership::Membership;
pub use crate::outcome::{BoxError, FallbackFailed};
pub use crate::outcome::{Failure, Outcome, Reject};
pub use crate::pipeline::Pipeline;
pub use crate::pipeline::call::{Call, Next};
pub use crate::pipeline::stages::coalesce::{Shared, led, led_async};
pub use crate::pipeline::stages::idempotency::{held, held_async};
pub use crate::pipeline::stages::threads::PoolAttempt;
pub use crate::pipeline::stages::timeout::{Attempt, UntimedAttempt};
pub use crate::pipeline::stages::transaction::connection;
pub use crate::pipeline::stopped::Stop;
pub use crate::priority::Priority;
pub use crate::registry::Registry;
pub use crate::rejection::Rejection;
pub use crate::settings::{Setting, Value};
#[cfg(feature = "inventory")]
pub use crate::site::SiteHook;
pub use crate::site::{Site, SiteMeta, StageUse};
#[cfg(feature = "inventory")]
pub use inventory;
/// Completion in editors inside the attribute. The expansion refers to it only under `cfg(rust_analyzer)`.
pub use resilient_options::ide;

pub use crate::{
    __add_the_moved_argument_to_clone_in_the_attribute as add_the_moved_argument_to_clone_in_the_attribute,
    __admit_at_once as admit_at_once, __all_failed as all_failed, __attempt_sync as attempt_sync,
    __attempt_untimed as attempt_untimed, __can_be_marked as can_be_marked, __describe as describe,
    __distribute as distribute, __hold as hold, __into_failure as into_failure, __is_marked as is_marked,
    __judge as judge, __judge_static as judge_static, __keep as keep, __last_good as last_good,
    __mark as mark, __outcome_of as outcome_of, __refused as refused, __rejected as rejected, __rule as rule,
    __rule_static as rule_static, __submit_site as submit_site, __typed as typed, __why as why,
    __wording as wording,
};

mod answer;
mod describe;
mod judge;
mod keys;
mod levels;
mod once;
mod repeated;
mod settled;

pub use answer::{Ask, asking, asking_later};
pub use describe::{Describing, Wording, describing};
pub use judge::{Combine, Judge, Rule, judging, judging_static};
pub use keys::{KeyOf, Shareable, Shown, keying, publish, share, share_blocking, shown};
pub use levels::{CacheKey, Describe, Leveled, StoreKey, leveling, path_of, path_with_types};
pub use once::{Codecs, Prints, keeping, print};
pub use repeated::{Again, Moved, Repeated, repeating};
pub use settled::{Known, Settled, Settles, Unbegun, settled, settling};

/// Submits a site at link time.
#[cfg(feature = "inventory")]
#[doc(hidden)]
#[macro_export]
macro_rules! __submit_site {
    ($site:ident) => {
        $crate::__rt::inventory::submit! { $crate::__rt::SiteHook(&$site) }
    };
}

/// Does nothing: without link-time registration a site registers on its first call.
#[cfg(not(feature = "inventory"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __submit_site {
    ($site:ident) => {};
}

/// Uses the arguments at the start of the retry loop. If the body has moved one, the error of rustc points to this use
/// and contains the name of this macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __add_the_moved_argument_to_clone_in_the_attribute {
    ($($argument:ident),*) => {
        if false {
            $(let _ = &$argument;)*
        }
    };
}

/// Judges `$outcome` (a reference) by the best rule for its type.
#[doc(hidden)]
#[macro_export]
macro_rules! __judge {
    ($outcome:expr) => {{
        use $crate::__rt::judging::*;
        let outcome = $outcome;
        $crate::__rt::Rule::judge((&&&&&&&$crate::__rt::Judge::of(outcome)).how(), outcome)
    }};
}

/// Returns the best rule for judging the type `$output`, or the type of `$outcome` (a reference).
#[doc(hidden)]
#[macro_export]
macro_rules! __rule {
    (of $outcome:expr) => {{
        use $crate::__rt::judging::*;
        (&&&&&&&$crate::__rt::Judge::of($outcome)).how()
    }};
    ($output:ty) => {{
        use $crate::__rt::judging::*;
        (&&&&&&&$crate::__rt::Judge::<$output>::new()).how()
    }};
}

/// [`rule`] for a function that declares that its error type is `'static`.
#[doc(hidden)]
#[macro_export]
macro_rules! __rule_static {
    (of $outcome:expr) => {{
        use $crate::__rt::judging_static::*;
        (&&&&&&$crate::__rt::Judge::of($outcome)).how()
    }};
    ($output:ty) => {{
        use $crate::__rt::judging_static::*;
        (&&&&&&$crate::__rt::Judge::<$output>::new()).how()
    }};
}

/// [`judge`] for a function that declares that its error type is `'static`.
#[doc(hidden)]
#[macro_export]
macro_rules! __judge_static {
    ($outcome:expr) => {{
        use $crate::__rt::judging_static::*;
        let outcome = $outcome;
        $crate::__rt::Rule::judge((&&&&&&$crate::__rt::Judge::of(outcome)).how(), outcome)
    }};
}

/// Writes the error text of `$outcome` (a reference), as well as its type permits.
#[doc(hidden)]
#[macro_export]
macro_rules! __describe {
    ($outcome:expr, $words:expr) => {{
        use $crate::__rt::describing::*;
        let outcome = $outcome;
        $crate::__rt::Wording::describe($crate::__rt::wording!(outcome), outcome, $words)
    }};
}

/// Returns the best wording for a failure in `$outcome` (a reference).
#[doc(hidden)]
#[macro_export]
macro_rules! __wording {
    ($outcome:expr) => {{
        use $crate::__rt::describing::*;
        (&&&&&&&$crate::__rt::Describing::of($outcome)).how()
    }};
}

/// Returns the value of type `$output` made from `$rejection` (a reference), if the type can hold it.
#[doc(hidden)]
#[macro_export]
macro_rules! __rejected {
    ($output:ty, $rejection:expr) => {{
        use $crate::__rt::judging::*;
        (&&$crate::__rt::Judge::<$output>::new()).rejected($rejection)
    }};
}

/// Judges an outcome by its type, as the attribute does, for [`Request::judge`](crate::pipeline::Request::judge).
///
/// The rule is chosen at compile time from the type of the outcome. An error that implements
/// [`Classify`](crate::Classify) is judged by its class. Any other `Error`, and `Box<dyn Error>`, `anyhow::Error` and
/// `eyre::Report`, is judged by the first known cause in its `source()` chain. Every other failure is
/// [`Class::Unknown`](crate::Class::Unknown).
///
/// In a generic function the rule follows from the bounds: with `E: Error`, the `source()` chain of the error is
/// searched, but not the type of the error itself. To include that type, write `E: Classify`, or use
/// [`Verdict::of`](crate::Verdict::of) with `E: 'static`.
///
/// ```
/// use resilient_runtime::{Class, Classify, Registry, Rejection, judge};
///
/// #[derive(Debug)]
/// enum PayError { Declined, Rejected(Rejection) }
/// impl From<Rejection> for PayError {
///     fn from(rejection: Rejection) -> Self { Self::Rejected(rejection) }
/// }
/// impl Classify for PayError {
///     fn classify(&self) -> Class {
///         match self {
///             Self::Declined => Class::Permanent,
///             Self::Rejected(rejection) => rejection.classify(),
///         }
///     }
/// }
/// let pipeline = Registry::new().pipeline("pay").retry("gateway").build();
/// let mut calls = 0;
/// let pay = || {
///     calls += 1;
///     Err::<u32, _>(PayError::Declined)
/// };
/// assert!(pipeline.request::<Result<u32, PayError>>().judge(judge!()).call(pay).is_err());
/// assert_eq!(calls, 1, "a retry would be declined too");
/// ```
#[macro_export]
macro_rules! judge {
    () => {
        |outcome: &_| $crate::__rt::judge!(outcome)
    };
}

/// Returns the failure in `$outcome` (by value), for a fallback.
#[doc(hidden)]
#[macro_export]
macro_rules! __into_failure {
    ($outcome:expr) => {{
        use $crate::__rt::judging::*;
        let outcome = $outcome;
        (&&$crate::__rt::Judge::of(&outcome)).failure(outcome)
    }};
}

/// Returns the outcome after every level of a chain failed. `$failure` is the failure of the call, `$last` the result of
/// `$level`.
#[doc(hidden)]
#[macro_export]
macro_rules! __all_failed {
    ($failure:expr, $last:expr, $level:expr) => {{
        use $crate::__rt::judging::*;
        let (failure, last) = ($failure, $last);
        (&&&$crate::__rt::Combine::of(&last)).combine(failure, last, $level)
    }};
}

/// Returns the reason for the fallback.
#[doc(hidden)]
#[macro_export]
macro_rules! __why {
    ($failure:expr) => {{
        use $crate::__rt::leveling::*;
        let failure = $failure;
        (&&&$crate::__rt::Describe::of(failure)).why(failure)
    }};
}

/// Whether an outcome of this type can hold the mark of a level.
#[doc(hidden)]
#[macro_export]
macro_rules! __can_be_marked {
    ($output:ty) => {{
        use $crate::__rt::leveling::*;
        (&&$crate::__rt::Leveled::<$output>::new()).can_be_marked()
    }};
}

/// Returns `$outcome` with the mark of a level, if it can hold one.
#[doc(hidden)]
#[macro_export]
macro_rules! __mark {
    ($outcome:expr, $level:expr, $age:expr, $why:expr) => {{
        use $crate::__rt::leveling::*;
        let outcome = $outcome;
        (&&$crate::__rt::Leveled::of(&outcome)).mark(outcome, $level, $age, $why)
    }};
}

/// Whether `$outcome` (a reference) already has the mark of a level.
#[doc(hidden)]
#[macro_export]
macro_rules! __is_marked {
    ($outcome:expr) => {{
        use $crate::__rt::leveling::*;
        let outcome = $outcome;
        (&&$crate::__rt::Leveled::of(outcome)).is_marked(outcome)
    }};
}

/// Stores `$outcome` (a reference) in the built-in local cache, if it is good.
#[doc(hidden)]
#[macro_export]
macro_rules! __keep {
    ($call:expr, $key:expr, $outcome:expr) => {{
        use $crate::__rt::leveling::*;
        let outcome = $outcome;
        (&&&$crate::__rt::Leveled::of(outcome)).keep($call, $key, outcome);
    }};
}

/// Looks up the built-in local cache and returns an outcome of the type.
#[doc(hidden)]
#[macro_export]
macro_rules! __last_good {
    ($call:expr, $key:expr, $output:ty) => {{
        use $crate::__rt::leveling::*;
        (&&&$crate::__rt::Leveled::<$output>::new()).last_good($call, $key)
    }};
}

/// Stores `$outcome` (a reference) in the built-in distributed cache, if it is good.
#[doc(hidden)]
#[macro_export]
macro_rules! __distribute {
    ($call:expr, $key:expr, $outcome:expr) => {{
        use $crate::__rt::leveling::*;
        let outcome = $outcome;
        (&&&$crate::__rt::Leveled::of(outcome)).distribute($call, $key, outcome);
    }};
}

/// Returns the function that makes an outcome of this type from a value in the distributed cache.
#[doc(hidden)]
#[macro_export]
macro_rules! __outcome_of {
    ($output:ty) => {{
        use $crate::__rt::leveling::*;
        (&&&$crate::__rt::Leveled::<$output>::new()).outcome()
    }};
}

/// Admits an attempt of an asynchronous function whose stages cannot make it wait, or continues with the rejection.
/// Only fault injection needs to await.
#[cfg(not(feature = "chaos"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __admit_at_once {
    ($call:ident $rejection:ident { $($refused:tt)* }) => {
        if let ::core::result::Result::Err($rejection) = $call.enter_blocking() { $($refused)* }
    };
}

/// Admits an attempt of an asynchronous function whose stages cannot make it wait, or continues with the rejection.
/// Only fault injection needs to await.
#[cfg(feature = "chaos")]
#[doc(hidden)]
#[macro_export]
macro_rules! __admit_at_once {
    ($call:ident $rejection:ident { $($refused:tt)* }) => {
        if !$call.enter() {
            if let ::core::result::Result::Err($rejection) = $call.admitted().await { $($refused)* }
        }
    };
}

/// Chooses how an attempt that was not admitted ends. A stage has recorded its own rejection; the rejection of a fault is
/// recorded by the call.
#[cfg(not(feature = "chaos"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __refused {
    ($call:ident { $($plain:tt)* } { $($stopped:tt)* }) => {
        $($plain)*
    };
}

/// Chooses how an attempt that was not admitted ends. A stage has recorded its own rejection; the rejection of a fault is
/// recorded by the call.
#[cfg(feature = "chaos")]
#[doc(hidden)]
#[macro_export]
macro_rules! __refused {
    ($call:ident { $($plain:tt)* } { $($stopped:tt)* }) => {
        if $call.is_stopped_by_fault() { $($stopped)* } else { $($plain)* }
    };
}

/// Lets faults hold an attempt of a function without a stage that can reject, or continues with their rejection.
#[cfg(not(feature = "chaos"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __hold {
    ($($call:tt)*) => {};
}

/// Lets faults hold an attempt of a function without a stage that can reject, or continues with their rejection.
#[cfg(feature = "chaos")]
#[doc(hidden)]
#[macro_export]
macro_rules! __hold {
    (async $call:ident $rejection:ident { $($stopped:tt)* }) => {
        if $call.is_targeted() {
            if let ::core::result::Result::Err($rejection) = $call.held().await { $($stopped)* }
        }
    };
    (sync $call:ident $rejection:ident { $($stopped:tt)* }) => {
        if $call.is_targeted() {
            if let ::core::result::Result::Err($rejection) = $call.held_blocking() { $($stopped)* }
        }
    };
}

/// Runs an attempt of a function without a stage that can reject.
#[cfg(not(feature = "chaos"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __attempt_sync {
    ($call:ident ($($body:tt)*) $($output:ty)? $(; $($typed:tt)+)?) => {
        $call.attempt_sync($($body)*)
    };
}

/// Runs an attempt of a function without a stage that can reject.
#[cfg(feature = "chaos")]
#[doc(hidden)]
#[macro_export]
macro_rules! __attempt_sync {
    ($call:ident ($($body:tt)*)) => {
        $call.attempt_sync_or($($body)*, |_| false, |_| ::core::option::Option::None)
    };
    ($call:ident ($($body:tt)*) $output:ty) => {
        $call.attempt_sync_or($($body)*, |_| $crate::__rt::can_be_rejected!($output), |rejection| {
            $crate::__rt::rejected!($output, &rejection)
        })
    };
    ($call:ident ($($body:tt)*) $($output:ty)?; $($typed:tt)+) => {
        $call.attempt_sync_or($($body)*, |is_typed| is_typed || $crate::__rt::can_be_rejected!($($output)?), |rejection| if rejection.is_typed() {
            ::core::option::Option::Some($($typed)+)
        } else {
            $crate::__rt::rejection_of!(rejection $($output)?)
        })
    };
}

/// Returns the future of an attempt of a function without a stage that can reject.
#[cfg(not(feature = "chaos"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __attempt_untimed {
    ($call:ident ($($body:tt)*) $($output:ty)? $(; $($typed:tt)+)?) => {
        $call.attempt_untimed($($body)*)
    };
}

/// Returns the future of an attempt of a function without a stage that can reject.
#[cfg(feature = "chaos")]
#[doc(hidden)]
#[macro_export]
macro_rules! __attempt_untimed {
    ($call:ident ($($body:tt)*)) => {
        $call.attempt_untimed_or($($body)*, |_| false, |_| ::core::option::Option::None)
    };
    ($call:ident ($($body:tt)*) $output:ty) => {
        $call.attempt_untimed_or($($body)*, |_| $crate::__rt::can_be_rejected!($output), |rejection| {
            $crate::__rt::rejected!($output, &rejection)
        })
    };
    ($call:ident ($($body:tt)*) $($output:ty)?; $($typed:tt)+) => {
        $call.attempt_untimed_or($($body)*, |is_typed| is_typed || $crate::__rt::can_be_rejected!($($output)?), |rejection| if rejection.is_typed() {
            ::core::option::Option::Some($($typed)+)
        } else {
            $crate::__rt::rejection_of!(rejection $($output)?)
        })
    };
}

/// Returns the outcome with a rejection, if its type can hold one and is written out.
#[cfg(feature = "chaos")]
#[doc(hidden)]
#[macro_export]
macro_rules! __rejection_of {
    ($rejection:ident) => {
        ::core::option::Option::None
    };
    ($rejection:ident $output:ty) => {
        $crate::__rt::rejected!($output, &$rejection)
    };
}

#[cfg(feature = "chaos")]
pub use crate::__rejection_of as rejection_of;

/// Whether the type can hold a rejection, if it is written out.
#[cfg(feature = "chaos")]
#[doc(hidden)]
#[macro_export]
macro_rules! __can_be_rejected {
    () => {
        false
    };
    ($output:ty) => {{
        use $crate::__rt::judging::*;
        (&&$crate::__rt::Judge::<$output>::new()).can_be_rejected()
    }};
}

#[cfg(feature = "chaos")]
pub use crate::__can_be_rejected as can_be_rejected;

/// Chooses the error of `chaos(error = ..)` if a fault asks for it.
#[cfg(not(feature = "chaos"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __typed {
    ($rejection:ident { $($typed:tt)* } { $($plain:tt)* }) => {
        $($plain)*
    };
}

/// Chooses the error of `chaos(error = ..)` if a fault asks for it.
#[cfg(feature = "chaos")]
#[doc(hidden)]
#[macro_export]
macro_rules! __typed {
    ($rejection:ident { $($typed:tt)* } { $($plain:tt)* }) => {
        if $rejection.is_typed() { $($typed)* } else { $($plain)* }
    };
}

/// A return type that can hold the error of `chaos(error = ..)`.
#[cfg(feature = "chaos")]
#[diagnostic::on_unimplemented(
    message = "`chaos(error = ..)` returns `{E}`, but the function returns `{Self}`",
    label = "`{Self}` cannot hold a `{E}`",
    note = "`chaos(error = ..)` takes a function without arguments that returns an error of the function"
)]
pub trait FailWith<E>: Outcome {
    /// Returns the outcome with `error`.
    fn fail(error: E) -> Self;
}

#[cfg(feature = "chaos")]
impl<T, E> FailWith<E> for Result<T, E> {
    fn fail(error: E) -> Self {
        Err(error)
    }
}

/// Returns the outcome with the error of `chaos(error = ..)`.
#[cfg(feature = "chaos")]
#[cold]
pub fn fail_with<R: FailWith<E>, E>(error: impl FnOnce() -> E) -> R {
    R::fail(error())
}

/// Requires the bound, for its diagnostics.
#[inline]
pub fn assert_outcome<R: Outcome>(_: &R) {}

/// An argument that can be copied for each attempt of a retry: any type that implements `Clone`.
#[diagnostic::on_unimplemented(
    message = "the argument of type `{Self}` cannot be cloned for each attempt: it is not `Clone`",
    label = "`{Self}` does not implement `Clone`",
    note = "`retry` gives each attempt its own copy of the arguments that are `mut` or named in `clone(..)`",
    note = "implement `Clone` for it, or let the body borrow the argument: remove `mut`, or remove it from `clone(..)`"
)]
pub trait Anew: Sized {
    /// Returns a copy.
    fn anew(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Clone> Anew for T {
    #[inline]
    fn anew(&self) -> Self {
        self.clone()
    }
}

/// Copies an argument for the next attempt.
#[inline]
pub fn anew<T: Anew>(argument: &T) -> T {
    argument.anew()
}

/// Returns the outcome of a rejected call.
#[cold]
pub fn reject<R: Reject>(rejection: Rejection) -> R {
    R::from_rejection(rejection)
}

/// A return type that can hold the error of `map_err`.
#[diagnostic::on_unimplemented(
    message = "`map_err` returns `{E}`, but the function returns `{Self}`",
    label = "`{Self}` cannot hold a `{E}`",
    note = "`map_err` turns a `Rejection` into the error type of the function"
)]
pub trait RejectWith<E>: Outcome {
    /// Returns the outcome with `error`.
    fn with(error: E) -> Self;
}

impl<T, E> RejectWith<E> for Result<T, E> {
    fn with(error: E) -> Self {
        Err(error)
    }
}

/// Returns the outcome of a rejected call with the error of `map_err`.
#[cold]
pub fn reject_with<R: RejectWith<E>, E>(rejection: Rejection, map: impl FnOnce(Rejection) -> E) -> R {
    R::with(map(rejection))
}

/// `retry(when = ..)`
#[inline]
pub fn when<R: Outcome>(
    outcome: &R,
    judgement: Judgement,
    again: impl FnOnce(&R::Error) -> bool,
) -> Judgement {
    match outcome.error() {
        Some(error) => judgement.retry_when(again(error)),
        None => judgement,
    }
}

/// `circuit_breaker("x", when = ..)`
#[inline]
pub fn counts<R: Outcome>(
    outcome: &R,
    judgement: Judgement,
    counts: impl FnOnce(&R::Error) -> bool,
) -> Judgement {
    match outcome.error() {
        Some(error) => judgement.breaker_when(counts(error)),
        None => judgement,
    }
}

/// `failure = ..`
pub fn failure<R>(outcome: &R, judgement: Judgement, failed: impl FnOnce(&R) -> bool) -> Judgement {
    if judgement == Verdict::Success { judgement.or_failure(failed(outcome)) } else { judgement }
}

/// Evaluates a fallback expression: `?` and `return` in it end the expression, not the function.
#[cold]
pub fn evaluate<R>(answer: impl FnOnce() -> R) -> R {
    answer()
}

/// Drops a failure that no fallback uses. `drop` would cause a clippy warning if the type has no destructor.
#[cold]
pub fn end<E>(_failure: Failure<E>) {}

/// Drops the unusable result of a level.
#[cold]
pub fn let_go<R>(_last: Result<R, NoAnswer>) {}

/// Runs a single fallback.
#[cold]
pub fn recover<R, E>(failure: Failure<E>, answer: impl FnOnce(Failure<E>) -> R) -> R {
    answer(failure)
}

/// Runs a single asynchronous fallback.
pub async fn recover_async<R, E>(failure: Failure<E>, answer: impl AsyncFnOnce(Failure<E>) -> R) -> R {
    answer(failure).await
}

/// Runs one level of a chain.
#[cold]
pub fn recover_level<R, E>(failure: &Failure<E>, answer: impl FnOnce(&Failure<E>) -> R) -> R {
    answer(failure)
}

/// Runs one asynchronous level of a chain.
pub async fn recover_level_async<R, E>(
    failure: &Failure<E>,
    answer: impl AsyncFnOnce(&Failure<E>) -> R,
) -> R {
    answer(failure).await
}

/// The key of a replica set as a text.
pub fn key_text<K: ToString + ?Sized>(key: &K) -> String {
    key.to_string()
}

/// Reads the value of a key from a replica set, as an outcome.
pub async fn read_replica<R, S>(set: &S, key: &str) -> Result<R, NoAnswer>
where
    R: crate::replay::Replay<Value: From<S::Value>>,
    S: crate::fallback::ReplicaSource + ?Sized,
{
    set.read_replica(key).await.map(|value| R::replay(value.into()))
}
