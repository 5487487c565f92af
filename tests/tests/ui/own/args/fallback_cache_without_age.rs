use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback(local_cache(key = x)))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
