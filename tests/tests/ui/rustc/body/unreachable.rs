#![deny(warnings)]

use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
pub async fn f() -> Option<u32> {
    return Some(1);
    Some(2)
}

fn main() {}
