//! The attribute `#[resilient(...)]`; use it through the crate `resilient-runtime`.
//!
//! The crate knows no policy. It parses what the user wrote (`args`), looks at the function (`item`, `shape`),
//! checks that both fit together (`validate`), and writes the function anew (`expand`): the body stays where
//! it is, once, with a small loop of calls into the runtime around it. Whatever is wrong is collected
//! (`diag`), and the function is emitted all the same, so that an editor keeps working.

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

/// Protects a function: retry, circuit breaker, bulkhead, timeout, fallback.
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
/// Goes on functions and methods, synchronous and asynchronous, above other attributes. The function returns
/// `Result`, `Option`, or with a fallback any value. Inline settings are defaults for the named component.
///
/// # Functions that return a future
/// What the future gives is judged, not the future: with `async fn`, `-> impl Future<Output = R>`, and functions that end in
/// `Box::pin(async move { .. })`, as `#[async_trait]` writes them, also behind a type alias. Any other function that returns a
/// future is a compile error. What stands before that last expression runs when the function is called, once and without
/// protection; a `return` there is a compile error, unless a macro of your own hides it. A future inside `Ok` or `Some` is
/// handed on: the `Result` says how it went to get one. So is a stream, whose items are not looked at. (The type parameter
/// `T` of a generic function is not known to be a future unless its bounds say so.)
///
/// # Generic error types
/// How an error is judged follows from the bounds in the function's signature: `E: Classify` is asked. With
/// `E: Error + 'static` the error and its `source()` chain are searched for a known cause; without the `'static`, and where
/// the bound stands on the `impl` block, only the chain. To name a bound of the block again, write `where E: 'static`.
///
/// `#[track_caller]` has no effect on the body, which runs in a closure, and is a compile error.
///
/// # With `#[tokio::main]` and `#[tokio::test]`
/// Write `#[resilient(..)]` above them. Below them it is given a synchronous function that starts a runtime: arguments that
/// need an `async fn` are a compile error there. With `retry` alone each attempt starts a runtime of its own, in which the
/// tasks of the attempt end, and the thread sleeps between attempts.
///
/// # `circuit_breaker`
/// `= "name"`, or `("name", ..)` with `failure_rate` (0.5 or "50%"), `window` ("30s", or a number of calls),
/// `min_calls`, `failure_threshold`, `success_threshold`, `open_for`, `open_max`, `half_open_calls`,
/// `slow_call`, `slow_rate`, `slow_in_flight`, `low_volume_failures`, `open_jitter`, `probe_lease`, `when = predicate`.
///
/// `when` is given the error and says whether it counts as a failure; an error for which it is `false` counts as nothing. It
/// is asked about timeouts, too, as the error that they become. It has no say in successes, nor in an `Ok` that `failure`
/// counts as failed; where it is missing, the class of the error decides.
///
/// # `retry`
/// `= "name"`, or `(["name",] max = retries | attempts = all, ..)` with `backoff` (`exponential`, `constant`,
/// `linear`, `fibonacci`, `decorrelated`), `base`, `factor`, `max_delay`, `jitter`, `when = predicate`,
/// `budget = "name"`, `budget(ratio = .., reserve = .., free = ..)` or `budget = off`, `max_elapsed`, `max_retry_after`.
///
/// `when` is given the error and says whether to try again, within the limits of the retry. It has the last word on every
/// error of the body, and on what the stages inside the retry say: a timeout of an attempt, a full bulkhead, a spent rate
/// limit and an open circuit, each as the error that it becomes; also a weight above the rate limit and a missing timer. (An open
/// circuit is waited for until it lets a probe through, if that fits the limits.) It is not asked about the stages around the
/// retry, which are not repeated: the total time, also where it ends in a queue, load shedding, coalescing and
/// idempotency keys. Without `when`, the class of the error decides (`resilient_runtime::Class`); a refusal is
/// repeated only if it says when to come again, and a timeout only if the function is `idempotent`. Where a fallback
/// answers and the error type has no `From<Rejection>`, `when` is asked about errors of the body alone.
///
/// The body borrows its arguments, so that each attempt finds them as they were. A `mut` argument is copied
/// for each attempt. An argument that the body moves must be named in `clone(..)`. The attribute reports such an argument
/// where the body passes, returns, stores it or takes it apart by a pattern. Other moves, such as `argument.consume()`, are
/// reported by rustc as "value borrowed here after move", with the word `retry` underlined.
///
/// # `bulkhead`
/// `= "name"`, or `("name", ..)` with `max_concurrent`, `max_queue`, `max_wait`,
/// `reserve(critical = .., high = ..)`. With `adaptive`, or `adaptive(min = 1, max = 200, initial = 20)`, it finds how many
/// calls may run at once from how long they take. With `threads = 8` the body, which then is blocking code, runs on one of so many
/// threads of the bulkhead's own; `max_queue` calls wait for one. Then a synchronous function can have a `timeout`: the
/// caller leaves in time, and the body keeps its thread until it ends. It owns its arguments: no references, and what a
/// `retry` or a `fallback` needs as well is named in `clone(..)`, and so is `self`, which is an `Arc<Self>` as a rule.
///
/// # `timeout`
/// `= "2s"` for the whole call, or `(["name",] total = .., attempt = .., connect = .., read = ..)`. With `adaptive`, or
/// `adaptive(percentile = 95, factor = 1.5, min = "50ms", max = "30s", window = .., min_samples = ..)`, the time of an
/// attempt follows how long attempts take, and begins with `attempt`; `attempt = adaptive(..)` means the same. The whole call
/// has 60 s, connecting 3 s and reading 30 s of them, where nothing is said; `total = none`, `connect = none` and
/// `read = none` take a limit away. Asynchronous
/// functions, and those on `threads`.
///
/// # `fallback`
/// `= function` or `= |failure| ..`: called with the `Failure`. In an asynchronous function both may be
/// asynchronous. `= expression`, among them `None`, a constant, an argument: evaluated when it is needed; it
/// may use the arguments, and `.await` in an asynchronous function. Or levels, asked in this order:
/// `(replica = .., distributed_cache = .., local_cache = .., backup = .., default = ..)`, whose functions and
/// closures are called with `&Failure`. Each gives what the function returns; `?` and `return` in one end that
/// level, and the next is asked.
///
/// # `rate_limit`
/// `= "name"`, or `("name", rate = "100/s", ..)` with `burst`, `algorithm` (`token_bucket`, `sliding_window`,
/// `sliding_log`, `leaky_bucket`), `key = expression` for a limit of its own for each key, `weight = expression` for a
/// call that counts for several, `max_wait` to wait for a turn, `max_queue`, `max_keys`. Each attempt pays.
///
/// # `load_shed`
/// `= "name"`, or `("name", ..)`: refuses some calls, by their `priority`, so that the others are served in time.
/// `adaptive` (else `max_in_flight` is the limit), `max_in_flight`, `min_in_flight`, `initial_in_flight`,
/// `share(low = .., normal = .., high = ..)` of that limit; `target_delay` of a queue, `target_latency` of a call,
/// `interval`, `arrived_at = expression` for since when it waits; `throttle`, or
/// `throttle(factor = .., window = .., floor = .., min_calls = ..)`, for a client that holds back what the other side would
/// refuse; `retry_after`.
///
/// # `hedge`
/// `(after = "50ms")`, or `(after = "p95")` for as long as 95 % of the attempts take, but at least `min_delay`; `max` attempts
/// besides the first, `budget(ratio = .., reserve = ..)` where there is no `retry`.
/// Sends another attempt where one is slow or fails, and takes the first answer. Asynchronous functions that are
/// `idempotent`, or so by a key with `on_unknown = reexecute`.
///
/// # `coalesce`
/// `(key = expression)`: calls with equal keys at the same time share one. A key that is an `Option` may be `None`: that call
/// shares nothing. `share_errors = false`, `max_wait`,
/// `max_flights`. What the function returns is `Clone`, and so is what a `fallback` is asked about.
///
/// # `priority`
/// `critical`, `high`, `normal`, `low`, or an expression of type `Priority` that may use the arguments.
///
/// # `failure`
/// A predicate over `&` the returned value: what counts as failed though it is `Ok`.
///
/// # `idempotent`
/// The word alone: twice has the effect of once, so that it is repeated even where the attempt may have been carried out.
///
/// `(["name",] key = expression, ..)`: carried out once for each key, which is anything that is `Display`, or an `Option` of
/// it: with `None` the call has no key, and is carried out without a record. A repeated call
/// gets the answer of the first, for `ttl` ("1h"). What the function returns in `Ok` is `Serialize` and `DeserializeOwned`.
/// The same key with other arguments is refused: all but `self` are hashed, or what `fingerprint = expression` gives,
/// or nothing with `fingerprint = none`. `lease` bounds how long a call that does not show holds its key, and
/// `on_unknown = reject` or `reexecute` says what becomes of the next one then. `store = "name"` where the records
/// are kept, `store_timeout`, `on_store_failure = closed` or `open`; `max_wait` for a call that runs, `keep_errors` to give permanent
/// errors again (their type is `Serialize` and `DeserializeOwned` as well), `max_value` bytes.
///
/// # `clone`
/// `(a, b)`: arguments that the body moves, copied for each attempt.
///
/// # `map_err`
/// `= |rejection| error`, for an error type that has no `From<Rejection>`.
///
/// # `name`, `registry`, `crate`
/// The operation's name; another `Registry`, which is borrowed however it is held (`self.registry`, an `Arc`, an
/// argument); the path under which the crate is found.
#[proc_macro_attribute]
pub fn resilient(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::entry(args.into(), item.into()).into()
}
