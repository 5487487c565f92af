use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback(local_cache(max_age = "10m", key = x)))]
fn f(x: &str) -> Option<&str> {
    Some(x)
}

fn main() {}
