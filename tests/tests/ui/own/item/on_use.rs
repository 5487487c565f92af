use resilient::resilient;

#[resilient(retry(max = 3))]
use std::fmt;

fn main() {}
