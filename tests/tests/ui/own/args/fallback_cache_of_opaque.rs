use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback(local_cache(max_age = "10m", key = x), default = None))]
fn f(x: u32) -> Option<impl Clone> {
    Some(x)
}

fn main() {}
