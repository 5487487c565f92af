use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x")]
async fn f() -> Vec<u32> {
    vec![]
}

fn main() {}
