use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback(level_timeout = "1s", backup = None))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
