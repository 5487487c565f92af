use resilient_runtime::resilient;

#[derive(Debug)]
struct MyError;

#[resilient(timeout = "1s")]
async fn f() -> Result<u32, MyError> {
    Err(MyError)
}

fn main() {}
