use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback(backup = None, level_timeout = 5))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
