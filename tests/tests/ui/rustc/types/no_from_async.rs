use resilient_runtime::resilient;

#[derive(Debug)]
struct MyError;

#[resilient(circuit_breaker = "x")]
async fn f() -> Result<u32, MyError> {
    Err(MyError)
}

fn main() {}
