use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback(distributed_cache(store = "shared", key = x, max_age = "10m", max_size = 9)))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
