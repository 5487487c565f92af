use resilient_runtime::resilient;

struct MyError;

#[resilient(retry(max = 3), circuit_breaker = "x", bulkhead = "b", timeout = "1s")]
async fn f() -> Result<u32, MyError> {
    Err(MyError)
}

fn main() {}
