use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback(local_cache(max_age = "10m", keys = x)))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
