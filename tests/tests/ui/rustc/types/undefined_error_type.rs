use resilient_runtime::resilient;

#[resilient(retry(max = 3), circuit_breaker = "x", timeout = "1s")]
async fn f() -> Result<u32, Nowhere> {
    Ok(1)
}

fn main() {}
