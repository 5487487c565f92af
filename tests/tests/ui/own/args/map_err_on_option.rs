use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", map_err = |_| ())]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
