use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback = |_| async { None })]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
