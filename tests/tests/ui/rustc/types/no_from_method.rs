use resilient_runtime::resilient;

#[derive(Debug)]
struct MyError;

struct S;

impl S {
    #[resilient(bulkhead = "x", retry(max = 3))]
    async fn f(&self) -> Result<u32, MyError> {
        Err(MyError)
    }
}

fn main() {}
