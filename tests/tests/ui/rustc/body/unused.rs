#![deny(warnings)]

use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x")]
#[must_use]
fn f(x: u32) -> Option<u32> {
    let a = 1;
    Some(x)
}

fn main() {
    f(1);
}
