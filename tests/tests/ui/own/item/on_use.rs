use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
pub use std::fmt;

fn main() {}
