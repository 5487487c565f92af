use resilient_runtime::resilient;

#[derive(Debug)]
struct MyError;

struct S;

#[async_trait::async_trait]
trait T {
    async fn f(&self) -> Result<u32, MyError>;
}

#[async_trait::async_trait]
impl T for S {
    #[resilient(circuit_breaker = "x")]
    async fn f(&self) -> Result<u32, MyError> {
        Err(MyError)
    }
}

fn main() {}
