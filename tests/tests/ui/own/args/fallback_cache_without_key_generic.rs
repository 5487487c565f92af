use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback(local_cache(max_age = "10m")))]
fn f<T: Default>() -> Option<T> {
    Some(T::default())
}

fn main() {}
