//! The attribute macro `#[resilient(...)]`. Use it through the crate `resilient-runtime`.
//!
//! This crate contains no policy logic. It parses the arguments (`args`), inspects the function (`item`, `shape`),
//! checks that the two fit together (`validate`), and rewrites the function (`expand`). The body stays in place, once,
//! inside a small loop of calls into the runtime. Errors are collected (`diag`), and the function is emitted even if
//! there are errors, so that editors keep working.

mod args;
mod diag;
mod entry;
mod expand;
mod ide;
mod item;
mod shape;
mod spans;
mod text;
mod validate;

#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

/// Adds retry, circuit breaker, bulkhead, timeout or fallback to a function.
///
/// ```
/// use resilient_runtime::{Rejection, resilient};
///
/// #[resilient(circuit_breaker = "payment", retry(max = 3), bulkhead = "gateway", timeout = "2s")]
/// async fn charge(cents: u32) -> Result<String, Rejection> {
///     Ok(format!("charged {cents}"))
/// }
///
/// #[resilient(circuit_breaker("rates", failure_threshold = 5), fallback = 1.0)]
/// fn rate(currency: &str) -> f64 {
///     if currency == "EUR" { 1.0 } else { 1.1 }
/// }
///
/// assert_eq!(rate("EUR"), 1.0);
/// ```
///
/// Use it on synchronous and asynchronous functions and methods, above other attributes. The function must return
/// `Result` or `Option`; with a fallback it can return any value. Settings in the attribute are defaults for the named
/// component.
///
/// # Functions that return a future
/// The policies apply to the output of the future, not to the creation of the future. This works for `async fn`, for
/// `-> impl Future<Output = R>`, and for functions that end in `Box::pin(async move { .. })`, which includes the
/// functions that `#[async_trait]` generates and return types behind an alias. Any other function that returns a future
/// is a compile error. In the generic function `fn f<T>() -> T`, `T` is treated as a future only if its bounds say so.
///
/// Statements before the final expression run once, unprotected, when the function is called. A `return` there is a
/// compile error, unless one of your own macros hides it.
///
/// A future inside `Ok` or `Some` is returned unchanged: only the `Result` or `Option` is evaluated. A stream is
/// returned unchanged as well, and its items are not evaluated.
///
/// # Generic error types
/// The bounds in the function's signature determine how an error is classified.
/// - `E: Classify` uses the trait.
/// - `E: Error + 'static` searches the error and its `source()` chain for a known cause.
/// - `E: Error` without `'static`, or with the bound on the `impl` block, searches only the `source()` chain. To repeat
///   a bound of the block, write `where E: 'static` on the function.
///
/// # `#[track_caller]`
/// The body runs in a closure, where `#[track_caller]` would have no effect. Using both attributes is a compile error.
///
/// # `#[tokio::main]` and `#[tokio::test]`
/// Write `#[resilient(..)]` above them. Below them, it receives a synchronous function that starts a runtime, and
/// arguments that need an `async fn` are a compile error. With `retry` alone, each attempt then starts a separate
/// runtime, spawned tasks end with their attempt, and the delay between attempts blocks the thread.
///
/// # `circuit_breaker`
/// `= "name"`, or `("name", ..)` with `failure_rate` (0.5 or "50%"), `window` ("30s", or a number of calls),
/// `min_calls`, `failure_threshold`, `success_threshold`, `open_for`, `open_max`, `half_open_calls`,
/// `slow_call`, `slow_rate`, `slow_in_flight`, `low_volume_failures`, `open_jitter`, `probe_lease`, `when = predicate`.
/// To share the circuit among instances: `store = "name"`, `coordinate` (`observe`, `advise`, `enforce`), `quorum`,
/// `quorum_share`, `scope`, `max_shared_open`, `poll`.
///
/// `when` receives the error and returns whether it counts as a failure. Other errors are not counted. `when` is also
/// called for timeouts, with the error that they are converted to. It is not called for successes or for an `Ok` value
/// that `failure` counts as failed. Without `when`, the class of the error decides.
///
/// # `retry`
/// `= "name"`, or `(["name",] max = retries | attempts = all, ..)` with `backoff` (`exponential`, `constant`, `linear`,
/// `fibonacci`, `decorrelated`), `base`, `factor`, `max_delay`, `jitter`, `when = predicate`, `budget = "name"`,
/// `budget(ratio = .., reserve = .., free = ..)` or `budget = off`, `max_elapsed`, `max_retry_after`.
///
/// `when` receives the error and returns whether to retry, within the limits of the retry. It is called for
/// - errors of the body,
/// - rejections of the stages inside the retry: attempt timeout, full bulkhead, rate limit exceeded, open circuit,
/// - a weight above the rate limit and a missing timer.
///
/// Rejections are passed as the error that they are converted to. After an open circuit, the retry waits until the
/// circuit admits a probe, if that is within its limits. `when` is not called for the stages outside the retry, which
/// are not repeated: total timeout (including in a queue), load shedding, coalescing and idempotency keys. With a
/// `fallback` and an error type without `From<Rejection>`, `when` is called only for errors of the body.
///
/// Without `when`, the class of the error decides (`resilient_runtime::Class`). A rejection is retried only if it has a
/// retry delay, and a timeout only if the function is `idempotent`.
///
/// The body borrows its arguments, so each attempt sees their original values. A `mut` argument is cloned for each
/// attempt. An argument that the body moves must be named in `clone(..)`. The attribute reports such an argument if the
/// body passes, returns or stores it, or destructures it with a pattern. rustc reports other moves, such as
/// `argument.consume()`, as "value borrowed here after move" and underlines `retry`.
///
/// # `bulkhead`
/// `= "name"`, or `("name", ..)` with `max_concurrent`, `max_queue`, `max_wait`,
/// `reserve(critical = .., high = ..)`.
///
/// With `adaptive`, or `adaptive(min = 1, max = 200, initial = 20)`, the concurrency limit adapts to the latency of the
/// calls.
///
/// With `threads = 8` the bulkhead owns 8 threads and runs the body on one of them. The body is then blocking code, and
/// up to `max_queue` calls wait for a thread. A synchronous function can then have a `timeout`: the caller returns on
/// time, and the body occupies its thread until it ends. The body must own its arguments: references are not allowed.
/// Arguments that `retry` or `fallback` also need must be named in `clone(..)`. This includes `self`, which is usually
/// an `Arc<Self>`.
///
/// # `timeout`
/// `= "2s"` for the whole call, or `(["name",] total = .., attempt = .., connect = .., read = ..)`. The defaults are
/// 60 s for `total`, 3 s for `connect` and 30 s for `read`; `none` disables one of these limits, as in `total = none`.
/// Requires an asynchronous function, or a bulkhead with `threads`.
///
/// With `adaptive`, or
/// `adaptive(percentile = 95, factor = 1.5, min = "50ms", max = "30s", window = .., min_samples = ..)`,
/// the attempt timeout adapts to the measured duration of attempts and starts at `attempt`.
/// `attempt = adaptive(..)` means the same.
///
/// # `fallback`
/// One of
/// - `= function` or `= |failure| ..`: called with the `Failure`. In an asynchronous function it can be asynchronous.
/// - `= expression`, for example `None`, a constant or an argument: evaluated only when it is needed. It can use the
///   arguments, and `.await` in an asynchronous function.
/// - levels, which are tried in this order:
///   `(replica = .., distributed_cache = .., local_cache = .., backup = .., default = ..)`.
///   Their functions and closures are called with `&Failure`. Each level returns the type of the function. `?` and
///   `return` end only the current level, and the next level is tried.
///
/// # `rate_limit`
/// `= "name"`, or `("name", rate = "100/s", ..)` with `burst`, `algorithm` (`token_bucket`, `sliding_window`,
/// `sliding_log`, `leaky_bucket`), `key = expression` for a separate limit for each key, `weight = expression` for a
/// call that counts as several, `max_wait` to wait until the limit admits the call, `max_queue`, `max_keys`. Each
/// attempt counts against the limit. `store = "name"` shares the limit between all instances of the service, with
/// `mode = exact`, `lease` or `observe`, and `on_store_failure = local`, `open` or `closed`.
///
/// # `load_shed`
/// `= "name"`, or `("name", ..)`. Rejects some calls by `priority`, so that the others are served in time. Options:
/// - `adaptive` (if `false`, `max_in_flight` is the limit), `max_in_flight`, `min_in_flight`, `initial_in_flight`,
/// - `share(low = .., normal = .., high = ..)`: the fraction of the limit that each priority can use,
/// - `target_delay` of a queue, `target_latency` of a call, `interval`,
/// - `arrived_at = expression`: when the call started to wait,
/// - `throttle`, or `throttle(factor = .., window = .., floor = .., min_calls = ..)`: client-side throttling of calls
///   that the backend would probably reject,
/// - `retry_after`: the retry delay reported with a rejection.
///
/// # `hedge`
/// `(after = "50ms")`, or `(after = "p95")` to use the 95th percentile of the attempt latency, but at least
/// `min_delay`. `max` limits the additional attempts. `budget(ratio = .., reserve = ..)` applies if there is no
/// `retry`.
///
/// Starts another attempt when one is slow or fails, and returns the first result. Requires an asynchronous function
/// that is `idempotent`, or has an idempotency key with `on_unknown = reexecute`.
///
/// # `coalesce`
/// `(key = expression)`: concurrent calls with equal keys share one call. If the key is an `Option`, a call with the
/// key `None` is not shared. Further options are `share_errors = false`, `max_wait` and `max_flights`. The returned
/// type must be `Clone`; with a `fallback`, so must the failure.
///
/// # `priority`
/// `critical`, `high`, `normal`, `low`, or an expression of type `Priority` that can use the arguments.
///
/// # `failure`
/// A predicate over a reference to the returned value. It returns whether an `Ok` value counts as a failure.
///
/// # `idempotent`
/// Without options, declares that running the function twice has the same effect as running it once. The function is
/// then retried even if an attempt may have taken effect.
///
/// With `(["name",] key = expression, ..)`, the function runs once for each key. The key is any `Display` type, or an
/// `Option` of one; a call with the key `None` runs without a record. A repeated call returns the stored result, for
/// `ttl` ("1h"). The `Ok` type must be `Serialize` and `DeserializeOwned`. Options:
/// - `fingerprint = expression`: a call with the same key but another fingerprint is rejected. By default all arguments
///   except `self` are hashed; `fingerprint = none` compares nothing.
/// - `lease`: how long a call holds its key without renewal. `on_unknown = reject` or `reexecute` decides what happens
///   to the next call after that.
/// - `store = "name"`: where records are stored, with `store_timeout` and `on_store_failure = closed` or `open`.
/// - `max_wait`: how long to wait for a running call with the same key.
/// - `keep_errors`: stores permanent errors as well. The error type must then be `Serialize` and `DeserializeOwned`.
/// - `max_value`: maximum size of a stored result in bytes.
///
/// # `clone`
/// `(a, b)`: arguments that the body moves. They are cloned for each attempt.
///
/// # `map_err`
/// `= |rejection| error`, for an error type without `From<Rejection>`.
///
/// # `name`, `registry`, `crate`
/// `name` is the name of the operation. `registry` selects another `Registry`, which is borrowed, so it can be a field
/// (`self.registry`), an `Arc` or an argument. `crate` is the path of the `resilient-runtime` crate.
#[proc_macro_attribute]
pub fn resilient(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::entry(args.into(), item.into()).into()
}
