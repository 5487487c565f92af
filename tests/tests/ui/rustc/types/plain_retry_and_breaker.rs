use resilient_runtime::resilient;

#[resilient(retry(max = 3), circuit_breaker = "x", bulkhead = "b", timeout = "1s")]
async fn f() -> u32 {
    1
}

fn main() {}
