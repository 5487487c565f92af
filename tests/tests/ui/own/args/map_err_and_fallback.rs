use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", map_err = |_| (), fallback = None)]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
