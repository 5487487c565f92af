use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback(replica(timeout = "1s")))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
