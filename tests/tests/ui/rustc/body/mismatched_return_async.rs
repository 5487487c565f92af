use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x")]
async fn f(b: bool) -> Option<u32> {
    if b {
        return 5;
    }
    None
}

fn main() {}
