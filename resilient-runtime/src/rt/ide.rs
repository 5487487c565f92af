//! Names for an editor to complete inside `#[resilient(...)]`, with what it shows when one hovers over them.
//! The attribute's expansion refers to them under `cfg(rust_analyzer)` only. They are modules, because editors
//! show the documentation of a module that is imported, and not that of a constant.

/// Defines documented empty modules.
macro_rules! names {
    ($($(#[$about:meta])* $group:ident { $($name:ident: $doc:literal),* $(,)? })*) => {
        $(
            $(#[$about])*
            pub mod $group {
                $(#[doc = $doc] pub mod $name {})*
            }
        )*
    };
}

names! {
    /// The arguments of the attribute.
    arguments {
        bulkhead: "`bulkhead = \"gateway\"`: at most so many calls at once.",
        circuit_breaker: "`circuit_breaker = \"payment\"`: stops calling what does not answer.",
        clone: "`clone(a, b)`: arguments that the body moves, copied for each attempt.",
        coalesce: "`coalesce(key = id)`: equal calls at the same time share one.",
        failure: "`failure = |output| ..`: what counts as failed though it is `Ok`.",
        fallback: "`fallback = |failure| ..`: the answer when all else has failed.",
        hedge: "`hedge(after = \"50ms\")`: sends another attempt where one is slow.",
        idempotent: "`idempotent`: running it twice has the effect of once. `idempotent(key = order.id)`: it is carried out once for each key.",
        load_shed: "`load_shed(\"api\", target_delay = \"20ms\")`: refuses some calls, by priority, so that the others are served in time.",
        map_err: "`map_err = |rejection| ..`: for an error type without `From<Rejection>`.",
        name: "`name = \"charge\"`: the operation's name.",
        priority: "`priority = high`: `critical`, `high`, `normal`, `low`, or an expression.",
        rate_limit: "`rate_limit(\"api\", rate = \"100/s\")`: bounds how often calls begin.",
        registry: "`registry = expression`: another registry.",
        retry: "`retry(max = 3)`: tries again what failed for the moment.",
        timeout: "`timeout = \"2s\"`: bounds the time of a call.",
    }
    /// The options of `circuit_breaker`.
    circuit_breaker {
        failure_rate: "`failure_rate = 0.5`: the share of failed calls that opens the circuit.",
        window: "`window = \"30s\"` or `window = 100`: the calls that are looked at, by time or number.",
        min_calls: "`min_calls = 20`: fewer calls in the window are too few to judge by.",
        failure_threshold: "`failure_threshold = 5`: so many failures in a row open the circuit.",
        success_threshold: "`success_threshold = 2`: so many successful probes in a row close it.",
        open_for: "`open_for = \"5s\"`: how long it is open at first.",
        open_max: "`open_max = \"60s\"`: how long it is open at most.",
        half_open_calls: "`half_open_calls = 3`: how many probes there are.",
        slow_call: "`slow_call = \"2s\"`: how long a call takes that is slow.",
        slow_rate: "`slow_rate = 0.8`: the share of slow calls that opens the circuit.",
        low_volume_failures: "`low_volume_failures = 5`: so many failures in a row open the circuit while calls are fewer than `min_calls`; 0 for never.",
        slow_in_flight: "`slow_in_flight = true`: also counts calls that have not ended yet, but are slow already.",
        open_jitter: "`open_jitter = 0.5`: how much of the open period is left to chance.",
        probe_lease: "`probe_lease = \"1m\"`: a probe that has not ended by then is given up.",
    }
    /// The options of `retry`.
    retry {
        max: "`max = 3`: retries after the first attempt.",
        attempts: "`attempts = 4`: attempts in all.",
        backoff: "`backoff = exponential`: how the delay grows.",
        base: "`base = \"100ms\"`: the first delay.",
        factor: "`factor = 2`: what an exponential delay grows by.",
        max_delay: "`max_delay = \"5s\"`: the longest delay; else 5 s, or `base` if that is longer.",
        jitter: "`jitter = 0.5`: how far a delay is spread to both sides.",
        when: "`when = is_transient`: which errors are worth a retry.",
        budget: "`budget(ratio = 0.1, reserve = 3, free = 1000)`, `budget = \"shared\"` or `budget = off`: bounds the retries of all calls.",
        max_elapsed: "`max_elapsed = \"30s\"`: no retry begins later than this.",
        max_retry_after: "`max_retry_after = \"1m\"`: a server's wish to wait longer than this ends the call instead.",
    }
    /// The options of `bulkhead`.
    bulkhead {
        max_concurrent: "`max_concurrent = 64`: calls that may run at once.",
        max_queue: "`max_queue = 100`: calls that may wait for a permit.",
        max_wait: "`max_wait = \"50ms\"`: how long one may wait.",
        adaptive: "`adaptive` or `adaptive(min = 1, max = 200, initial = 20)`: finds how many calls may run at once.",
        threads: "`threads = 8`: runs the body on threads of the bulkhead's own.",
        reserve: "`reserve(critical = 4, high = 8)`: permits kept for the higher classes.",
    }
    /// The options of `timeout`.
    timeout {
        total: "`total = \"2s\"`: the time of a whole call.",
        attempt: "`attempt = \"500ms\"`: the time of one attempt.",
        connect: "`connect = \"3s\"`: the time of what is given to `deadline::connect`.",
        read: "`read = \"30s\"`: the time of what is given to `deadline::read`.",
        adaptive: "`adaptive` or `adaptive(percentile = 95, factor = 1.5, min = \"50ms\", max = \"30s\")`: the time of an attempt follows how long attempts take.",
    }
    /// The options of `adaptive`, in `timeout`.
    adaptive {
        percentile: "`percentile = 95`: the share of attempts, in per cent, that take no longer.",
        factor: "`factor = 1.5`: what that is multiplied with.",
        min: "`min = \"50ms\"`: the least time of an attempt.",
        max: "`max = \"30s\"`: the most time of an attempt.",
        window: "`window = \"60s\"`: the attempts that are looked at.",
        min_samples: "`min_samples = 100`: fewer attempts say nothing; until then it is `attempt`, or else `max`.",
    }
    /// The options of `rate_limit`.
    rate_limit {
        rate: "`rate = \"100/s\"`: calls in a time.",
        burst: "`burst = 20`: calls at once.",
        algorithm: "`algorithm = token_bucket`: or `sliding_window`, `sliding_log`, `leaky_bucket`.",
        key: "`key = user.id`: a limit of its own for each key.",
        weight: "`weight = 3`: for how many calls this one counts.",
        max_wait: "`max_wait = \"50ms\"`: how long a call waits for its turn.",
        max_queue: "`max_queue = 1000`: calls that may wait.",
        max_keys: "`max_keys = 100_000`: keys that are told apart.",
    }
    /// The options of `hedge`.
    hedge {
        after: "`after = \"50ms\"` or `after = \"p95\"`: how long an attempt may take before another is sent.",
        percentile: "`percentile = 95`: as long as so many per cent of the attempts take.",
        max: "`max = 1`: attempts besides the first.",
        min_delay: "`min_delay = \"1ms\"`: the least delay by percentile.",
        budget: "`budget(ratio = 0.1, reserve = 3)`: bounds the attempts sent, where there is no `retry`.",
    }
    /// The options of `coalesce`.
    coalesce {
        key: "`key = id`: what makes calls equal; an `Option` that is `None` shares nothing.",
        share_errors: "`share_errors = false`: a failure is the caller's own.",
        max_wait: "`max_wait = \"1s\"`: how long a call waits for another's answer.",
        max_flights: "`max_flights = 10_000`: keys in flight at once.",
    }
    /// The options of `load_shed`.
    load_shed {
        max_in_flight: "`max_in_flight = 200`: calls in flight at most.",
        min_in_flight: "`min_in_flight = 10`: the least limit that is found.",
        initial_in_flight: "`initial_in_flight = 100`: what the limit begins with.",
        adaptive: "`adaptive = false`: `max_in_flight` is the limit; else one below it is found.",
        share: "`share(low = 0.5, normal = 0.8, high = 0.9)`: the shares of the limit that the classes may fill.",
        target_delay: "`target_delay = \"20ms\"`: what a call may wait in a queue, if no call waits less.",
        target_latency: "`target_latency = \"50ms\"`: what a call may take, if no call takes less.",
        interval: "`interval = \"100ms\"`: how long a delay stands before a class is shed.",
        retry_after: "`retry_after = \"1s\"`: what a refused call is told to wait.",
        throttle: "`throttle` or `throttle(factor = 2.0, window = \"2m\", floor = 0.1, min_calls = 20)`: refuses what the other side would not accept.",
        arrived_at: "`arrived_at = request.arrived_at`: since when the call waits, on the registry's clock.",
    }
    /// The options of `idempotent`.
    idempotent {
        key: "`key = order.id`: calls with the same key are carried out once; with an `Option` that is `None` the call has no key.",
        fingerprint: "`fingerprint = (cents, &account)`: what calls with the same key must agree in; or `none`. Else all arguments.",
        ttl: "`ttl = \"1h\"`: how long an answer is kept.",
        lease: "`lease = \"1m\"`: how long a call that does not show holds its key.",
        on_unknown: "`on_unknown = reject`: a call whose predecessor was lost is refused; or `reexecute`.",
        max_wait: "`max_wait = \"10s\"`: how long a call waits for one that runs.",
        keep_errors: "`keep_errors = true`: errors that would be met again are given again.",
        store: "`store = \"orders\"`: what `registry.set_idempotency_store` was told.",
        store_timeout: "`store_timeout = \"1s\"`: how long the store may take.",
        on_store_failure: "`on_store_failure = closed`: refuses calls where the store does not answer; or `open`.",
        max_value: "`max_value = 65_536`: the largest answer in bytes of JSON.",
    }
    /// The levels of `fallback`, and what they have in common.
    fallback {
        replica: "`replica = f` or `replica(f, timeout = \"500ms\")`: another instance or region of the same thing.",
        distributed_cache: "`distributed_cache = f` or `(f, timeout = ..)`: a cache shared by several machines.",
        local_cache: "`local_cache(max_age = \"10m\", key = id)`: the last good answer of this key; or a function.",
        backup: "`backup = f` or `backup(f, timeout = \"2s\")`: another way to the same end.",
        default: "`default = expression`: a stand-in that always answers, and at once.",
        level_timeout: "`level_timeout = \"1s\"`: how long a level may take that has no `timeout` of its own.",
        grace: "`grace = \"0ms\"`: what levels may still take when the total time of the call is over.",
        max_concurrent: "`max_concurrent = 64`: levels that may be asked at once.",
    }
    /// The options of `local_cache`.
    local_cache {
        max_age: "`max_age = \"10m\"`: how old an answer may be.",
        key: "`key = id`: all that the answer depends on.",
        max_entries: "`max_entries = 1000`: answers that are kept.",
    }
}
