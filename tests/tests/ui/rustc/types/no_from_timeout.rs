use resilient::resilient;

#[derive(Debug)]
struct MyError;

#[resilient(timeout = "1s")]
async fn f() -> Result<u32, MyError> {
    Err(MyError)
}

fn main() {}
