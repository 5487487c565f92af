use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x", fallback(replica = None, default = 0))]
async fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
