use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x")]
fn f<T, E>(x: fn() -> Result<T, E>) -> Result<T, E> {
    x()
}

fn main() {}
