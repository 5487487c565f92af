use resilient_runtime::resilient;

#[derive(Debug)]
struct MyError;

#[resilient(circuit_breaker = "x", map_err = |_| 3)]
fn f() -> Result<u32, MyError> {
    Err(MyError)
}

fn main() {}
