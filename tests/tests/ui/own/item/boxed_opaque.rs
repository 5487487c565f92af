use resilient_runtime::resilient;

use std::pin::Pin;

#[resilient(retry(max = 3))]
fn f() -> Pin<Box<dyn Future<Output = Option<u32>>>> {
    other()
}

fn other() -> Pin<Box<dyn Future<Output = Option<u32>>>> {
    Box::pin(async { Some(1) })
}

fn main() {}
