use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback(distributed_cache(key = x, max_age = "10m")))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
