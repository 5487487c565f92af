use resilient::resilient;

#[resilient(retry(max = 3))]
pub use std::fmt;

fn main() {}
