use resilient_runtime::resilient;

#[resilient(circuit_breaker(
    "payment",
    failure_rate_threshold = 50,
    wait_duration_in_open_state = "5s",
    sliding_window_size = 100,
    minimum_number_of_calls = 10,
    permitted_number_of_calls_in_half_open_state = 3,
    slow_call_duration_threshold = "2s",
    slow_call_rate_threshold = 50,
    ignore_exceptions = Bad,
    enabled = false,
))]
fn resilience4j_breaker() -> Option<u32> {
    None
}

#[resilient(retry(
    max_attempts = 3,
    wait_duration = "1s",
    exponential_backoff_multiplier = 2,
    randomized_wait_factor = 0.5,
    retry_exceptions = Bad,
    enabled = true,
))]
fn resilience4j_retry() -> Option<u32> {
    None
}

#[resilient(
    rate_limit("api", limit_for_period = 100, limit_refresh_period = "1s", timeout_duration = "0s"),
    bulkhead("api", max_concurrent_calls = 10, max_wait_duration = "0s"),
    timeout(timeout_duration = "1s", cancel_running_future = true),
)]
async fn resilience4j_others() -> Option<u32> {
    None
}

#[resilient(
    circuit_breaker("x", FailureRatio = 0.5, SamplingDuration = "30s", MinimumThroughput = 8, BreakDuration = "5s"),
    retry(MaxRetryAttempts = 3, Delay = "2s", BackoffType = exponential, UseJitter = true, ShouldHandle = handle),
    hedge(MaxHedgedAttempts = 1),
)]
async fn polly() -> Option<u32> {
    None
}

#[resilient(retry(maxRetries = 3, retryOn = a, abortOn = b), circuit_breaker("x", requestVolumeThreshold = 4, failOn = a, skipOn = b))]
fn micro_profile() -> Option<u32> {
    None
}

#[resilient(
    max_retries = 3,
    retry_on = Bad,
    fail_on = Bad,
    enabled = true,
    cache = "users",
    rate = "100/s",
    rate_limiter = "x",
    time_limiter = "1s",
    fallback_method = other,
    failure_rate_threshold = 50,
    key = id,
)]
fn arguments() -> Option<u32> {
    None
}

fn main() {}
