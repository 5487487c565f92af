use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback(distributed_cache(store = "shared", key = x, max_age = "10m", max_bytes = 17_000_000)))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
