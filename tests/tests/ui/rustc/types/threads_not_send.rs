use std::rc::Rc;

use resilient::resilient;

#[resilient(bulkhead("x", threads = 2))]
fn f(x: Rc<u32>) -> Option<u32> {
    Some(*x)
}

#[resilient(bulkhead("x", threads = 2), retry(max = 1))]
fn g(x: String) -> Option<usize> {
    Some(x.len())
}

fn main() {}
