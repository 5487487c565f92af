//! Every kind of function that the attribute supports, compiled under strict lints and called.

// T151: the expansion triggers no lint, including lints that are off by default.
#![deny(warnings, clippy::all, clippy::pedantic, clippy::nursery)]
#![deny(clippy::shadow_reuse, clippy::shadow_same, clippy::shadow_unrelated, clippy::let_underscore_must_use)]
#![deny(unused_qualifications, unused_lifetimes, trivial_casts, unreachable_pub)]
#![deny(elided_lifetimes_in_paths, explicit_outlives_requirements, let_underscore_drop)]
// The tests use unusual code on purpose.
#![allow(
    clippy::unused_async,
    clippy::unnecessary_wraps,
    clippy::trivially_copy_pass_by_ref,
    clippy::ptr_arg
)]
#![allow(clippy::many_single_char_names, clippy::multiple_bound_locations, clippy::elidable_lifetime_names)]
#![allow(clippy::boxed_local, clippy::type_repetition_in_bounds)]
// Some tests need futures that are not `Send`, and functions that could be `const`.
#![allow(clippy::future_not_send, clippy::missing_const_for_fn)]

#[path = "shapes/adaptive.rs"]
mod adaptive;
#[path = "shapes/aliases.rs"]
mod aliases;
#[path = "shapes/answers.rs"]
mod answers;
#[path = "shapes/arguments.rs"]
mod arguments;
#[path = "shapes/async_fns.rs"]
mod async_fns;
#[path = "shapes/attempts.rs"]
mod attempts;
#[path = "shapes/causes.rs"]
mod causes;
#[path = "shapes/distributed.rs"]
mod distributed;
#[path = "shapes/errors.rs"]
mod errors;
#[path = "shapes/fallbacks.rs"]
mod fallbacks;
#[path = "shapes/foreign.rs"]
mod foreign;
#[path = "shapes/fragments.rs"]
mod fragments;
#[path = "shapes/futures.rs"]
mod futures;
#[path = "shapes/inputs.rs"]
mod inputs;
#[path = "shapes/levels.rs"]
mod levels;
#[path = "shapes/limits.rs"]
mod limits;
#[path = "shapes/meaning.rs"]
mod meaning;
#[path = "shapes/methods.rs"]
mod methods;
#[path = "shapes/once.rs"]
mod once;
#[path = "shapes/repeated.rs"]
mod repeated;
#[path = "shapes/replica.rs"]
mod replica;
#[path = "shapes/shed.rs"]
mod shed;
#[path = "shapes/sites.rs"]
mod sites;
#[path = "shapes/sync_fns.rs"]
mod sync_fns;
#[path = "shapes/threads.rs"]
mod threads;
#[path = "shapes/timeouts.rs"]
mod timeouts;
#[path = "shapes/traits.rs"]
mod traits;

use resilient_runtime::Rejection;

/// The error of most functions in these tests.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum E {
    #[error("bad")]
    Bad,
    #[error(transparent)]
    Parse(#[from] std::num::ParseIntError),
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// A type without `Clone`.
#[derive(Debug, PartialEq)]
pub(crate) struct NoClone(pub(crate) u32);

/// A future that is pending once.
pub(crate) async fn tick() {
    tokio::task::yield_now().await;
}

/// Fails until it was called `times` times.
pub(crate) fn flaky(calls: &std::cell::Cell<u32>, times: u32) -> Result<u32, E> {
    calls.set(calls.get() + 1);
    if calls.get() < times { Err(E::Bad) } else { Ok(calls.get()) }
}
