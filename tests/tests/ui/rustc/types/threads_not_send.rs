use std::rc::Rc;

use resilient_runtime::resilient;

#[resilient(bulkhead("x", threads = 2))]
fn f(x: Rc<u32>) -> Option<u32> {
    Some(*x)
}

#[resilient(bulkhead("x", threads = 2), retry(max = 1))]
fn g(x: String) -> Option<usize> {
    Some(x.len())
}

#[resilient(bulkhead("x", threads = 2))]
fn generic<T: ToString>(x: T) -> Option<String> {
    Some(x.to_string())
}

#[resilient(bulkhead("x", threads = 2))]
async fn opaque(x: impl ToString + Send) -> Option<String> {
    Some(x.to_string())
}

#[resilient(bulkhead("x", threads = 2))]
fn given_out() -> Option<Rc<u32>> {
    None
}

fn main() {}
